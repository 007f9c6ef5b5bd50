"""Load: from committed batches to landing, in order, each in one transaction with its ledger row.

Many small batches are landed together; when such a group cannot be landed whole, they are landed one by one,
so that the one that is wrong is named and the ones before it are in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from groundwork import manifest, time_limit
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, PostgresSource
from groundwork.errors import ObjectDamaged, WarehouseError
from groundwork.fetching import afresh, arriving, up_to_date
from groundwork.identity import claim, compare
from groundwork.manifest import Manifest
from groundwork.reconciliation import newest_batch
from groundwork.verification import check_against_catalog
from groundwork.warehouses import (
    LANDING_METADATA,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    LandingBatch,
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
        WrongPlace: when the warehouse was loaded from another bucket.
        LedgerDisagrees: when the ledger knows a batch that the bucket does not have, or another one.
        WarehouseError: when the warehouse refuses.
    """
    started = time.monotonic()
    compare(bucket, warehouse, [entry.source])
    prepare([entry], warehouse)
    report = Loaded(entry.source)
    known = warehouse.loaded(entry.source)
    newest = newest_batch(bucket, entry.source, known)
    if newest:  # an empty bucket and an empty warehouse are not bound to each other
        claim(bucket, warehouse)
    batches = expected(bucket, entry, manifest.span(bucket, entry.source, known + 1, newest))
    land(bucket, warehouse, batches, report, run_id=run_id)
    report.seconds = time.monotonic() - started
    return report


def expected(bucket: Bucket, entry: AnySource, batches: Iterable[Manifest]) -> Iterator[Manifest]:
    """The batches, each once it agrees with the catalog.

    Raises:
        ObjectDamaged: see `groundwork.verification`.
    """
    for batch in batches:
        url = f"{bucket.url}/{manifest.manifest_key(entry.source, batch.batch_id)}"
        check_against_catalog(batch, url, entry)
        yield batch


def land(
    bucket: Bucket,
    warehouse: Warehouse,
    batches: Iterable[Manifest],
    report: Loaded,
    *,
    streams: Collection[str] | None = None,
    run_id: str = "",
) -> None:
    """Land batches, in order, and enter them into the report.

    Args:
        bucket: where their objects are.
        warehouse: where they go; its ledger is there.
        batches: their manifests.
        report: told of each batch when it is in.
        streams: only rows of these, the ledger left as it is; whole batches when None.
        run_id: the flow run on whose behalf this is.

    Raises:
        ObjectDamaged, WarehouseError: see `load`.
    """
    for group in arriving(bucket, batches, streams, ahead=not warehouse.reads_bucket):
        if time_limit.is_near():
            time_limit.cut_short()
            log.info("time is up source=%s the next run loads the rest", report.source)
            break
        land_group(bucket, warehouse, group, report, streams=streams, run_id=run_id)


def land_group(
    bucket: Bucket,
    warehouse: Warehouse,
    group: Sequence[LandingBatch],
    report: Loaded,
    *,
    streams: Collection[str] | None = None,
    run_id: str = "",
) -> None:
    """Land a group of batches together, or else one by one up to the one that cannot be; see `land`."""
    with up_to_date(bucket, group, streams) as group:
        _widen(warehouse, group)
        try:
            warehouse.land(group, run_id)
        except (ObjectDamaged, WarehouseError):
            for batch in group:
                with afresh(bucket, batch, streams) as same:
                    if len(group) == 1 and same is batch:
                        raise
                    warehouse.land([same], run_id)
                    _enter(report, [same])
        else:
            _enter(report, group)


def _widen(warehouse: Warehouse, group: Sequence[LandingBatch]) -> None:
    """Make room for what a group brings, once per table.

    The metadata too: a stream that the catalog does not know (any more) has no table yet.
    """
    tables: dict[str, dict[str, str]] = {}
    for batch in group:
        for arrived in batch.objects:
            table = table_name(batch.manifest.source, arrived.stored.stream)
            tables.setdefault(table, {}).update(dict.fromkeys(arrived.stored.columns, TEXT))
    for table, columns in tables.items():
        warehouse.widen(table, columns | dict(LANDING_METADATA))


def _enter(report: Loaded, group: Sequence[LandingBatch]) -> None:
    for batch in group:
        rows = 0
        for arrived in batch.objects:
            stored = arrived.stored
            report.rows[stored.stream] = report.rows.get(stored.stream, 0) + stored.rows
            rows += stored.rows
        report.batches.append(batch.manifest.batch_id)
        log.info("loaded source=%s batch=%s rows=%d", report.source, batch.manifest.name, rows)
