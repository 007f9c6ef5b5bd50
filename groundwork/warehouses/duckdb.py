"""The embedded warehouse: one DuckDB file, one writer at a time.

Writers queue in front of the file (`writer_lock`) and say for whom they wait, so nobody ever meets DuckDB's
own lock error. See docs/decisions/0004-one-writer.md.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from groundwork.errors import LackOfMemory, WarehouseError, WarehouseUnusable, about
from groundwork.manifest import REWRITTEN, Manifest, now
from groundwork.warehouses import (
    INSTANT,
    LANDING,
    LANDING_METADATA,
    LEDGER,
    LEDGER_COLUMNS,
    REPLAYED,
    REPLAYED_COLUMNS,
    TEXT,
    WHOLE,
    LandingBatch,
    LandingObject,
    duckdb_memory,
    later,
    ledger_row,
    replayed_rows,
    rewritten,
)
from groundwork.warehouses.canonical import Digest, digest_of, digest_sql
from groundwork.warehouses.duckdb_errors import REPLAY, of_commit, told
from groundwork.warehouses.duckdb_memory import Bounds, unpacked
from groundwork.warehouses.duckdb_objects import ROW, numbered
from groundwork.warehouses.duckdb_text import DIALECT, kind_of, quoted
from groundwork.warehouses.writer import LONGEST_WAIT, writer_lock

log = logging.getLogger(__name__)

_TYPES = {TEXT: "varchar", INSTANT: "timestamp", WHOLE: "bigint"}


@contextmanager
def open_duckdb(
    file: Path,
    *,
    who: str,
    read_only: bool = False,
    wait: float = LONGEST_WAIT,
    memory: int | None = None,
) -> Iterator[DuckDB]:
    """Open the file, after queueing for it.

    Args:
        file: the warehouse.
        who: for whom.
        read_only: open it for reading.
        wait: seconds to wait for the turn.
        memory: bytes that a load may use at most; derived when None.

    Raises:
        WarehouseBusy: when the turn does not come within ``wait`` seconds.
        WarehouseError: when it cannot be opened, or a program that does not queue holds it too long.
    """
    with writer_lock(file, who, wait=wait):
        connection = _connect(file, read_only)
        try:
            yield DuckDB(connection, file, memory)
        finally:
            with suppress(duckdb.Error):  # of a file that is damaged, or whose disk is full: known already
                connection.close()


def _connect(file: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    began, told = time.monotonic(), -30.0
    while True:
        try:
            connection = duckdb.connect(str(file), read_only=read_only)
            break
        except duckdb.Error as error:
            # A program outside the platform (a shell, a BI tool) may hold the file without queueing.
            foreign = re.search(r"\(PID (\d+)\)", str(error))
            if not foreign or time.monotonic() - began > 600:
                raise WarehouseUnusable(
                    str(file),
                    "cannot be opened"
                    if foreign
                    else "cannot be opened: it is damaged, or no DuckDB 2.0 file",
                    why=f"process {foreign[1]} holds it" if foreign else str(error).splitlines()[0][:300],
                    fix="close that program" if foreign else REPLAY,
                ) from error
            waited = time.monotonic() - began
            if waited - told >= 30:
                log.info(
                    "waiting for warehouse=%s held_by=process %s seconds=%.0f", file.name, foreign[1], waited
                )
                told = waited
            time.sleep(1)
    connection.execute("set errors_as_json = true")
    # DuckDB's own limit of its temporary files would make a full disk a lack of memory.
    connection.execute("set max_temp_directory_size = '1000TB'")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set preserve_insertion_order = false")  # `_row` keeps the order; memory stays flat
    return connection


class DuckDB:
    """The `Warehouse` in one DuckDB file."""

    reads_bucket = False

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path, memory: int | None = None) -> None:
        """Wrap an open connection; a load may use so many bytes of memory, see `duckdb_memory`."""
        self.connection, self._file, self.place, self._memory = connection, file, str(file), memory

    def quoted(self, name: str) -> str:  # noqa: D102
        return quoted(name)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:  # noqa: D102
        with self._told():
            return self.connection.execute(sql, list(parameters)).fetchall()

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:  # noqa: D102
        with self._told():
            answer = self.connection.execute(sql)
            return [name for name, *_ in answer.description or ()], answer.fetchall()

    def columns(self, schema: str, table: str) -> list[str]:  # noqa: D102
        found = self.query(
            "select column_name from duckdb_columns()"
            " where schema_name = ? and table_name = ? and database_name = current_database()"
            " order by column_index",
            [schema, table],
        )
        return [name for (name,) in found]

    def widen(self, table: str, columns: Mapping[str, str]) -> None:  # noqa: D102
        self.widen_all({table: columns})

    def widen_all(self, tables: Mapping[str, Mapping[str, str]]) -> None:  # noqa: D102
        there = self._landing()
        for table, columns in tables.items():
            self._widen(table, columns, there.get(table, set()))

    def _widen(self, table: str, columns: Mapping[str, str], present: Collection[str]) -> None:
        lacking: dict[str, str] = {}
        for column in columns:
            if _folded(column) not in present:
                # Batches that are landed together may bring names that are one to DuckDB: the first counts.
                lacking.setdefault(_folded(column), column)
        name = f"{LANDING}.{quoted(table)}"
        with self._told():
            if not present:
                body = ", ".join(f"{quoted(c)} {_declared(c, columns[c])}" for c in lacking.values())
                self.connection.execute(f"create schema if not exists {LANDING}")
                self.connection.execute(f"create table {name} ({body})")
                return
            for column in lacking.values():
                kind = _TYPES[columns[column]]
                self.connection.execute(f"alter table {name} add column {quoted(column)} {kind}")
                log.info("widened table=%s column=%s", table, column)

    def _landing(self) -> dict[str, set[str]]:
        """Columns of all tables in landing, as DuckDB compares names; it reads the whole catalogue."""
        found = self.query(
            "select table_name, list(column_name) from duckdb_columns()"
            f" where schema_name = '{LANDING}' and database_name = current_database() group by table_name"
        )
        return {table: set(map(_folded, columns)) for table, columns in found}

    def loaded(self, source: str) -> int:  # noqa: D102
        if not self.columns(LANDING, LEDGER):
            return 0
        found = self.query(f"select max(batch_id) from {LANDING}.{LEDGER} where source = ?", [source])
        return int(found[0][0] or 0)

    def land(self, batches: Sequence[LandingBatch], run_id: str) -> None:  # noqa: D102
        widest = max((len(found.stored.columns) for batch in batches for found in batch.objects), default=0)
        lack: LackOfMemory | None = None
        for bounds in duckdb_memory.bounds(widest, self._memory):
            if lack:
                log.info("landing again warehouse=%s mb=%d", self._file.name, bounds.memory // 1_000_000)
            try:
                return self._land(batches, run_id, bounds)
            except LackOfMemory as error:
                lack = error
        assert lack
        raise lack

    def _land(self, batches: Sequence[LandingBatch], run_id: str, bounds: Bounds) -> None:
        with self._told(), self._bounded(bounds), self._transaction(batches):
            loaded_at = self._loaded_at(batches)
            for table, names in _replaced(batches).items():
                self.connection.execute(
                    f"delete from {LANDING}.{quoted(table)} where _batch_id in (select unnest(?))", [names]
                )
            for batch in batches:
                for arriving in batch.objects:
                    if not arriving.stored.rewritten:
                        with about(arriving.stored.stream), self._told(objects=True):
                            self._insert(batch.manifest, arriving, loaded_at)
            for names, columns, arriving in rewritten(batches):
                with about(arriving.stored.stream), self._told(objects=True):
                    self._insert_rewritten(batches[0].manifest.source, names, columns, arriving, loaded_at)
            self._enter([batch.manifest for batch in batches if batch.whole], loaded_at, run_id)
            if entered := replayed_rows(batches):
                listed = ", ".join(map(quoted, REPLAYED_COLUMNS))
                self.connection.execute(
                    f"insert into {LANDING}.{REPLAYED} ({listed})"
                    f" select {', '.join('unnest(?)' for _ in REPLAYED_COLUMNS)}",
                    [list(values) for values in zip(*entered, strict=True)],
                )

    def _loaded_at(self, batches: Sequence[LandingBatch]) -> datetime:
        """When these batches are loaded; of batches that are there already, see `later`."""
        tables, at = _replaced(batches), now().replace(tzinfo=None)
        known = self.connection.execute(
            f"select count(*) from {LANDING}.{LEDGER} where source = ? and batch_id in (select unnest(?))",
            [batches[0].manifest.source, [batch.manifest.name for batch in batches]],
        ).fetchone()
        if not tables or not known or not known[0]:
            return at
        newest = " union all ".join(
            f"select max(_loaded_at) as loaded_at from {LANDING}.{quoted(table)}" for table in tables
        )
        found = self.connection.execute(f"select max(loaded_at) from ({newest})").fetchone()
        return later(at, found[0] if found else None)

    def _insert(self, batch: Manifest, arriving: LandingObject, loaded_at: Any) -> None:
        stored, path = arriving.stored, arriving.file()
        table = f"{LANDING}.{quoted(f'{batch.source}__{stored.stream}')}"
        from_file = [*stored.columns, "_operation", "_sequence", "_unchanged"]
        from_file += ["_committed_at", "_extracted_at"]
        given = {
            "_stored_at": batch.stored_at.replace(tzinfo=None),
            "_loaded_at": loaded_at,
            "_batch_id": batch.name,
            "_file": stored.key,
            "_run_id": batch.run_id,
        }
        names = ", ".join(map(quoted, [*from_file, "_row", *given]))
        number, parameters = "file_row_number", [*given.values(), str(path)]
        rows = "read_parquet(?, file_row_number = true, hive_partitioning = false)"
        if number in map(_folded, stored.columns):  # the source has a column of that name itself
            number, rows = ROW, "numbered"
            self.connection.register(rows, numbered(path))
            parameters.pop()
        values = ", ".join([*map(quoted, from_file), number, *("?" for _ in given)])
        self.connection.execute(f"insert into {table} ({names}) select {values} from {rows}", parameters)
        self.connection.unregister("numbered")

    def _insert_rewritten(
        self, source: str, batches: list[str], columns: list[str], arriving: LandingObject, loaded_at: Any
    ) -> None:
        table = f"{LANDING}.{quoted(f'{source}__{arriving.stored.stream}')}"
        kept = ["_operation", "_sequence", "_unchanged", "_committed_at", "_extracted_at", *REWRITTEN]
        listed = ", ".join(map(quoted, [*columns, *kept]))
        self.connection.execute(
            f"insert into {table} ({listed}, _loaded_at) select {listed}, ?"
            " from read_parquet(?, hive_partitioning = false) where _batch_id in (select unnest(?))",
            [loaded_at, str(arriving.file()), batches],
        )

    def _enter(self, batches: Sequence[Manifest], loaded_at: Any, run_id: str) -> None:
        if not batches:
            return
        ledger, row = f"{LANDING}.{LEDGER}", ", ".join("?" for _ in LEDGER_COLUMNS)
        self.connection.execute(
            f"delete from {ledger} where source = ? and batch_id in (select unnest(?))",
            [batches[0].source, [batch.name for batch in batches]],
        )
        entries = [ledger_row(batch, loaded_at, run_id) for batch in batches]
        self.connection.execute(
            f"insert into {ledger} ({', '.join(LEDGER_COLUMNS)})"
            f" values {', '.join(f'({row})' for _ in entries)}",
            [entry[name] for entry in entries for name in LEDGER_COLUMNS],
        )

    def forget(self, source: str, tables: Sequence[str]) -> None:  # noqa: D102
        there = self._landing()
        with self._told(), self._transaction():
            for table in tables:
                if table in there:
                    self.connection.execute(f"delete from {LANDING}.{quoted(table)}")
            if LEDGER in there:
                self.connection.execute(f"delete from {LANDING}.{LEDGER} where source = ?", [source])

    def tables(self, schema: str) -> list[str]:  # noqa: D102
        found = self.query(
            "select table_name from information_schema.tables"
            " where table_schema = ? and table_catalog = current_database() order by table_name",
            [schema],
        )
        return [name for (name,) in found]

    def count(self, schema: str, table: str) -> int:  # noqa: D102
        return int(self.query(f"select count(*) from {quoted(schema)}.{quoted(table)}")[0][0])

    def read_through(self, seconds: float) -> bool:  # noqa: D102
        tables = self.query(
            "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
            " and not temporary order by estimated_size, schema_name, table_name"
        )
        timer = threading.Timer(seconds, self.connection.interrupt)
        timer.start()
        try:
            for schema, table in tables:
                with self._told():
                    # A sum over all columns reads every block; DuckDB checks each block's own checksum.
                    self.connection.execute(
                        f"select bit_xor(hash(t)) from {quoted(schema)}.{quoted(table)} t"
                    ).fetchall()
        except WarehouseError as error:
            if not isinstance(error.__cause__, duckdb.InterruptException):
                raise
            return False
        finally:
            timer.cancel()
        return True

    def digest(  # noqa: D102
        self, schema: str, table: str, leave_out: Collection[str], after: str = ""
    ) -> Digest:
        relation = f"{quoted(schema)}.{quoted(table)}"
        described = self.query("select name, type from pragma_table_info(?)", [relation])
        counted = {name: type_ for name, type_ in described if name not in leave_out}
        kinds = {name: kind_of(f"{schema}.{table}.{name}", type_) for name, type_ in counted.items()}
        where, parameters = ("_batch_id > ?", [after]) if after else ("", [])
        return digest_of(self.query(digest_sql(DIALECT, relation, kinds, where), parameters)[0])

    @contextmanager
    def _bounded(self, bounds: Bounds) -> Iterator[None]:
        """Let memory be flat, however many rows come: every thread holds a group of rows until it is full."""
        self.connection.execute(f"set threads = {bounds.threads}")
        self.connection.execute(f"set memory_limit = '{bounds.memory}B'")
        try:
            yield
        finally:
            with suppress(duckdb.Error):  # an error before is the cause
                self.connection.execute("reset memory_limit")
                self.connection.execute("reset threads")

    @contextmanager
    def _transaction(self, batches: Sequence[LandingBatch] = ()) -> Iterator[None]:
        self.connection.execute("begin")
        try:
            yield
        except BaseException:
            with suppress(duckdb.Error):  # the first error is the cause
                self.connection.execute("rollback")
            raise
        try:
            self.connection.execute("commit")
        except duckdb.Error as error:
            raise of_commit(error, self._file, unpacked(batches)) from error

    def _told(self, *, objects: bool = False) -> AbstractContextManager[None]:
        return told(self._file, objects=objects)


def _declared(column: str, kind: str) -> str:
    """A column's type, and for the source's own that it is packed by zstd, without trying what is best.

    To try costs a third of a load. What we add ourselves is nearly constant, and the trial finds that.
    """
    packed = kind == TEXT and column not in LANDING_METADATA
    return _TYPES[kind] + " using compression zstd" * packed


def _replaced(batches: Sequence[LandingBatch]) -> dict[str, list[str]]:
    """Landing tables that batches bring rows to, and the names of those batches."""
    tables: dict[str, list[str]] = {}
    for batch in batches:
        for stream in dict.fromkeys(arriving.stored.stream for arriving in batch.objects):
            tables.setdefault(f"{batch.manifest.source}__{stream}", []).append(batch.manifest.name)
    return tables


@lru_cache(maxsize=10_000)
def _folded(name: str) -> str:
    """A name as DuckDB compares it: only ASCII letters are the same in both cases."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
