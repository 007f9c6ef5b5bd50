"""Replay: landing once more, from the bucket alone."""

from __future__ import annotations

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource
from groundwork.load import Loaded, load, table_name
from groundwork.warehouses import Warehouse


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
