"""One load into Snowflake: a transaction in which each table takes what its objects bring.

A load is few statements: one that makes it wait for its turn, one COPY per table (or few), the ledger's rows.
What must exist before is made before, since DDL would end the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from groundwork.errors import ObjectDamaged, about
from groundwork.manifest import Manifest, now
from groundwork.warehouses import (
    LEDGER,
    LEDGER_COLUMNS,
    REPLAYED,
    REPLAYED_COLUMNS,
    LandingBatch,
    LandingObject,
    later,
    ledger_row,
    replayed_rows,
    rewritten,
)
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.snowflake_session import Session, StatementRefused
from groundwork.warehouses.snowflake_sql import (
    FILES_PER_COPY,
    OBJECT,
    StagedFile,
    copy_statement,
    copy_whole_statement,
    in_bucket,
    landing_table,
    literal,
    quoted,
    take_statement,
    temporary_statement,
)

TURNS = "_turns"
"""One row per source, updated by each load: whoever updates it makes other loads of the source wait."""

_ROWS_PER_INSERT = 1000


@contextmanager
def turn(session: Session, source: str, run_id: str) -> Iterator[None]:
    """A transaction in which no other load of the source runs.

    Snowflake holds what an UPDATE touched until the transaction ends (Snowflake, "Transactions": resource
    locking), and a DELETE of nothing or a COPY would let two loads of one batch through side by side.
    """
    take = f"update {landing_table(TURNS)} set load_run_id = ?, taken_at = sysdate() where source = ?"
    session.query("begin")
    try:
        if not session.changed(take, [run_id, source]):
            session.query("rollback")
            session.query(f"insert into {landing_table(TURNS)} (source) values (?)", [source])
            session.query("begin")
            session.changed(take, [run_id, source])
        yield
    except BaseException:
        session.query("rollback")
        raise
    session.query("commit")


class Load:
    """Batches of one source on their way into landing.

    Args:
        session: with Snowflake.
        login: names the stage.
        source: whose batches.
        stored: per table of the landing schema, how a column's name is spelled there.
    """

    def __init__(
        self, session: Session, login: SnowflakeLogin, source: str, stored: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._session, self._login, self._source, self._stored = session, login, source, stored
        self._loaded_at = now().replace(tzinfo=None)

    def run(self, batches: Sequence[LandingBatch], run_id: str) -> None:
        """Bring them in, rows and ledger rows in one transaction."""
        plain, whole = self._staged(batches), self._rewritten(batches)
        for stream, entries in whole.items():
            columns = dict.fromkeys(name for _, names, _ in entries for name in names)
            self._session.query(temporary_statement(_temporary(self._table(stream)), columns))
        with turn(self._session, self._source, run_id):
            self._clear(batches)
            for stream, files in plain.items():
                with about(stream):
                    for first in range(0, len(files), FILES_PER_COPY):
                        self._copy(stream, files[first : first + FILES_PER_COPY])
            for stream, entries in whole.items():
                with about(stream):
                    self._take(stream, entries, batches)
            self._enter(batches, run_id)

    def _table(self, stream: str) -> str:
        return f"{self._source}__{stream}"

    def _staged(self, batches: Sequence[LandingBatch]) -> dict[str, list[StagedFile]]:
        """Objects as they were committed, by stream, and where Snowflake finds them."""
        staged: dict[str, list[StagedFile]] = {}
        for batch in batches:
            for arriving in batch.objects:
                if not arriving.stored.rewritten:
                    file = self._found(arriving, batch.manifest)
                    staged.setdefault(arriving.stored.stream, []).append(file)
        return staged

    def _rewritten(
        self, batches: Sequence[LandingBatch]
    ) -> dict[str, list[tuple[list[str], list[str], StagedFile]]]:
        """Objects that were written anew, by stream: the batches to take from each, and their columns."""
        found: dict[str, list[tuple[list[str], list[str], StagedFile]]] = {}
        for names, columns, arriving in rewritten(batches):
            file = self._found(arriving, batches[0].manifest)
            found.setdefault(arriving.stored.stream, []).append((names, columns, file))
        return found

    def _found(self, arriving: LandingObject, batch: Manifest) -> StagedFile:
        """Where Snowflake finds an object; an internal stage is sent it."""
        if self._login.staging == "external":
            return in_bucket(arriving, batch)
        with about(arriving.stored.stream):
            path = arriving.file()
        where = literal(path.absolute().as_uri())
        put = f"put {where} @{self._login.stage}/{batch.source} auto_compress = false overwrite = true"
        self._session.query(put)
        name = f"{batch.source}/{path.name}"
        return StagedFile(arriving, batch, name, name)

    def _clear(self, batches: Sequence[LandingBatch]) -> None:
        """Remove what an earlier load of these batches left; tables are left alone if there was none."""
        names = [batch.manifest.name for batch in batches]
        whole = [batch.manifest.name for batch in batches if batch.whole]
        known = len(whole) < len(batches)
        if whole:
            entered = self._session.changed(
                f"delete from {landing_table(LEDGER)} where source = ? and batch_id in ({_marks(whole)})",
                [self._source, *whole],
            )
            known = known or entered > 0
        streams = dict.fromkeys(found.stored.stream for batch in batches for found in batch.objects)
        if known and streams:
            newest = " union all ".join(
                f"select max(_loaded_at) as loaded_at from {landing_table(self._table(stream))}"
                for stream in streams
            )
            found = self._session.query(f"select max(loaded_at) from ({newest}) as loaded")
            self._loaded_at = later(self._loaded_at, found[0][0])
            for stream in streams:
                table = landing_table(self._table(stream))
                self._session.query(f"delete from {table} where _batch_id in ({_marks(names)})", names)

    def _copy(self, stream: str, files: Sequence[StagedFile]) -> None:
        """One COPY of objects as they were committed."""
        table = self._table(stream)
        fields = dict.fromkeys(name for file in files for name in file.arriving.stored.columns)
        statement = copy_statement(
            table,
            self._spelled(table, list(fields)),
            files,
            self._login.stage,
            self._loaded_at,
            purge=self._login.staging == "internal",
        )
        with _about(files):
            rows = sum(int(answer[3]) for answer in self._session.query(statement))
        self._compare(table, files, rows, sum(file.arriving.stored.rows for file in files))

    def _take(
        self,
        stream: str,
        entries: Sequence[tuple[list[str], list[str], StagedFile]],
        batches: Sequence[LandingBatch],
    ) -> None:
        """Copy rewritten objects beside landing, and take the rows of the batches at hand from there.

        A COPY cannot leave rows out.
        """
        table, files = self._table(stream), [file for _, _, file in entries]
        columns = list(dict.fromkeys(name for _, names, _ in entries for name in names))
        temporary = _temporary(table)
        purge = self._login.staging == "internal"
        for first in range(0, len(files), FILES_PER_COPY):
            some = files[first : first + FILES_PER_COPY]
            with _about(some):
                self._session.query(
                    copy_whole_statement(temporary, columns, some, self._login.stage, purge=purge)
                )
        wanted = sum(
            found.stored.rows
            for batch in batches
            for found in batch.objects
            if found.stored.rewritten and found.stored.stream == stream
        )
        parts, given = [], []
        for names, _, file in entries:
            parts.append(f"({quoted(OBJECT)} = ? and _batch_id in ({_marks(names)}))")
            given += [file.filename, *names]
        statement = take_statement(table, self._spelled(table, columns), temporary, self._loaded_at)
        taken = self._session.changed(f"{statement} where {' or '.join(parts)}", given)
        self._compare(table, files, taken, wanted)

    def _spelled(self, table: str, names: Sequence[str]) -> dict[str, str]:
        present = self._stored[table]
        return {name: present[name] for name in names}

    def _compare(self, table: str, files: Sequence[StagedFile], rows: int, wanted: int) -> None:
        if rows != wanted:
            raise ObjectDamaged(
                self._login.where,
                f"copied {rows} rows into {table}, the manifests of {len(files)} objects say {wanted}",
                why=f"the first object is {files[0].arriving.url}",
                fix=f"check that the stage {self._login.stage} is the bucket, and restore what was altered;"
                " nothing was loaded",
            )

    def _enter(self, batches: Sequence[LandingBatch], run_id: str) -> None:
        entered = replayed_rows(batches)
        for first in range(0, len(entered), _ROWS_PER_INSERT):
            some = entered[first : first + _ROWS_PER_INSERT]
            self._session.query(
                f"insert into {landing_table(REPLAYED)} ({', '.join(map(quoted, REPLAYED_COLUMNS))})"
                f" values {', '.join(f'({_marks(REPLAYED_COLUMNS)})' for _ in some)}",
                [value for row in some for value in row],
            )
        rows = [ledger_row(batch.manifest, self._loaded_at, run_id) for batch in batches if batch.whole]
        if not rows:
            return
        given: list[Any] = [row[name] for row in rows for name in LEDGER_COLUMNS]
        texts = [value.isoformat(" ") if isinstance(value, datetime) else value for value in given]
        self._session.query(
            f"insert into {landing_table(LEDGER)} ({', '.join(map(quoted, LEDGER_COLUMNS))})"
            f" values {', '.join(f'({_marks(LEDGER_COLUMNS)})' for _ in rows)}",
            texts,
        )


def _marks(names: Sequence[str] | Mapping[str, str]) -> str:
    return ", ".join("?" for _ in names)


def _temporary(table: str) -> str:
    return f"_rewritten__{table}"


@contextmanager
def _about(files: Sequence[StagedFile]) -> Iterator[None]:
    """A refusal that names one of the files is about that object."""
    try:
        yield
    except StatementRefused as error:
        for file in files:
            if file.name in error.told or file.filename in error.told:
                raise ObjectDamaged(
                    file.arriving.url,
                    f"cannot be read by Snowflake ({error.number})",
                    why=f"query {error.query_id} has the details",
                    fix="restore the object from the bucket's versions; nothing of it was loaded",
                ) from error
        raise
