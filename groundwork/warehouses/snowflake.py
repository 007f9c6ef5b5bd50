"""Snowflake: objects are copied from the bucket by the warehouse itself, or from a stage that we fill.

The session begins with the first statement: a run with nothing to load opens none, so nothing wakes the
virtual warehouse. A load is one transaction: a row that only one loader at a time can hold, one COPY per
table (or few), the ledger's rows. Tables are made and widened before it, since DDL would end it.

What Snowflake answers in a run is tested with an emulator and can be with an account: docs/snowflake.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from groundwork.errors import ObjectDamaged
from groundwork.manifest import Manifest, now
from groundwork.warehouses import (
    INSTANT,
    LANDING,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    LandingBatch,
    LandingObject,
    ledger_row,
)
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.snowflake_session import Session, StatementRefused, query_tag
from groundwork.warehouses.snowflake_sql import (
    FILES_PER_COPY,
    TYPES,
    StagedFile,
    copy_statement,
    in_bucket,
    landing_table,
    literal,
    quoted,
    stored_name,
    told_name,
)

log = logging.getLogger(__name__)

TURNS = "_turns"
"""One row per source, updated by each load: whoever updates it makes other loads of the source wait."""
_NEVER_NULL = ("_batch_id", "_file")
"""A file that Snowflake names otherwise than we expect must not land without its name."""


@contextmanager
def open_snowflake(login: SnowflakeLogin, *, who: str, run_id: str = "") -> Iterator[Snowflake]:
    """A warehouse whose session begins with its first statement, and ends here.

    Args:
        login: who, where and in which role.
        who: for whom, e.g. ``load shop``.
        run_id: the flow run; with ``who`` the tag of every statement.
    """
    session = Session(login, query_tag(who, run_id))
    try:
        yield Snowflake(login, session)
    finally:
        session.close()


class Snowflake:
    """The `Warehouse` in a database of a Snowflake account."""

    def __init__(self, login: SnowflakeLogin, session: Session) -> None:
        """Wrap a session, which begins when there is something to ask or to do."""
        self.reads_bucket = login.staging == "external"
        self._login, self._session = login, session
        self._present: dict[str, dict[str, str]] = {}
        """Landing tables: each column as compared, and as stored."""

    @property
    def is_signed_in(self) -> bool:
        """Whether a session was begun."""
        return self._session.is_open

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:  # noqa: D102
        return self._session.query(sql, parameters)

    def columns(self, schema: str, table: str) -> list[str]:  # noqa: D102
        if schema == LANDING:
            return [told_name(name) for name in self._landing().get(stored_name(table), {}).values()]
        found = self.query(
            "select column_name from information_schema.columns"
            " where table_schema = ? and table_name = ? order by ordinal_position",
            [stored_name(schema), stored_name(table)],
        )
        return [told_name(name) for (name,) in found]

    def widen(self, table: str, columns: Mapping[str, str]) -> None:  # noqa: D102
        stored = stored_name(table)
        present = self._landing().get(stored)
        if present is None:
            self._create(table, columns)
            return
        lacking = {name: kind for name, kind in columns.items() if _folded(name) not in present}
        for name, kind in lacking.items():
            added = f"add column if not exists {quoted(name)} {TYPES[kind]}"
            self.query(f"alter table {landing_table(table)} {added}")
            present[_folded(name)] = stored_name(name)
            log.info("widened table=%s column=%s", table, name)

    def loaded(self, source: str) -> int:  # noqa: D102
        if stored_name(LEDGER) not in self._landing():
            return 0
        found = self.query(f"select max(batch_id) from {landing_table(LEDGER)} where source = ?", [source])
        return int(found[0][0] or 0)

    def land(self, batches: Sequence[LandingBatch], run_id: str) -> None:  # noqa: D102
        loaded_at = now().replace(tzinfo=None)
        source = batches[0].manifest.source
        staged = self._staged(batches)
        with self._turn(source, run_id):
            self._clear(source, batches)
            for stream, files in staged.items():
                for first in range(0, len(files), FILES_PER_COPY):
                    self._copy(f"{source}__{stream}", files[first : first + FILES_PER_COPY], loaded_at)
            self._enter(batches, loaded_at, run_id)

    def forget(self, source: str, tables: Sequence[str]) -> None:  # noqa: D102
        there = [table for table in tables if stored_name(table) in self._landing()]
        if stored_name(LEDGER) not in self._landing():
            return
        with self._turn(source, ""):
            for table in there:
                self.query(f"delete from {landing_table(table)}")
            self.query(f"delete from {landing_table(LEDGER)} where source = ?", [source])

    def _landing(self) -> dict[str, dict[str, str]]:
        """Every landing table with its columns, asked for once."""
        if not self._present:
            found = self.query(
                "select table_name, column_name from information_schema.columns"
                " where table_schema = ? order by table_name, ordinal_position",
                [stored_name(LANDING)],
            )
            for table, column in found:
                self._present.setdefault(table, {})[_folded(told_name(column))] = column
        return self._present

    def _create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table. Transient: the bucket is its backup, and nobody pays for a second one."""
        self.query(f"create schema if not exists {LANDING}")
        body = ", ".join(
            f"{quoted(name)} {TYPES[kind]}{' not null' if name in _NEVER_NULL else ''}"
            for name, kind in columns.items()
        )
        self.query(f"create transient table if not exists {landing_table(table)} ({body})")
        self._present[stored_name(table)] = {_folded(name): stored_name(name) for name in columns}
        if table == LEDGER:
            turns = {"source": TEXT, "load_run_id": TEXT, "taken_at": INSTANT}
            self.widen(TURNS, turns)

    def _staged(self, batches: Sequence[LandingBatch]) -> dict[str, list[StagedFile]]:
        """Every object by stream, and where Snowflake finds it; an internal stage is sent them."""
        staged: dict[str, list[StagedFile]] = {}
        for batch in batches:
            for arriving in batch.objects:
                if self.reads_bucket:
                    file = in_bucket(arriving, batch.manifest)
                else:
                    file = self._sent(arriving, batch.manifest)
                staged.setdefault(arriving.stored.stream, []).append(file)
        return staged

    def _sent(self, arriving: LandingObject, batch: Manifest) -> StagedFile:
        path = arriving.file()
        where = literal(path.absolute().as_uri())
        self.query(f"put {where} @{self._login.stage}/{batch.source} auto_compress = false overwrite = true")
        name = f"{batch.source}/{path.name}"
        return StagedFile(arriving, batch, name, name)

    def _clear(self, source: str, batches: Sequence[LandingBatch]) -> None:
        """Remove what an earlier load of these batches left; tables are left alone if there was none."""
        names = [batch.manifest.name for batch in batches]
        marks = ", ".join("?" for _ in names)
        whole = [batch.manifest.name for batch in batches if batch.whole]
        known = len(whole) < len(batches)
        if whole:
            entered = self._session.changed(
                f"delete from {landing_table(LEDGER)} where source = ?"
                f" and batch_id in ({', '.join('?' for _ in whole)})",
                [source, *whole],
            )
            known = known or entered > 0
        if known:
            streams = dict.fromkeys(found.stored.stream for batch in batches for found in batch.objects)
            for stream in streams:
                table = landing_table(f"{source}__{stream}")
                self.query(f"delete from {table} where _batch_id in ({marks})", names)

    def _copy(self, table: str, files: Sequence[StagedFile], loaded_at: datetime) -> None:
        present = self._landing()[stored_name(table)]
        fields = dict.fromkeys(name for file in files for name in file.arriving.stored.columns)
        columns = {name: told_name(present[_folded(name)]) for name in fields}
        statement = copy_statement(
            table, columns, files, self._login.stage, loaded_at, purge=not self.reads_bucket
        )
        with _about(files):
            answers = self.query(statement)
        rows = sum(int(answer[3]) for answer in answers)
        wanted = sum(file.arriving.stored.rows for file in files)
        if rows != wanted:
            raise ObjectDamaged(
                self._login.where,
                f"copied {rows} rows into {table}, the manifests of {len(files)} objects say {wanted}",
                why=f"the first object is {files[0].arriving.url}",
                fix=f"check that the stage {self._login.stage} is the bucket, and restore what was altered;"
                " nothing was loaded",
            )

    def _enter(self, batches: Sequence[LandingBatch], loaded_at: datetime, run_id: str) -> None:
        rows = [ledger_row(batch.manifest, loaded_at, run_id) for batch in batches if batch.whole]
        if not rows:
            return
        marks = ", ".join("?" for _ in LEDGER_COLUMNS)
        given = [
            value.isoformat(" ") if isinstance(value, datetime) else value
            for row in rows
            for value in (row[name] for name in LEDGER_COLUMNS)
        ]
        self.query(
            f"insert into {landing_table(LEDGER)} ({', '.join(map(quoted, LEDGER_COLUMNS))})"
            f" values {', '.join(f'({marks})' for _ in rows)}",
            given,
        )

    @contextmanager
    def _turn(self, source: str, run_id: str) -> Iterator[None]:
        """A transaction in which no other load of the source runs.

        Snowflake holds what an UPDATE touched until the transaction ends (Snowflake, "Transactions": resource
        locking), and a DELETE or COPY alone would let two loads of one batch through side by side.
        """
        take = f"update {landing_table(TURNS)} set load_run_id = ?, taken_at = sysdate() where source = ?"
        self.query("begin")
        try:
            if not self._session.changed(take, [run_id, source]):
                self.query("rollback")
                self.query(f"insert into {landing_table(TURNS)} (source) values (?)", [source])
                self.query("begin")
                self._session.changed(take, [run_id, source])
            yield
        except BaseException:
            self.query("rollback")
            raise
        self.query("commit")


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
                    fix="restore the object from the bucket's versions; nothing of the batch was loaded",
                ) from error
        raise


def _folded(name: str) -> str:
    """A name as landing compares it: only ASCII letters are the same in both cases."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
