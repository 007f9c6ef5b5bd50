"""What a warehouse is: a place with schemas where batches are landed and dbt works.

Warehouses know nothing of sources and nothing of downloads; `groundwork.load` hands them manifests and what
the manifests list. A warehouse that reads the bucket itself never asks for an object's file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from groundwork.manifest import Manifest, StoredRows, manifest_key
from groundwork.settings import Settings

if TYPE_CHECKING:
    from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.canonical import Digest

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
    "commit_id": TEXT,
}


REPLAYED = "_replayed"
"""What each replay has loaded: one row per batch and stream, written in the load's own transaction."""
REPLAYED_COLUMNS: Mapping[str, str] = {
    "replay_id": TEXT,
    "source": TEXT,
    "batch_id": TEXT,
    "stream": TEXT,
    "rows": WHOLE,
}


@dataclass(frozen=True)
class LandingObject:
    """One object of a batch, on its way into landing."""

    stored: StoredRows
    url: str
    """Where it is: the bucket's URL and its key."""
    file: Callable[[], Path]
    """Makes it a local file, once, held against its manifest (size, sha256); raises `ObjectDamaged`."""


@dataclass(frozen=True)
class LandingBatch:
    """One batch, on its way into landing."""

    manifest: Manifest
    objects: Sequence[LandingObject]
    whole: bool = True
    """False when only some of its streams are loaded again: the ledger is left as it is then."""
    replay_id: str = ""
    """The replay that loads it again; `REPLAYED` says so once it is in."""


def ledger_row(batch: Manifest, loaded_at: datetime, run_id: str) -> dict[str, Any]:
    """What the ledger says of a batch, one value per column of `LEDGER_COLUMNS`; instants are UTC."""
    return {
        "source": batch.source,
        "batch_id": batch.name,
        "rows": batch.rows,
        "objects": len(batch.objects),
        "operations": json.dumps(batch.operations, sort_keys=True),
        "events": json.dumps(batch.events),
        "slot": json.dumps(batch.slot),
        "started_at": batch.started_at.replace(tzinfo=None),
        "stored_at": batch.stored_at.replace(tzinfo=None),
        "loaded_at": loaded_at,
        "extract_run_id": batch.run_id,
        "load_run_id": run_id,
        "manifest": manifest_key(batch.source, batch.batch_id),
        "commit_id": batch.commit_id,
    }


def replayed_rows(batches: Sequence[LandingBatch]) -> list[tuple[str, str, str, str, int]]:
    """What `REPLAYED` says of batches that a replay loads, one tuple per row, in the order of its columns.

    A batch without objects has one row, of no stream.
    """
    found: list[tuple[str, str, str, str, int]] = []
    for batch in batches:
        if not batch.replay_id:
            continue
        rows: dict[str, int] = {}
        for arrived in batch.objects:
            rows[arrived.stored.stream] = rows.get(arrived.stored.stream, 0) + arrived.stored.rows
        there = batch.manifest
        found += [
            (batch.replay_id, there.source, there.name, stream, count)
            for stream, count in (rows or {"": 0}).items()
        ]
    return found


def later(now: datetime, newest: datetime | None) -> datetime:
    """The `_loaded_at` of rows that replace others: later than any there, whatever the clock says.

    dbt takes rows as new by their batch or by this instant. A clock that went back must not hide a replay.

    Args:
        now: what the clock says (UTC without zone).
        newest: the newest `_loaded_at` of the tables that get the rows; None when they are empty.
    """
    return now if newest is None or now > newest else newest + timedelta(microseconds=1)


def rewritten(batches: Sequence[LandingBatch]) -> Iterator[tuple[list[str], list[str], LandingObject]]:
    """Objects of a group that were rewritten, each once: the names of the batches whose rows are to be taken
    from it, and their columns. Such an object may hold other batches too, which are not to be landed now.
    """
    shared: dict[str, list[tuple[str, LandingObject]]] = {}
    for batch in batches:
        for arriving in batch.objects:
            if arriving.stored.rewritten:
                shared.setdefault(arriving.stored.key, []).append((batch.manifest.name, arriving))
    for users in shared.values():
        columns = dict.fromkeys(name for _, arriving in users for name in arriving.stored.columns)
        yield [name for name, _ in users], list(columns), users[0][1]


class Warehouse(Protocol):
    """Where batches land. Every method raises `WarehouseError` in place of the driver's errors."""

    reads_bucket: bool
    """Whether it reads objects where they are; else `load` has their files at hand before `land`."""
    place: str
    """Where it is, as messages name it: a file, or an account and a database."""

    def quoted(self, name: str) -> str:
        """A name of a table or column as this warehouse's statements write it, whatever it holds."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (``?`` for parameters) and return its rows."""

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one statement and return the names of its columns, and its rows."""

    def columns(self, schema: str, table: str) -> list[str]:
        """Column names of a table, empty when it does not exist."""

    def widen(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a landing table, or add what it lacks; nothing is ever dropped or altered."""

    def widen_all(self, tables: Mapping[str, Mapping[str, str]]) -> None:
        """Do the same for many tables, and ask the catalogue once."""

    def loaded(self, source: str) -> int:
        """Number of the newest batch in the ledger, 0 when there is none."""

    def land(self, batches: Sequence[LandingBatch], run_id: str) -> None:
        """Bring batches of one source in: rows and ledger rows in one transaction.

        A batch that is there already is replaced. Of a batch that is not whole, the rows of the streams
        that its objects belong to are replaced, and its ledger row is left as it is. What a replay loads is
        entered into `REPLAYED`, which the replay has made before.

        The rows of a rewritten object carry `groundwork.manifest.REWRITTEN` themselves, and only those of the
        batches at hand are taken (see `rewritten`).
        """

    def forget(self, source: str, tables: Sequence[str]) -> None:
        """Empty a source's landing tables and its ledger, in one transaction (before a replay)."""

    def tables(self, schema: str) -> list[str]:
        """Names of a schema's tables and views, sorted; empty when there is no such schema."""

    def count(self, schema: str, table: str) -> int:
        """Rows of a table or view."""

    def read_through(self, seconds: float) -> bool:
        """Read what is stored, to see that it can be read; whether all was read in so many seconds."""

    def digest(self, schema: str, table: str, leave_out: Collection[str], after: str = "") -> Digest:
        """The canonical digest of a table or view, see `groundwork.warehouses.canonical`.

        Args:
            schema: where it is.
            table: its name.
            leave_out: names of columns that do not count.
            after: count only rows whose `_batch_id` is later than this.
        """


@contextmanager
def open_warehouse(
    settings: Settings,
    *,
    who: str,
    read_only: bool = False,
    login: SnowflakeLogin | None = None,
    run_id: str = "",
    wait: float | None = None,
) -> Iterator[Warehouse]:
    """Open the warehouse that the settings name, and close it again.

    Args:
        settings: see `Settings`.
        who: for whom, e.g. ``load shop``; told to others that wait for it.
        read_only: do not queue as a writer (the embedded warehouse must exist then).
        login: how to sign in to Snowflake; by default what the environment says.
        run_id: the flow run; Snowflake's statements are tagged with it.
        wait: seconds to wait for the turn to write, where there is one writer at a time; an hour when None.

    Raises:
        SettingMissing: when nothing says how to sign in.
        WarehouseBusy: when the turn does not come in time.
        WarehouseError: when it cannot be opened.
    """
    if settings.warehouse == "duckdb":
        from groundwork.warehouses.duckdb import open_duckdb
        from groundwork.warehouses.writer import LONGEST_WAIT

        longest = LONGEST_WAIT if wait is None else wait
        with open_duckdb(
            settings.duckdb_file, who=who, read_only=read_only, wait=longest, memory=settings.duckdb_memory
        ) as warehouse:
            yield warehouse
    else:
        from groundwork.warehouses.snowflake import open_snowflake
        from groundwork.warehouses.snowflake_login import SnowflakeLogin

        with open_snowflake(login or SnowflakeLogin.from_environment(), who=who, run_id=run_id) as snowflake:
            yield snowflake
