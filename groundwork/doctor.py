"""Doctor: look at everything the platform stands on, and say what is wrong and what to do."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, Catalog, PostgresSource, RestSource
from groundwork.catalog.auth import RefreshTokenAuth
from groundwork.errors import BucketError, GroundworkError, KeyTaken
from groundwork.fetching import fetch
from groundwork.findings import Finding, doubtful
from groundwork.keep.records import under_way, unfinished
from groundwork.scratch import scratch
from groundwork.settings import SECRETS_DIRECTORY, KeepInDirectory, Resolve, Settings, secrets_directory
from groundwork.sources import examination
from groundwork.sources.address import Address
from groundwork.sources.preparation import preparation as statements
from groundwork.sources.slot import slot_name

_READING = 60.0
"""Seconds that the doctor reads in the warehouse, at most."""
_OBJECT_BYTES = 256 << 20
"""Bytes of the newest batch of a source that it reads, at most."""


def examine(
    settings: Settings, catalog: Catalog, open_bucket: Callable[[], Bucket], resolve: Resolve
) -> Iterator[Finding]:
    """Look at bucket, warehouse and every PostgreSQL.

    Args:
        settings: the platform's.
        catalog: the sources.
        open_bucket: opens the bucket, with credentials from wherever they are.
        resolve: looks secrets up.
    """
    yield _looked(f"bucket {settings.bucket_url}", lambda: _bucket(open_bucket()))
    for source in catalog:
        newest = partial(_newest_objects, open_bucket, source)
        yield _looked(f"newest batch of {source} in the bucket", newest)
    yield _looked("rewrites of the bucket", lambda: _rewrites(open_bucket(), catalog))
    yield _looked(f"warehouse {settings.warehouse}", lambda: _warehouse(settings))
    for entry in catalog.values():
        if isinstance(entry, PostgresSource):
            yield from _postgres(entry, settings, resolve)
        elif isinstance(entry, RestSource):
            yield from _place_of_refresh_token(entry)


def _looked(what: str, look: Callable[[], None]) -> Finding:
    try:
        look()
    except GroundworkError as error:
        return Finding(what, str(error))
    return Finding(what)


def _bucket(bucket: Bucket) -> None:
    """Write, read, and refuse to overwrite."""
    key = f"doctor/{uuid.uuid4().hex}"
    bucket.put_if_absent(key, b"1")
    try:
        bucket.put_if_absent(key, b"2")
    except KeyTaken:
        pass
    else:
        raise BucketError(
            bucket.url, "overwrites an object although asked not to (If-None-Match)",
            why="two runs could then commit the same batch",
            fix="use an S3 server that honours conditional writes",
        )  # fmt: skip
    finally:
        bucket.delete(key)


def _rewrites(bucket: Bucket, catalog: Catalog) -> None:
    """An erasure or compaction that was cut short is to be finished."""
    for source in catalog:
        open_ = unfinished(bucket, source)
        if open_:
            raise under_way(bucket, open_)


def _warehouse(settings: Settings) -> None:
    from groundwork.warehouses import open_warehouse

    with open_warehouse(settings, who="doctor") as warehouse:
        warehouse.read_through(_READING)


def _newest_objects(open_bucket: Callable[[], Bucket], source: str) -> None:
    """Read what the newest batch of a source brought, up to `_OBJECT_BYTES`."""
    bucket = open_bucket()
    newest = manifest.latest(bucket, source)
    with scratch() as directory:
        left = _OBJECT_BYTES
        for number, stored in enumerate(newest.objects if newest else ()):
            left -= stored.bytes
            if newest and left >= 0:
                fetch(bucket, stored, directory / f"{number}.parquet", newest).unlink()


def _place_of_refresh_token(entry: RestSource) -> Iterator[Finding]:
    """Whether a refresh token that is new each time can be saved where it is looked up."""
    auth = entry.connection.auth
    if not isinstance(auth, RefreshTokenAuth) or not auth.rotates:
        return
    named, what = auth.refresh_token, f"source {entry.source}: place of its refresh token"
    in_block = secrets_directory() is None and not os.environ.get(named.environment_name)
    if in_block:  # flow runs keep it there; a command outside of them has no place
        yield doubtful(
            what, f"secret '{named.name}'", "changes when it is used, and only flow runs can save it",
            why="they keep it in Prefect's block", fix=f"for commands set {SECRETS_DIRECTORY}",
        )  # fmt: skip
        return

    def look() -> None:
        with KeepInDirectory().turn(named):
            pass

    yield _looked(what, look)


def _postgres(entry: PostgresSource, settings: Settings, resolve: Resolve) -> Iterator[Finding]:
    try:
        address = Address.parse(resolve(entry.connection.url), f"source '{entry.source}'")
    except GroundworkError as error:
        yield Finding(f"source {entry.source}", str(error))
        return
    yield from examination.examine(entry, address, _slot(entry, settings))


def _slot(entry: PostgresSource, settings: Settings) -> str:
    return entry.connection.slot or slot_name(entry.source, settings.bucket_url)


def preparation(entry: AnySource, settings: Settings, resolve: Resolve, look_with: str = "") -> str:
    """The SQL that a database administrator runs once for a source; empty when there is none.

    Args:
        entry: the catalog's entry.
        settings: the platform's.
        resolve: looks the connection URL up.
        look_with: another connection URL to look with, while the role is not there yet.

    Raises:
        SourceError: when the database cannot be looked at.
    """
    if not isinstance(entry, PostgresSource):
        return ""
    return statements(entry, resolve, _slot(entry, settings), look_with)
