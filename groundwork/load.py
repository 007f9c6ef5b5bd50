"""Load: from committed batches to landing, in order, each in one transaction with its ledger row.

A stream that cannot be loaded does not hold back the others; see `groundwork.left_out`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping

from groundwork import manifest, time_limit, unmatched
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, PostgresSource
from groundwork.fetching import arriving
from groundwork.identity import claim, compare
from groundwork.landing import Loaded, land_group, table_name
from groundwork.left_out import LeftOut, leave_out, left_out, let_back
from groundwork.manifest import Manifest
from groundwork.reconciliation import newest_batch
from groundwork.verification import check_against_catalog
from groundwork.warehouses import (
    LANDING_METADATA,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    Warehouse,
)

log = logging.getLogger(__name__)


def prepare(entries: Iterable[AnySource], warehouse: Warehouse) -> None:
    """Make the ledger and a landing table for every stream, so that dbt always finds them.

    Writes nothing when all is there.
    """
    tables: dict[str, Mapping[str, str]] = {LEDGER: LEDGER_COLUMNS}
    for entry in entries:
        for stream, described in entry.streams.items():
            tabular = isinstance(entry, PostgresSource)
            own = list(described.columns) if tabular else ["record", "_request"]
            columns = dict.fromkeys(own, TEXT) | dict(LANDING_METADATA)
            tables[table_name(entry.source, stream)] = columns
    warehouse.widen_all(tables)


def load(entry: AnySource, bucket: Bucket, warehouse: Warehouse, *, run_id: str = "") -> Loaded:
    """Bring every batch that the ledger does not know into landing.

    A stream that cannot be loaded is left out: see `Loaded.left_out`, and `Loaded.insist`. Changes that met
    no live row are counted: see `Loaded.unmatched`.

    Args:
        entry: the catalog's entry of the source.
        bucket: where its batches are.
        warehouse: where they go.
        run_id: the flow run on whose behalf this is.

    Raises:
        ObjectDamaged: when a manifest is missing or not what it should be; that batch and the ones after it
            are not loaded, the ones before are.
        WrongPlace: when the warehouse was loaded from another bucket.
        LedgerDisagrees: when the ledger knows a batch that the bucket does not have, or another one.
        WarehouseError: when the warehouse refuses, and no single stream is the reason.
    """
    started = time.monotonic()
    compare(bucket, warehouse, [entry.source])
    prepare([entry], warehouse)
    report = Loaded(entry.source)
    known = warehouse.loaded(entry.source)
    newest = newest_batch(bucket, entry.source, known)
    if newest:  # an empty bucket and an empty warehouse are not bound to each other
        claim(bucket, warehouse)
    for mark in left_out(warehouse, entry.source).values():
        _catch_up(entry, bucket, warehouse, mark, known, report, run_id)
    batches = expected(bucket, entry, manifest.span(bucket, entry.source, known + 1, newest))
    land(bucket, warehouse, batches, report, run_id=run_id)
    report.unmatched = unmatched.look(entry, warehouse, known, report.rows.keys() - report.left_out.keys())
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


def _catch_up(
    entry: AnySource,
    bucket: Bucket,
    warehouse: Warehouse,
    mark: LeftOut,
    known: int,
    report: Loaded,
    run_id: str,
) -> None:
    """Bring in what landing lacks of a stream that was left out, up to the newest batch of the ledger."""
    stream, alone = mark.stream, Loaded(entry.source)
    batches = expected(bucket, entry, manifest.span(bucket, entry.source, mark.first, known))
    first = mark.first
    for group in arriving(bucket, batches, {stream}, ahead=not warehouse.reads_bucket):
        if time_limit.is_near():
            time_limit.cut_short()
            break
        land_group(bucket, warehouse, group, alone, streams={stream}, run_id=run_id)
        if alone.left_out:
            break
        first = group[-1].manifest.batch_id + 1
    left = alone.left_out.get(stream)
    first, why = (left.first, left.why) if left else (first, mark.why)
    report.rows[stream] = report.rows.get(stream, 0) + alone.rows.get(stream, 0)
    if first <= known:
        report.left_out[stream] = leave_out(warehouse, entry.source, stream, first, why, mark.since)
        return
    let_back(warehouse, entry.source, stream)
    report.caught_up.append(stream)
    log.info("caught up source=%s stream=%s left_out_since=%s", entry.source, stream, mark.since)
