"""Lineage: from one row that people see, back to the file it came in and the log lines of that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from groundwork.errors import WarehouseError
from groundwork.warehouses import Warehouse

_TIMES = {
    "_committed_at": "committed at the source",
    "_extracted_at": "read by us",
    "_stored_at": "arrived in the bucket",
    "_loaded_at": "loaded into landing",
    "_built_at": "built by dbt",
}


@dataclass
class Lineage:
    """Where one row comes from."""

    table: str
    row: dict[str, Any]
    """Its own columns."""
    times: dict[str, Any] = field(default_factory=dict)
    """What happened when, in the order it happened."""
    place: dict[str, Any] = field(default_factory=dict)
    """Object, row in it, batch and flow run."""
    log_lines: list[tuple[Any, ...]] = field(default_factory=list)
    """Time, level and text of what that run said of the batch."""


def explain(warehouse: Warehouse, table: str, column: str, value: str) -> Lineage:
    """Follow one row back.

    Args:
        warehouse: where the row is.
        table: ``schema.table``.
        column: a column that identifies the row.
        value: its value, as text.

    Raises:
        WarehouseError: when there is no such table, column or row.
    """
    schema, _, name = table.rpartition(".")
    columns = warehouse.columns(schema, name)
    if column not in columns:
        known = ", ".join(c for c in columns if not c.startswith("_"))
        what = f"has no column '{column}' ({known})" if columns else "does not exist"
        raise WarehouseError(f"table {table}", what, fix="name a table as schema.table, and its key")
    listed, place = ", ".join(map(warehouse.quoted, columns)), f"{schema}.{warehouse.quoted(name)}"
    found = warehouse.query(
        f"select {listed} from {place} where cast({warehouse.quoted(column)} as varchar) = ? limit 1", [value]
    )
    if not found:
        raise WarehouseError(f"table {table}", f"has no row with this {column}")
    row = dict(zip(columns, found[0], strict=True))
    lineage = Lineage(table, {c: v for c, v in row.items() if not c.startswith("_")})
    lineage.times = {told: row[c] for c, told in _TIMES.items() if c in row}
    lineage.place = {c: row[c] for c in ("_file", "_row", "_batch_id", "_run_id") if c in row}
    if row.get("_file"):
        source = str(row["_file"]).split("/", 1)[0]
        lineage.log_lines = _log_lines(warehouse, source, str(row["_file"]).split("/")[3])
    return lineage


def _log_lines(warehouse: Warehouse, source: str, batch: str) -> list[tuple[Any, ...]]:
    """What the runs that extracted and loaded a batch said of it."""
    if not warehouse.columns("visualization", "run_logs"):
        return []
    return warehouse.query(
        "select logged_at, level_name, message from visualization.run_logs"
        " where batch_source_name = ? and batch_id = ? order by logged_at limit 10",
        [source, batch],
    )
