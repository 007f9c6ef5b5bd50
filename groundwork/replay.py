"""Replay: landing once more, from the bucket alone.

Batches are replaced one by one, so landing holds every row at every moment and others go on working; at the
end of a whole replay what no batch of the bucket brought is taken away. What was replaced since a replay
began is known by its time of loading, so one that was killed is gone on with by asking for the same again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource
from groundwork.errors import CatalogError
from groundwork.fetching import arriving
from groundwork.identity import claim, compare, refuse_empty
from groundwork.landing import Loaded, land_group, table_name
from groundwork.left_out import LeftOut, left_out, let_back
from groundwork.load import expected, prepare
from groundwork.manifest import batch_name, now
from groundwork.reconciliation import refuse_any_gap
from groundwork.warehouses import INSTANT, LANDING, LEDGER, TEXT, Warehouse

log = logging.getLogger(__name__)

Open = Callable[[], AbstractContextManager[Warehouse]]
Progress = Callable[[int, int, int], None]
"""Told batches that are done, batches in all, rows so far."""
Bound = int | datetime | None
"""A batch's number, or a time (UTC) at which batches were stored."""

REPLAYS = "_replays"
_COLUMNS = {"source": TEXT, "wanted": TEXT, "last": TEXT, "began_at": INSTANT, "ended_at": INSTANT}
_TURN = 20.0
"""Seconds after which the warehouse is let go for a moment, for others that wait."""


@dataclass(frozen=True)
class Wanted:
    """What is to be loaded again: a whole source, or a part of it."""

    streams: tuple[str, ...] = ()
    """Only these; all when empty."""
    first: Bound = None
    last: Bound = None

    @property
    def whole(self) -> bool:
        """Whether all of the source is meant."""
        return not self.streams and self.first is None and self.last is None

    @property
    def text(self) -> str:
        """To be known again by: the same words, the same replay."""
        streams = ",".join(sorted(self.streams)) or "all streams"
        return f"{streams} from {self.first or 'the beginning'} to {self.last or 'the end'}"


def bound(text: str) -> Bound:
    """Read a bound: ``12`` is a batch, ``2026-01-31`` or ``2026-01-31T10:00+01:00`` a time (else UTC).

    Raises:
        CatalogError: when it is neither.
    """
    if not text:
        return None
    if text.isdecimal() and len(text) <= 10 and int(text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        fix = "write a batch's number (12) or a time (2026-01-31, 2026-01-31T10:00Z)"
        raise CatalogError(f"replay from or to '{text}'", "is no batch and no time", fix=fix) from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


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


def make_ready(entries: Sequence[AnySource], bucket: Bucket, open_: Open, wanted: Wanted = Wanted()) -> None:
    """Compare bucket and warehouse, and make all tables: before sources are replayed side by side.

    Two that make the same table of a new warehouse at once can be in each other's way.

    Raises:
        CatalogError: when a wanted stream is none of a source's.
        WrongPlace: when the bucket is empty, or is not the one that the warehouse was loaded from.
        LedgerDisagrees: when the bucket knows less than the ledger.
        WarehouseError: when the warehouse refuses.
    """
    for entry in entries:
        _check_streams(entry, wanted)
    names = [entry.source for entry in entries]
    refuse_empty(bucket, names)
    with open_() as warehouse:
        compare(bucket, warehouse, names)
        claim(bucket, warehouse)
        prepare(entries, warehouse)
        warehouse.widen(REPLAYS, _COLUMNS)


def replay(
    entry: AnySource,
    bucket: Bucket,
    open_: Open,
    wanted: Wanted = Wanted(),
    *,
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
        run_id: the flow run on whose behalf this is.
        progress: told after each group of batches.

    Raises:
        CatalogError: when a wanted stream is none of the source's.
        WrongPlace: when the warehouse was loaded from another bucket.
        LedgerDisagrees: when the bucket knows less than the ledger.
        ObjectDamaged: when a manifest is missing or not what it should be. What was loaded before it
            stays; the same replay goes on from there.
        WarehouseError: when the warehouse refuses.
    """
    started = time.monotonic()
    _check_streams(entry, wanted)
    newest = refuse_any_gap(bucket, entry.source)
    numbers = range(
        _number(bucket, entry.source, wanted.first, newest, 1),
        _number(bucket, entry.source, wanted.last, newest, newest) + 1,
    )
    report = Loaded(entry.source)
    with Turns(open_) as turns:
        warehouse = turns.warehouse()
        compare(bucket, warehouse, [entry.source])
        if not newest:
            return report  # nothing to replay: what is in landing stays
        claim(bucket, warehouse)
        prepare([entry], warehouse)
        began, known = _begin(warehouse, entry.source, wanted, newest)
        done = _replayed(warehouse, entry.source, wanted, began)
        rest = [number for number in numbers if number not in done]
        if len(rest) < len(numbers):
            there = len(numbers) - len(rest)
            log.info("replay goes on source=%s done=%d left=%d", entry.source, there, len(rest))
        batches = expected(bucket, entry, manifest.listed(bucket, entry.source, rest))
        streams = wanted.streams or None
        before = left_out(warehouse, entry.source)
        report.left_out = _not_covered(before, wanted, rest)
        for group in arriving(bucket, batches, streams, ahead=not warehouse.reads_bucket):
            land_group(bucket, turns.warehouse(), group, report, streams=streams, run_id=run_id)
            there = len(numbers) - len(rest) + len(report.batches)
            progress(there, len(numbers), sum(report.rows.values()))
        _let_back(turns.warehouse(), entry.source, before, report, rest, newest)
        kept = {*report.left_out, *report.caught_up}
        _end(turns.warehouse(), bucket, entry.source, wanted, began, known, kept)
        report.left_out = left_out(turns.warehouse(), entry.source)
    report.seconds = time.monotonic() - started
    log.info(
        "replayed source=%s batches=%d rows=%d seconds=%.1f",
        entry.source, len(report.batches), sum(report.rows.values()), report.seconds,
    )  # fmt: skip
    return report


def _not_covered(marks: Mapping[str, LeftOut], wanted: Wanted, numbers: Sequence[int]) -> dict[str, LeftOut]:
    """Streams that stay left out, because a replay of these batches begins after what they lack."""
    return {
        stream: mark
        for stream, mark in marks.items()
        if (wanted.streams and stream not in wanted.streams) or not numbers or mark.first < numbers[0]
    }


def _let_back(
    warehouse: Warehouse, source: str, before: Mapping[str, LeftOut], report: Loaded, numbers: Sequence[int],
    newest: int,
) -> None:  # fmt: skip
    """Streams that were left out before are not any more, if the replay loaded all that they lacked."""
    known = warehouse.loaded(source)
    for stream in before.keys() - report.left_out.keys():
        if numbers and numbers[-1] == newest >= known:
            let_back(warehouse, source, stream)


def _check_streams(entry: AnySource, wanted: Wanted) -> None:
    for stream in wanted.streams:
        if stream not in entry.streams:
            known = ", ".join(entry.streams)
            raise CatalogError(
                f"replay of '{entry.source}'", f"has no stream '{stream}' ({known})",
                fix="name one of these; a stream that left the catalog is replayed with its whole source",
            )  # fmt: skip


def _number(bucket: Bucket, source: str, wanted: Bound, newest: int, otherwise: int) -> int:
    """The batch that a bound means; of a time, the first stored then or later, or the last until then."""
    if wanted is None:
        return otherwise
    if isinstance(wanted, int):
        return min(wanted, newest + 1) if otherwise == 1 else min(wanted, newest)
    low, high = 0, newest  # the last batch stored before the time lies in [low, high]
    while low < high:
        middle = (low + high + 1) // 2
        there = next(manifest.listed(bucket, source, [middle]))
        early = there.stored_at < wanted if otherwise == 1 else there.stored_at <= wanted
        low, high = (middle, high) if early else (low, middle - 1)
    return low + 1 if otherwise == 1 else low


def _begin(warehouse: Warehouse, source: str, wanted: Wanted, newest: int) -> tuple[datetime, str]:
    """When this replay began, and the newest batch then: now, or when it was begun and not ended."""
    warehouse.widen(REPLAYS, _COLUMNS)
    found = warehouse.query(
        f"select began_at, last from {LANDING}.{REPLAYS}"
        " where source = ? and wanted = ? and ended_at is null order by began_at desc",
        [source, wanted.text],
    )
    if found:
        return found[0][0], found[0][1]
    began = now().replace(tzinfo=None)
    warehouse.query(
        f"insert into {LANDING}.{REPLAYS} (source, wanted, last, began_at) values (?, ?, ?, ?)",
        [source, wanted.text, batch_name(newest), began],
    )
    return began, batch_name(newest)


def _replayed(warehouse: Warehouse, source: str, wanted: Wanted, began: datetime) -> set[int]:
    """Batches that were loaded since."""
    if not wanted.streams:
        sql = f"select batch_id from {LANDING}.{LEDGER} where source = ? and loaded_at >= ?"
        return {int(name) for (name,) in warehouse.query(sql, [source, began])}
    done = set()
    for stream in wanted.streams:
        table = f"{LANDING}.{warehouse.quoted(table_name(source, stream))}"
        found = warehouse.query(f"select distinct _batch_id from {table} where _loaded_at >= ?", [began])
        done |= {int(name) for (name,) in found}
    return done


def _end(
    warehouse: Warehouse, bucket: Bucket, source: str, wanted: Wanted, began: datetime, known: str,
    kept: Collection[str],
) -> None:  # fmt: skip
    """Take away what no batch of the bucket brought, if all was loaded; note that the replay is complete.

    A batch that is newer than the replay was loaded by somebody else meanwhile. Of a stream that was left
    out, the rows of earlier loads are ``kept``: some of them could not be replaced.
    """
    if wanted.whole:
        newest = manifest.latest_id(bucket, source, int(known))
        parameters = [source, began, known, batch_name(newest)]
        left = {table_name(source, stream) for stream in kept}
        for table in warehouse.tables(LANDING):
            if table.startswith(f"{source}__") and table not in left:
                warehouse.query(
                    f"delete from {LANDING}.{warehouse.quoted(table)} where split_part(_file, '/', 1) = ?"
                    " and _loaded_at < ? and (_batch_id <= ? or _batch_id > ?)",
                    parameters,
                )
        warehouse.query(
            f"delete from {LANDING}.{LEDGER} where source = ?"
            " and loaded_at < ? and (batch_id <= ? or batch_id > ?)",
            parameters,
        )
    warehouse.query(
        f"update {LANDING}.{REPLAYS} set ended_at = ? where source = ? and wanted = ? and ended_at is null",
        [now().replace(tzinfo=None), source, wanted.text],
    )
