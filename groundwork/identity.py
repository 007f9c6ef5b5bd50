"""Identities of bucket and warehouse, and the comparison that precedes every change.

A bucket has an id in one small object, and a warehouse has the id of its bucket in `landing._identity`: the
first load writes both. So a command that looks at a wrong or an empty place, because a setting is missing, is
refused before it changes anything. docs/decisions/0040-identities.md
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork.bucket import Bucket
from groundwork.catalog import Catalog
from groundwork.errors import KeyMissing, KeyTaken, ObjectDamaged, WrongPlace
from groundwork.manifest import manifest_key, now
from groundwork.reconciliation import hold_against_ledger
from groundwork.settings import Settings
from groundwork.warehouses import INSTANT, LANDING, LEDGER, TEXT, Warehouse

log = logging.getLogger(__name__)

Open = Callable[[], AbstractContextManager[Warehouse]]

KEY = "identity.json"
"""The bucket's own id."""
WAREHOUSES = "artifacts/warehouses"
"""One object per warehouse that was ever loaded from this bucket."""
TABLE = "_identity"
_COLUMNS = {"warehouse_id": TEXT, "bucket_id": TEXT, "bucket_url": TEXT, "adopted_at": INSTANT}


class BucketIdentity(BaseModel):
    """Who a bucket is, wherever it is copied or renamed to."""

    model_config = ConfigDict(frozen=True)
    version: int = 1
    bucket_id: str
    made_at: datetime


class LoadedWarehouse(BaseModel):
    """A warehouse that was loaded from the bucket."""

    model_config = ConfigDict(frozen=True)
    version: int = 1
    warehouse_id: str
    place: str
    """Host and file, or account and database."""
    adopted_at: datetime


class _Entry(BaseModel):
    """What a warehouse says of itself and of its bucket."""

    warehouse_id: str
    bucket_id: str
    bucket_url: str


def compare(bucket: Bucket, warehouse: Warehouse, sources: Collection[str]) -> bool:
    """Make sure that a warehouse was loaded from this bucket, and that the bucket knows all that was loaded.

    Nothing is written. A warehouse with an empty ledger and no identity belongs to any bucket.

    Args:
        bucket: the bucket that the settings name.
        warehouse: the warehouse that the settings name.
        sources: whose newest loaded batch must be in the bucket. Where bucket or warehouse has no identity
            yet, that of every source in the ledger must be.

    Returns:
        Whether the warehouse was ever loaded; a new one belongs to any bucket.

    Raises:
        WrongPlace: when the two have identities that differ.
        LedgerDisagrees: when the bucket does not have the newest batch that the ledger knows.
    """
    entry, there = _entered(warehouse), read(bucket)
    if entry and there and entry.bucket_id != there.bucket_id:
        raise WrongPlace(
            f"warehouse {warehouse.place}",
            f"was loaded from another bucket than {bucket.url}",
            why=f"it was loaded from {entry.bucket_url}",
            fix="set GROUNDWORK_BUCKET to that bucket, or name another warehouse (GROUNDWORK_WAREHOUSE,"
            " GROUNDWORK_DUCKDB_PATH, --into); nothing was changed",
        )
    known = _newest_per_source(warehouse)
    if entry and not there and not known:
        raise WrongPlace(
            f"bucket {bucket.url}",
            f"is not the one that warehouse {warehouse.place} was loaded from",
            why=f"it has no {KEY}, and the warehouse was loaded from {entry.bucket_url}",
            fix="set GROUNDWORK_BUCKET to that bucket; nothing was changed",
        )
    adopting = entry is None or there is None
    for source, newest in known.items():
        if adopting or source in sources:
            hold_against_ledger(bucket, warehouse, source, newest)
    return entry is not None or bool(known)


def claim(bucket: Bucket, warehouse: Warehouse) -> None:
    """Write the identities that are missing, once `compare` had no objection; safe to repeat."""
    entry, there = _entered(warehouse), read(bucket)
    if entry and there:
        return
    if there is None:
        there = _made(bucket, entry.bucket_id if entry else uuid.uuid4().hex)
    if entry is None:
        adopted_at, warehouse_id = now(), uuid.uuid4().hex
        place = f"{socket.gethostname()}:{warehouse.place}"
        known = LoadedWarehouse(warehouse_id=warehouse_id, place=place, adopted_at=adopted_at)
        bucket.put(f"{WAREHOUSES}/{warehouse_id}.json", known.model_dump_json(indent=1).encode())
        warehouse.widen(TABLE, _COLUMNS)
        warehouse.query(
            f"insert into {LANDING}.{TABLE} ({', '.join(_COLUMNS)}) values (?, ?, ?, ?)",
            [warehouse_id, there.bucket_id, bucket.url, adopted_at.replace(tzinfo=None).isoformat(" ")],
        )
        log.info("adopted warehouse=%s bucket=%s", warehouse.place, bucket.url)


def read(bucket: Bucket) -> BucketIdentity | None:
    """The bucket's identity; None before the first load.

    Raises:
        ObjectDamaged: when it cannot be understood.
    """
    try:
        return BucketIdentity.model_validate_json(bucket.get(KEY))
    except KeyMissing:
        return None
    except ValidationError as error:
        raise ObjectDamaged(
            f"{bucket.url}/{KEY}",
            "is not the identity of a bucket",
            fix="restore the object from the bucket's versions",
        ) from error


def loaded_warehouses(bucket: Bucket) -> list[LoadedWarehouse]:
    """The warehouses that were ever loaded from this bucket, oldest first."""
    found = (bucket.get(one.key) for one in bucket.list(f"{WAREHOUSES}/"))
    return sorted(map(LoadedWarehouse.model_validate_json, found), key=lambda one: one.adopted_at)


def refuse_empty(bucket: Bucket, sources: Iterable[str]) -> None:
    """Make sure that the bucket holds at least one batch of one of these sources.

    Raises:
        WrongPlace: when it holds none: most likely a setting is missing.
    """
    names = list(sources)
    if not any(bucket.exists(manifest_key(source, 1)) for source in names):
        raise WrongPlace(
            f"bucket {bucket.url}",
            f"holds no batch of {', '.join(names)}",
            why="GROUNDWORK_BUCKET names another bucket, or it is not set and the default under"
            " GROUNDWORK_HOME is meant, or nothing was extracted yet",
            fix="set GROUNDWORK_BUCKET to the platform's bucket; nothing was changed",
        )


def compare_places(bucket: Bucket, settings: Settings, sources: Collection[str], open_: Open) -> bool:
    """`compare`, with the warehouse that the settings name, if there is one yet.

    Args:
        bucket: the bucket that the settings name.
        settings: see `Settings`.
        sources: see `compare`.
        open_: opens that warehouse; no turn to write is needed.

    Returns:
        Whether there is such a warehouse, and it was ever loaded.

    Raises:
        WrongPlace, LedgerDisagrees: see `compare`.
        WarehouseError: when it cannot be opened.
    """
    if settings.warehouse == "duckdb" and not settings.duckdb_file.exists():
        return False
    with open_() as warehouse:
        return compare(bucket, warehouse, sources)


def refuse_other_warehouse(bucket: Bucket, settings: Settings, catalog: Catalog, open_: Open) -> None:
    """Make sure that an erasure reaches the warehouse that was loaded, and every source in it.

    Raises:
        WrongPlace, LedgerDisagrees: see `compare`; also when the warehouse that the settings name was
            never loaded and another one was, and when the catalog lacks a source that was loaded.
    """
    refuse_empty(bucket, catalog)
    loaded = loaded_warehouses(bucket)
    if not compare_places(bucket, settings, list(catalog), open_):
        if loaded:
            raise WrongPlace(
                f"warehouse {settings.warehouse_name}",
                f"was never loaded from {bucket.url}",
                why=f"{' and '.join(one.place for one in loaded)} was, and would keep what is to be erased",
                fix="set GROUNDWORK_WAREHOUSE and GROUNDWORK_DUCKDB_PATH (or GROUNDWORK_HOME) to that one;"
                " nothing was changed",
            )
        return
    with open_() as warehouse:
        unknown = sorted(_newest_per_source(warehouse).keys() - set(catalog))
    if unknown:
        raise WrongPlace(
            f"catalog {catalog.directory}",
            f"has no source {', '.join(unknown)}, which was loaded",
            why="an erasure looks only through the sources of the catalog",
            fix="set GROUNDWORK_CATALOG to the platform's catalog, or keep the file of a source that is no"
            " longer read; nothing was changed",
        )


def compare_before_reading(
    source: str, bucket: Bucket, settings: Settings, open_: Open, *, again: bool
) -> None:
    """Make sure that a source is read into the right bucket.

    Opens the warehouse only for a first read and for a full refresh: a bucket that has batches of the source
    is continued, and `load` compares it.

    Args:
        source: its name.
        bucket: the bucket that the settings name.
        settings: see `Settings`.
        open_: opens the warehouse.
        again: some or all of it is to be read from the beginning.

    Raises:
        WrongPlace, LedgerDisagrees: see `compare`; also for a full refresh of a source that was never read.
    """
    known = bucket.exists(manifest_key(source, 1))
    if again or not known:
        compare_places(bucket, settings, [source], open_)
    if again and not known:
        refuse_empty(bucket, [source])


def _made(bucket: Bucket, bucket_id: str) -> BucketIdentity:
    """The bucket's identity, by whoever was first."""
    identity = BucketIdentity(bucket_id=bucket_id, made_at=now())
    try:
        bucket.put_if_absent(KEY, identity.model_dump_json(indent=1).encode())
    except KeyTaken:
        return read(bucket) or identity
    return identity


def _entered(warehouse: Warehouse) -> _Entry | None:
    if not warehouse.columns(LANDING, TABLE):
        return None
    # Two first loads at once may have written a row each; both are of one bucket.
    found = warehouse.query(
        f"select warehouse_id, bucket_id, bucket_url from {LANDING}.{TABLE} order by warehouse_id limit 1"
    )
    if not found:
        return None
    warehouse_id, bucket_id, bucket_url = found[0]
    return _Entry(warehouse_id=warehouse_id, bucket_id=bucket_id, bucket_url=bucket_url)


def _newest_per_source(warehouse: Warehouse) -> dict[str, int]:
    if not warehouse.columns(LANDING, LEDGER):
        return {}
    found = warehouse.query(f"select source, max(batch_id) from {LANDING}.{LEDGER} group by source")
    return {source: int(newest) for source, newest in found}
