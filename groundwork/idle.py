"""Nothing new: known from the bucket, so that an idle run opens no warehouse.

After its work a run leaves a note in the bucket of what the warehouse holds now. The next one believes it
while the bucket has no later batch, the warehouse is still the same one, and the note is not too old: a
DuckDB file is known by its inode, size and time of change, so one that was replaced or written to is looked
into; of Snowflake nothing can be known without a session, and the age of the note sees to it that it is
asked once in a while.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork.bucket import Bucket
from groundwork.catalog import AnySource
from groundwork.errors import KeyMissing
from groundwork.landing import Loaded
from groundwork.ledger import Batches, newest_batches
from groundwork.load import load
from groundwork.manifest import manifest_key, now
from groundwork.reconciliation import refuse_gap
from groundwork.settings import Settings
from groundwork.warehouses import Warehouse

log = logging.getLogger(__name__)

Open = Callable[[], AbstractContextManager[Warehouse]]
PREFIX = "artifacts/loaded"
BUILDS = "transform-"
"""Notes of builds begin with this."""
_BELIEVED = timedelta(hours=6)
"""How old a note may be."""


class Note(BaseModel):
    """What a warehouse held after a run."""

    model_config = ConfigDict(frozen=True)
    state: str
    at: datetime
    batches: dict[str, int]
    """The newest batch per source."""
    built: str = ""
    """Of a build: what was built, by which models."""
    newest: Batches | None = None
    """Of a source whose warehouse is paid for by time: its newest batches, for who watches."""


def state(settings: Settings) -> str:
    """What can be told of the warehouse without opening it; "" when there is none yet."""
    if settings.warehouse != "duckdb":
        place = (os.environ.get(f"GROUNDWORK_SNOWFLAKE_{part}", "") for part in ("ACCOUNT", "DATABASE"))
        return "/".join((settings.warehouse, *place))
    try:
        found = settings.duckdb_file.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def note(
    bucket: Bucket, settings: Settings, about: str, batches: dict[str, int], built: str = "",
    newest: Batches | None = None,
) -> None:  # fmt: skip
    """Leave a note for the next run; to be called once the warehouse is closed.

    Args:
        bucket: where.
        settings: whose warehouse.
        about: a source, or ``transform``.
        batches: the newest batch per source that is in the warehouse.
        built: of a build, see `Note.built`.
        newest: of a source, see `Note.newest`.
    """
    left = Note(state=state(settings), at=now(), batches=batches, built=built, newest=newest)
    bucket.put(_key(settings, about), left.model_dump_json().encode())


def nothing_new(bucket: Bucket, settings: Settings, about: str, built: str = "") -> bool:
    """Whether the warehouse has all that the bucket has, as far as can be told without opening it.

    Raises:
        ObjectDamaged: when a manifest is missing among others.
    """
    left = _read(bucket, settings, about)
    if left is None:
        return False
    if left.state != state(settings) or left.built != built or not left.state:
        return False
    if not timedelta() <= now() - left.at < _BELIEVED:
        return False
    for source, batch in left.batches.items():
        if bucket.exists(manifest_key(source, batch + 1)):
            return False
        refuse_gap(bucket, source, batch)
    return True


def forget(bucket: Bucket, settings: Settings, about: str) -> None:
    """Take a note away: the warehouse is about to change."""
    bucket.delete(_key(settings, about))


def load_if_new(
    entry: AnySource, bucket: Bucket, settings: Settings, open_: Open, *, run_id: str = ""
) -> Loaded:
    """What `groundwork.load.load` does, without opening the warehouse when nothing is new."""
    if nothing_new(bucket, settings, entry.source):
        log.info("nothing new source=%s", entry.source)
        return Loaded(entry.source)
    with open_() as warehouse:
        report = load(entry, bucket, warehouse, run_id=run_id)
        last = warehouse.loaded(entry.source)
        newest = newest_batches(warehouse).get(entry.source, []) if paid_by_time(settings) else None
    if report.caught_up:  # no batch is new, but there are new rows to build from
        for left in bucket.list(f"{PREFIX}/{settings.warehouse_name}/{BUILDS}"):
            bucket.delete(left.key)
    if report.left_out or report.unmatched:  # the next run looks again, and fails again until it is mended
        forget(bucket, settings, entry.source)
    else:
        note(bucket, settings, entry.source, {entry.source: last}, newest=newest)
    return report


def watched(bucket: Bucket, settings: Settings, sources: Collection[str], open_: Open) -> dict[str, Batches]:
    """The newest batches of each source; by notes where the warehouse is paid for by time.

    Raises:
        BucketError: when the bucket does not answer.
        WarehouseError: when the warehouse does not.
    """
    notes: dict[str, Batches] = {}
    if paid_by_time(settings):
        read = {source: _read(bucket, settings, source) for source in sources}
        notes = {source: left.newest for source, left in read.items() if left and left.newest is not None}
        if len(notes) == len(sources):
            return notes
    with open_() as warehouse:
        found = newest_batches(warehouse)
        loaded = {source: warehouse.loaded(source) for source in set(sources) - set(notes)}
    if paid_by_time(settings):
        for source, last in loaded.items():
            note(bucket, settings, source, {source: last}, newest=found.get(source, []))
    return found


def paid_by_time(settings: Settings) -> bool:
    """Whether a session costs money as long as it, or what it woke, is there."""
    return settings.warehouse == "snowflake"


def _read(bucket: Bucket, settings: Settings, about: str) -> Note | None:
    try:
        return Note.model_validate_json(bucket.get(_key(settings, about)))
    except (KeyMissing, ValidationError):
        return None


def _key(settings: Settings, about: str) -> str:
    return f"{PREFIX}/{settings.warehouse_name}/{about}.json"
