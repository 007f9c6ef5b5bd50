"""A copy for readers: what people see, in a DuckDB file of its own that no run ever waits for or holds.

DuckDB lets nobody else open a file that somebody writes to, not even to read. A dashboard opens this copy
instead; it is made beside its place and put there in one step, so a reader sees the old one or the new one,
whole, and one that has it open goes on reading the old one.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import duckdb

from groundwork.errors import WarehouseError
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import open_duckdb
from groundwork.warehouses.duckdb_text import quoted

log = logging.getLogger(__name__)

SCHEMA = "visualization"


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
            tables = warehouse.tables(SCHEMA)
            if not tables:
                raise WarehouseError(
                    str(settings.duckdb_file), f"holds no table in {SCHEMA}", fix="run transform first"
                )
            _copy(warehouse.connection, tables, draft)
        draft.replace(copy)
    except (OSError, duckdb.Error) as error:
        why = str(error).splitlines()[0][:300]
        fix = "name a file in a directory that can be written, with room for it"
        raise WarehouseError(str(copy), "cannot be written", why=why, fix=fix) from error
    finally:
        draft.unlink(missing_ok=True)
    log.info("published file=%s tables=%d bytes=%d", copy, len(tables), copy.stat().st_size)
    return len(tables)


def _copy(connection: duckdb.DuckDBPyConnection, tables: list[str], draft: Path) -> None:
    place = str(draft).replace("'", "''")
    connection.execute(f"attach '{place}' as readers")
    try:
        connection.execute(f"create schema readers.{SCHEMA}")
        for table in tables:
            name = f"{SCHEMA}.{quoted(table)}"
            connection.execute(f"create table readers.{name} as from {name}")
    finally:
        connection.execute("detach readers")
