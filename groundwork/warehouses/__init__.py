"""What a warehouse is: a place with schemas where batches are landed and dbt works.

Warehouses know nothing of sources; `groundwork.load` hands them files and their manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from groundwork.errors import WarehouseError
from groundwork.manifest import Manifest, StoredRows
from groundwork.settings import Settings

LANDING = "landing"

TEXT, INSTANT, WHOLE = "text", "timestamp", "bigint"
"""The only types landing knows; a warehouse translates them."""

LANDING_METADATA: Mapping[str, str] = {
    "_operation": TEXT,
    "_sequence": TEXT,
    "_unchanged": TEXT,
    "_committed_at": INSTANT,
    "_extracted_at": INSTANT,
    "_stored_at": INSTANT,
    "_loaded_at": INSTANT,
    "_batch_id": TEXT,
    "_file": TEXT,
    "_row": WHOLE,
    "_run_id": TEXT,
}

LEDGER = "_batches"
LEDGER_COLUMNS: Mapping[str, str] = {
    "source": TEXT,
    "batch_id": TEXT,
    "rows": WHOLE,
    "objects": WHOLE,
    "operations": TEXT,
    "events": TEXT,
    "slot": TEXT,
    "started_at": INSTANT,
    "stored_at": INSTANT,
    "loaded_at": INSTANT,
    "extract_run_id": TEXT,
    "load_run_id": TEXT,
    "manifest": TEXT,
}


@dataclass(frozen=True)
class FetchedObject:
    """One object of a batch, checked and at hand as a local file."""

    stored: StoredRows
    path: Path


class Warehouse(Protocol):
    """Where batches land. Every method raises `WarehouseError` in place of the driver's errors."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (``?`` for parameters) and return its rows."""

    def columns(self, schema: str, table: str) -> list[str]:
        """Column names of a table, empty when it does not exist."""

    def widen(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a landing table, or add what it lacks; nothing is ever dropped or altered."""

    def loaded(self, source: str) -> int:
        """Number of the newest batch in the ledger, 0 when there is none."""

    def land(self, batch: Manifest, objects: Sequence[FetchedObject], run_id: str) -> None:
        """Bring one batch in: rows and ledger row in one transaction, replacing the batch if present."""

    def forget(self, source: str, tables: Sequence[str]) -> None:
        """Empty a source's landing tables and its ledger, in one transaction (before a replay)."""


@contextmanager
def open_warehouse(settings: Settings, *, who: str, read_only: bool = False) -> Iterator[Warehouse]:
    """Open the warehouse that the settings name, and close it again.

    Args:
        settings: see `Settings`.
        who: for whom, e.g. ``load shop``; told to others that wait for it.
        read_only: do not queue as a writer (the embedded warehouse must exist then).

    Raises:
        WarehouseError: when it cannot be opened.
    """
    if settings.warehouse == "duckdb":
        from groundwork.warehouses.duckdb import open_duckdb

        with open_duckdb(settings.duckdb_file, who=who, read_only=read_only) as warehouse:
            yield warehouse
    else:
        raise WarehouseError(
            f"warehouse '{settings.warehouse}'",
            "cannot be loaded by this version",
            fix="set GROUNDWORK_WAREHOUSE=duckdb",
        )
