"""Replay: landing once more, from the bucket alone.

Batches are replaced one by one, so landing holds every row at every moment and others continue to work; at
the end of a whole replay, rows that no batch of the bucket brought are removed. A replay has an id. What it
has done is recorded under that id (`groundwork.replay_records`) and nowhere is a clock asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource
from groundwork.fetching import arriving
from groundwork.identity import claim, compare, refuse_empty
from groundwork.landing import Loaded, land_group
from groundwork.left_out import LeftOut, left_out, let_back
from groundwork.load import expected, prepare
from groundwork.reconciliation import refuse_any_gap
from groundwork.replay_records import Record, Records, new_id
from groundwork.replay_scope import EVERYTHING, Wanted, batches_between
from groundwork.warehouses import Warehouse

log = logging.getLogger(__name__)

Open = Callable[[], AbstractContextManager[Warehouse]]
Progress = Callable[[int, int, int], None]
"""Told batches that are done, batches in all, rows so far."""
_TURN = 20.0
"""Seconds after which the warehouse is let go for a moment, for others that wait."""


class Turns:
    """An open warehouse that is let go now and then, so that others that wait for it have their turn."""

    def __init__(self, open_: Open) -> None:
        """Open nothing yet."""
        self._open, self._held = open_, ExitStack()
        self._warehouse: Warehouse | None = None
        self._since = 0.0

    def __enter__(self) -> Turns:
        """Close it in the end, whatever happens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._warehouse = None
        self._held.close()

    def warehouse(self) -> Warehouse:
        """The warehouse, for this step only."""
        if self._warehouse and time.monotonic() - self._since > _TURN:
            self.__exit__()
            time.sleep(0.1)  # who waits looks every 20 milliseconds
        if self._warehouse is None:
            self._warehouse = self._held.enter_context(self._open())
            self._since = time.monotonic()
        return self._warehouse


def make_ready(
    entries: Sequence[AnySource],
    bucket: Bucket,
    open_: Open,
    wanted: Wanted = EVERYTHING,
    *,
    replay_id: str = "",
) -> str:
    """Compare bucket and warehouse, make all tables, and record the replay: before sources run side by side.

    Two that make the same table of a new warehouse at once can be in each other's way.

    Args:
        entries: the catalog's entries of all sources that this replay is of.
        bucket: where their batches are.
        open_: opens the warehouse.
        wanted: see `replay`.
        replay_id: an id that the caller chose; a new one is made when empty.

    Returns:
        The id of the replay.

    Raises:
        CatalogError: when a wanted stream is none of a source's, or the id is of another replay.
        WrongPlace: when the bucket is empty, or is not the one that the warehouse was loaded from.
        LedgerDisagrees: when the bucket knows less than the ledger.
        WarehouseError: when the warehouse refuses.
    """
    for entry in entries:
        wanted.check(entry)
    names = [entry.source for entry in entries]
    refuse_empty(bucket, names)
    replay_id = replay_id or new_id()
    with open_() as warehouse:
        compare(bucket, warehouse, names)
        claim(bucket, warehouse)
        prepare(entries, warehouse)
        Records(warehouse).announce(replay_id, names, wanted)
    return replay_id


def replay(
    entry: AnySource,
    bucket: Bucket,
    open_: Open,
    wanted: Wanted = EVERYTHING,
    *,
    replay_id: str = "",
    run_id: str = "",
    progress: Progress = lambda done, total, rows: None,  # noqa: ARG005
) -> Loaded:
    """Load batches again from the bucket; the source is not asked.

    A stream that cannot be loaded is left out from that batch on, as by `groundwork.load.load`: what landing
    had of it stays. `load` brings it up to date once it can be loaded; `Loaded.insist` tells of it.

    Args:
        entry: the catalog's entry of the source.
        bucket: where its batches are.
        open_: opens the warehouse they go to; it is let go between groups of batches.
        wanted: all of it, or a part: streams, batches.
        replay_id: continue the replay of this id, if it was begun; a new one when empty.
        run_id: the flow run on whose behalf this is.
        progress: told after each group of batches.

    Raises:
        CatalogError: when a wanted stream is none of the source's, or the id is of another replay.
        WrongPlace: when the warehouse was loaded from another bucket.
        LedgerDisagrees: when the bucket knows less than the ledger.
        ObjectDamaged: when a manifest is missing or not what it should be. What was loaded before it
            stays; the replay of the same id continues there.
        WarehouseError: when the warehouse refuses.
    """
    started = time.monotonic()
    wanted.check(entry)
    newest = refuse_any_gap(bucket, entry.source)
    report = Loaded(entry.source)
    with Turns(open_) as turns:
        warehouse = turns.warehouse()
        compare(bucket, warehouse, [entry.source])
        if not newest:
            return report  # nothing to replay: what is in landing stays
        claim(bucket, warehouse)
        prepare([entry], warehouse)
        record = _record(bucket, warehouse, entry.source, wanted, newest, replay_id or new_id())
        if record.ended:
            log.info("replay is complete source=%s replay=%s", entry.source, record.replay_id)
            return report
        _land(entry, bucket, turns, record, wanted, report, run_id, progress)
        newest_now = manifest.latest_id(bucket, entry.source, record.newest)
        record.end(turns.warehouse(), newest_now, kept={*report.left_out, *report.caught_up})
        report.left_out = left_out(turns.warehouse(), entry.source)
    report.seconds = time.monotonic() - started
    log.info(
        "replayed source=%s batches=%d rows=%d seconds=%.1f",
        entry.source, len(report.batches), sum(report.rows.values()), report.seconds,
    )  # fmt: skip
    return report


def _record(
    bucket: Bucket, warehouse: Warehouse, source: str, wanted: Wanted, newest: int, replay_id: str
) -> Record:
    """What is recorded of this replay; its batches are fixed when it begins with a source."""
    records = Records(warehouse)
    records.announce(replay_id, [source], wanted)
    record = records.of(replay_id, source)
    if record.newest:
        return record
    first, last = batches_between(bucket, source, wanted, newest)
    return records.begin(record, first, last, newest)


def _land(
    entry: AnySource,
    bucket: Bucket,
    turns: Turns,
    record: Record,
    wanted: Wanted,
    report: Loaded,
    run_id: str,
    progress: Progress,
) -> None:
    """Land the batches that this replay has not landed yet."""
    numbers = range(record.first, record.last + 1)
    done = record.done(turns.warehouse())
    rest = [number for number in numbers if number not in done]
    if there := len(numbers) - len(rest):
        log.info(
            "replay continues source=%s replay=%s done=%d left=%d",
            entry.source,
            record.replay_id,
            there,
            len(rest),
        )
    batches = expected(bucket, entry, manifest.listed(bucket, entry.source, rest))
    streams = wanted.streams or None
    before = left_out(turns.warehouse(), entry.source)
    report.left_out = _not_covered(before, wanted, rest)
    for group in arriving(bucket, batches, streams, ahead=not turns.warehouse().reads_bucket):
        ours = [replace(batch, replay_id=record.replay_id) for batch in group]
        land_group(bucket, turns.warehouse(), ours, report, streams=streams, run_id=run_id)
        progress(there + len(report.batches), len(numbers), sum(report.rows.values()))
    _let_back(turns.warehouse(), entry.source, before, report, rest, record.newest)


def _not_covered(marks: Mapping[str, LeftOut], wanted: Wanted, numbers: Sequence[int]) -> dict[str, LeftOut]:
    """Streams that stay left out, because a replay of these batches begins after what they lack."""
    return {
        stream: mark
        for stream, mark in marks.items()
        if (wanted.streams and stream not in wanted.streams) or not numbers or mark.first < numbers[0]
    }


def _let_back(
    warehouse: Warehouse,
    source: str,
    before: Mapping[str, LeftOut],
    report: Loaded,
    numbers: Sequence[int],
    newest: int,
) -> None:
    """Streams that were left out before are not any more, if the replay loaded all that they lacked."""
    known = warehouse.loaded(source)
    for stream in before.keys() - report.left_out.keys():
        if numbers and numbers[-1] == newest >= known:
            let_back(warehouse, source, stream)
