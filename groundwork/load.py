"""Load: from committed batches to landing, in order, each in one transaction with its ledger row.

An object is taken only when it is what its manifest says: size and sha256 are checked before the warehouse
sees a byte.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, PostgresSource
from groundwork.errors import KeyMissing, ObjectDamaged
from groundwork.manifest import Manifest, StoredRows
from groundwork.scratch import scratch
from groundwork.warehouses import (
    LANDING_METADATA,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    FetchedObject,
    Warehouse,
)

log = logging.getLogger(__name__)


@dataclass
class Loaded:
    """What one run added to landing."""

    source: str
    batches: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows per stream."""
    seconds: float = 0.0


def table_name(source: str, stream: str) -> str:
    """A stream's table in the landing schema."""
    return f"{source}__{stream}"


def prepare(entries: Iterable[AnySource], warehouse: Warehouse) -> None:
    """Make the ledger and a landing table for every stream, so that dbt always finds them.

    Writes nothing when all is there.
    """
    warehouse.widen(LEDGER, LEDGER_COLUMNS)
    for entry in entries:
        for stream, described in entry.streams.items():
            tabular = isinstance(entry, PostgresSource)
            own = list(described.columns) if tabular else ["record", "_request"]
            columns = dict.fromkeys(own, TEXT) | dict(LANDING_METADATA)
            warehouse.widen(table_name(entry.source, stream), columns)


def load(entry: AnySource, bucket: Bucket, warehouse: Warehouse, *, run_id: str = "") -> Loaded:
    """Bring every batch that the ledger does not know into landing.

    Args:
        entry: the catalog's entry of the source.
        bucket: where its batches are.
        warehouse: where they go.
        run_id: the flow run on whose behalf this is.

    Raises:
        ObjectDamaged: when an object or manifest is missing or not what it should be; that batch and the
            ones after it are not loaded, the ones before are.
        WarehouseError: when the warehouse refuses.
    """
    started = time.monotonic()
    prepare([entry], warehouse)
    report = Loaded(entry.source)
    for batch in manifest.since(bucket, entry.source, warehouse.loaded(entry.source)):
        with scratch() as directory:
            objects = [fetch(bucket, stored, directory, batch) for stored in batch.objects]
            for fetched in objects:
                # The metadata too: a stream that the catalog does not know (any more) has no table yet.
                widened = dict.fromkeys(fetched.stored.columns, TEXT) | dict(LANDING_METADATA)
                warehouse.widen(table_name(entry.source, fetched.stored.stream), widened)
            warehouse.land(batch, objects, run_id)
        report.batches.append(batch.batch_id)
        for stored in batch.objects:
            report.rows[stored.stream] = report.rows.get(stored.stream, 0) + stored.rows
        log.info("loaded source=%s batch=%s rows=%d", entry.source, batch.name, batch.rows)
    report.seconds = time.monotonic() - started
    return report


def replay(entry: AnySource, bucket: Bucket, warehouse: Warehouse, *, run_id: str = "") -> Loaded:
    """Empty a source's landing tables and load every batch again from the bucket.

    Raises:
        ObjectDamaged: as `load`.
        WarehouseError: when the warehouse refuses.
    """
    streams = set(entry.streams) | {
        stored.stream for batch in manifest.since(bucket, entry.source, 0) for stored in batch.objects
    }
    warehouse.forget(entry.source, [table_name(entry.source, stream) for stream in sorted(streams)])
    return load(entry, bucket, warehouse, run_id=run_id)


def fetch(bucket: Bucket, stored: StoredRows, directory: Path, batch: Manifest) -> FetchedObject:
    """Download one object and hold it against its manifest.

    Raises:
        ObjectDamaged: when it is missing, or differs in size or sha256.
    """
    path = directory / stored.key.replace("/", "_")
    where = f"{bucket.url}/{stored.key}"
    fix = "restore the object from the bucket's versions; nothing of the batch was loaded"
    try:
        bucket.download(stored.key, path)
    except KeyMissing as error:
        raise ObjectDamaged(
            where, f"is missing, though manifest {batch.name} of {batch.source} lists it", fix=fix
        ) from error
    size = path.stat().st_size
    if size != stored.bytes:
        raise ObjectDamaged(where, f"has {size} bytes, its manifest says {stored.bytes}", fix=fix)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != stored.sha256:
            raise ObjectDamaged(where, "has other content than its manifest says (sha256)", fix=fix)
    return FetchedObject(stored, path)
