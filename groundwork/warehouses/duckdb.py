"""The embedded warehouse: one DuckDB file, one writer at a time.

Writers queue in front of the file (`writer_lock`) and say for whom they wait, so nobody ever meets DuckDB's
own lock error. See docs/decisions/0004-one-writer.md.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from groundwork.errors import WarehouseError
from groundwork.manifest import Manifest, now
from groundwork.warehouses import (
    INSTANT,
    LANDING,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    WHOLE,
    LandingBatch,
    LandingObject,
    ledger_row,
)

log = logging.getLogger(__name__)

_TYPES = {TEXT: "varchar", INSTANT: "timestamp", WHOLE: "bigint"}
_LONGEST_WAIT = 3600.0
"""Seconds a writer queues before it gives up."""


@contextmanager
def writer_lock(file: Path, who: str, *, wait: float = _LONGEST_WAIT) -> Iterator[None]:
    """Hold the warehouse file for writing; wait for the turn and say so.

    Args:
        file: the DuckDB file.
        who: for whom, told to others that wait.
        wait: seconds to wait at most.

    Raises:
        WarehouseError: when the turn does not come in time.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    holder = file.with_name(file.name + ".holder")
    lock = FileLock(file.with_name(file.name + ".lock"))
    started, told = time.monotonic(), -60.0
    while True:
        try:
            lock.acquire(timeout=2, poll_interval=0.02)
            break
        except Timeout:
            waited = time.monotonic() - started
            if waited - told >= 30:
                log.info("waiting for warehouse=%s held_by=%s seconds=%.0f", file.name, _read(holder), waited)
                told = waited
            if waited > wait:
                raise WarehouseError(
                    str(file),
                    f"is still held after {wait:.0f} seconds",
                    why=f"held by {_read(holder)}",
                    fix="wait for that run, or end it",
                ) from None
    try:
        holder.write_text(f"{who} (process {os.getpid()})", encoding="utf-8")
        yield
    finally:
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:
        return "another process"


@contextmanager
def open_duckdb(file: Path, *, who: str, read_only: bool = False) -> Iterator[DuckDB]:
    """Open the file, after queueing for it.

    Raises:
        WarehouseError: when it cannot be opened, or a program that does not queue holds it too long.
    """
    with writer_lock(file, who):
        connection = _connect(file, read_only)
        try:
            yield DuckDB(connection, file)
        finally:
            connection.close()


def _connect(file: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + 600
    while True:
        try:
            connection = duckdb.connect(str(file), read_only=read_only)
            break
        except duckdb.IOException as error:
            # A program outside the platform (a shell, a BI tool) may hold the file without queueing.
            foreign = re.search(r"\(PID (\d+)\)", str(error))
            if not foreign or time.monotonic() > deadline:
                raise WarehouseError(
                    str(file),
                    "cannot be opened",
                    why=f"process {foreign[1]} holds it" if foreign else "see the error it comes from",
                    fix="close that program" if foreign else "check that it is a DuckDB 2.0 file",
                ) from error
            log.info("waiting for warehouse=%s held_by=process %s", file.name, foreign[1])
            time.sleep(1)
    connection.execute("set timezone = 'UTC'")
    connection.execute("set preserve_insertion_order = false")  # `_row` keeps the order; memory stays flat
    return connection


class DuckDB:
    """The `Warehouse` in one DuckDB file."""

    reads_bucket = False

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path) -> None:
        """Wrap an open connection."""
        self.connection, self._file = connection, file

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:  # noqa: D102
        with self._told():
            return self.connection.execute(sql, list(parameters)).fetchall()

    def columns(self, schema: str, table: str) -> list[str]:  # noqa: D102
        found = self.query(
            "select column_name from duckdb_columns()"
            " where schema_name = ? and table_name = ? and database_name = current_database()"
            " order by column_index",
            [schema, table],
        )
        return [name for (name,) in found]

    def widen(self, table: str, columns: Mapping[str, str]) -> None:  # noqa: D102
        present = {_folded(name) for name in self.columns(LANDING, table)}
        name = f"{LANDING}.{quoted(table)}"
        with self._told():
            if not present:
                body = ", ".join(f"{quoted(c)} {_TYPES[kind]}" for c, kind in columns.items())
                self.connection.execute(f"create schema if not exists {LANDING}")
                self.connection.execute(f"create table {name} ({body})")
                return
            for column, kind in columns.items():
                if _folded(column) not in present:
                    self.connection.execute(f"alter table {name} add column {quoted(column)} {_TYPES[kind]}")
                    log.info("widened table=%s column=%s", table, column)

    def loaded(self, source: str) -> int:  # noqa: D102
        if not self.columns(LANDING, LEDGER):
            return 0
        found = self.query(f"select max(batch_id) from {LANDING}.{LEDGER} where source = ?", [source])
        return int(found[0][0] or 0)

    def land(self, batches: Sequence[LandingBatch], run_id: str) -> None:  # noqa: D102
        loaded_at = now().replace(tzinfo=None)
        with self._told(), self._transaction():
            for table, names in _replaced(batches).items():
                self.connection.execute(
                    f"delete from {LANDING}.{quoted(table)} where _batch_id in (select unnest(?))", [names]
                )
            for batch in batches:
                for arriving in batch.objects:
                    self._insert(batch.manifest, arriving, loaded_at)
            self._enter([batch.manifest for batch in batches if batch.whole], loaded_at, run_id)

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
            number, rows = "_row", "numbered"
            read = pq.read_table(path)
            self.connection.register(rows, read.append_column(number, pa.array(range(read.num_rows))))
            parameters.pop()
        values = ", ".join([*map(quoted, from_file), number, *("?" for _ in given)])
        self.connection.execute(f"insert into {table} ({names}) select {values} from {rows}", parameters)
        self.connection.unregister("numbered")

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
        with self._told(), self._transaction():
            for table in tables:
                if self.columns(LANDING, table):
                    self.connection.execute(f"delete from {LANDING}.{quoted(table)}")
            if self.columns(LANDING, LEDGER):
                self.connection.execute(f"delete from {LANDING}.{LEDGER} where source = ?", [source])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("begin")
        try:
            yield
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise WarehouseError(
                str(self._file),
                f"a statement failed ({type(error).__name__})",
                why=str(error).splitlines()[0][:300],
                fix="nothing was written by it",
            ) from error


def _replaced(batches: Sequence[LandingBatch]) -> dict[str, list[str]]:
    """Landing tables that batches bring rows to, and the names of those batches."""
    tables: dict[str, list[str]] = {}
    for batch in batches:
        for stream in dict.fromkeys(arriving.stored.stream for arriving in batch.objects):
            tables.setdefault(f"{batch.manifest.source}__{stream}", []).append(batch.manifest.name)
    return tables


def _folded(name: str) -> str:
    """A name as DuckDB compares it: only ASCII letters are the same in both cases."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'
