"""A copy for readers: what people see, in a DuckDB file of its own that no run ever waits for or holds.

DuckDB lets nobody else open a file that somebody writes to, not even to read. A dashboard opens this copy
instead; it is made beside its place and put there in one step, so a reader sees the old one or the new one,
whole, and one that has it open goes on reading the old one. It is written in the oldest storage format that
holds it, because the drivers of BI tools are often years older: docs/decisions/0043-readers-copy.md.
"""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

import duckdb

from groundwork.errors import WarehouseError
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import open_duckdb
from groundwork.warehouses.duckdb_text import literal, quoted

log = logging.getLogger(__name__)

SCHEMA = "visualization"
FORMATS = ("v1.0.0", "v1.2.0", "v1.4.0", "v1.5.0", "v2.0.0")
"""DuckDB's storage formats, oldest first, each by the first release that reads it."""
_FIRST_READ = {"TIME_NS": "v1.4.0", "VARIANT": "v1.5.0", "TIMESTAMPTZ_NS": "v2.0.0"}
"""Later types. DuckDB writes some of them into any format, which then no older release opens."""


def publish(settings: Settings, copy: Path) -> int:
    """Write the visualization layer to a file for readers.

    Args:
        settings: whose warehouse; it must be DuckDB's.
        copy: the file to put in place; one that is there is replaced.

    Returns:
        How many tables it holds.

    Raises:
        WarehouseError: when there is nothing to copy, or no place to copy it to.
    """
    if settings.warehouse != "duckdb":
        raise WarehouseError(
            f"warehouse '{settings.warehouse}'", "needs no copy for readers", fix="let them read it"
        )
    draft = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open_duckdb(settings.duckdb_file, who="publish") as warehouse:
            remove_drafts(copy)
            tables = warehouse.tables(SCHEMA)
            if not tables:
                raise WarehouseError(
                    str(settings.duckdb_file), f"holds no table in {SCHEMA}", fix="run transform first"
                )
            format_ = _copy(warehouse.connection, tables, draft)
            # A reader that writes leaves a log beside the old copy; it must not be played into the new one.
            _log_of(copy).unlink(missing_ok=True)
            draft.replace(copy)
    except (OSError, duckdb.Error) as error:
        why = str(error).splitlines()[0][:300]
        fix = "name a file in a directory that can be written, with room for it"
        raise WarehouseError(str(copy), "cannot be written", why=why, fix=fix) from error
    finally:
        _remove(draft)
    log.info(
        "published file=%s tables=%d bytes=%d format=%s", copy, len(tables), copy.stat().st_size, format_
    )
    return len(tables)


def _copy(connection: duckdb.DuckDBPyConnection, tables: list[str], draft: Path) -> str:
    """Write the tables into the draft, in the oldest format that holds them, and return that format."""
    formats = FORMATS[FORMATS.index(_oldest_format(connection)) :]
    for format_ in formats[:-1]:
        try:
            _write(connection, tables, draft, format_)
        except (duckdb.InvalidInputException, duckdb.NotImplementedException) as error:
            log.info("copy for readers not written format=%s: %s", format_, str(error).splitlines()[0][:300])
            _remove(draft)
        else:
            return format_
    _write(connection, tables, draft, formats[-1])
    return formats[-1]


def _oldest_format(connection: duckdb.DuckDBPyConnection) -> str:
    """The first format whose readers know every type of the visualization layer."""
    columns = connection.execute(
        "select table_name, column_name, data_type from duckdb_columns()"
        " where schema_name = ? and database_name = current_database()",
        [SCHEMA],
    ).fetchall()
    oldest = FORMATS[0]
    for table, column, type_ in columns:
        for word in _words(type_):
            wanted = _FIRST_READ.get(word, FORMATS[0])
            if FORMATS.index(wanted) > FORMATS.index(oldest):
                log.info("copy for readers column=%s.%s type=%s format=%s", table, column, type_, wanted)
                oldest = wanted
    return oldest


def _words(type_: str) -> Iterable[str]:
    """The names of types in a nested type; a field's name may be among them, which only costs a format."""
    return re.findall(r"\w+", type_)


def _write(connection: duckdb.DuckDBPyConnection, tables: list[str], draft: Path, format_: str) -> None:
    readers = quoted(draft.name)  # the warehouse's own database cannot be of this name
    connection.execute(f"attach {literal(str(draft))} as {readers} (storage_version {literal(format_)})")
    try:
        connection.execute(f"create schema {readers}.{SCHEMA}")
        for table in tables:
            name = f"{SCHEMA}.{quoted(table)}"
            connection.execute(f"create table {readers}.{name} as from {name}")
    except duckdb.Error:
        with contextlib.suppress(duckdb.Error):  # the first error says what is wrong
            connection.execute(f"detach {readers}")
        raise
    connection.execute(f"detach {readers}")


def remove_drafts(copy: Path) -> int:
    """Remove what killed processes left beside a copy.

    The caller holds the warehouse's lock, so none of them is alive.

    Returns:
        How many files.
    """
    left = drafts_of(copy)
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


def drafts_of(copy: Path) -> list[Path]:
    """Copies that killed processes left unfinished beside a copy for readers, or that one is writing now."""
    if not copy.parent.is_dir():
        return []
    own = re.compile(rf"\.{re.escape(copy.name)}\.[0-9a-f]{{8}}(\.wal)?")
    return sorted(file for file in copy.parent.iterdir() if own.fullmatch(file.name))


def _remove(draft: Path) -> None:
    draft.unlink(missing_ok=True)
    _log_of(draft).unlink(missing_ok=True)


def _log_of(file: Path) -> Path:
    """DuckDB's write-ahead log of a file."""
    return file.with_name(file.name + ".wal")
