"""Landing groups of batches: together, or one by one without the streams that cannot be landed.

A stream that cannot be landed is left out from that batch on, and the others are landed; see
`groundwork.left_out`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from groundwork import unmatched
from groundwork.bucket import Bucket
from groundwork.errors import (
    GroundworkError,
    LackOfMemory,
    ObjectDamaged,
    WarehouseError,
    WarehouseUnusable,
    about,
)
from groundwork.fetching import afresh, up_to_date
from groundwork.left_out import LeftOut, insist, leave_out, let_back, read_again, reason
from groundwork.unmatched import Unmatched
from groundwork.warehouses import LANDING_METADATA, TEXT, LandingBatch, Warehouse

log = logging.getLogger(__name__)


@dataclass
class Loaded:
    """What one run added to landing."""

    source: str
    batches: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows per stream."""
    seconds: float = 0.0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Streams that could not be loaded."""
    caught_up: list[str] = field(default_factory=list)
    """Streams that were left out until this run."""
    unmatched: dict[str, Unmatched] = field(default_factory=dict)
    """Streams with deletes or updates that met no live row."""

    @property
    def complaints(self) -> list[str]:
        """What is to be said of each stream that was left out."""
        return [mark.complaint for mark in self.left_out.values()]

    def insist(self) -> None:
        """Fail if a stream was left out; to be called when all other work is done.

        Raises:
            StreamsQuarantined: naming each, since when and why.
            ChangesUnmatched: see `insist_matched`.
        """
        insist(self.source, self.complaints)
        self.insist_matched()

    def insist_matched(self) -> None:
        """Fail if a delete or update met no live row; to be called when all other work is done.

        Raises:
            ChangesUnmatched: naming each stream, and how many.
        """
        unmatched.insist(self.source, self.unmatched)


def table_name(source: str, stream: str) -> str:
    """A stream's table in the landing schema."""
    return f"{source}__{stream}"


def land_group(
    bucket: Bucket,
    warehouse: Warehouse,
    group: Sequence[LandingBatch],
    report: Loaded,
    *,
    streams: Collection[str] | None = None,
    run_id: str = "",
) -> None:
    """Land a group of batches together, or one by one without the streams that cannot be; see `land`."""
    with up_to_date(bucket, group, streams) as group:
        met: GroundworkError | None = None
        try:
            _land(warehouse, group, report, run_id)
        except WarehouseUnusable:
            raise
        except (ObjectDamaged, WarehouseError) as error:
            met = error
        for batch in group if met else ():
            with afresh(bucket, batch, streams) as same:
                known = met if len(group) == 1 and same is batch else None
                _land_what_can_be(warehouse, same, report, run_id, known)


def _land(warehouse: Warehouse, group: Sequence[LandingBatch], report: Loaded, run_id: str) -> None:
    group = [_without_left_out(warehouse, batch, report) for batch in group]
    _widen(warehouse, group)
    warehouse.land(group, run_id)
    _enter(report, group)


def _land_what_can_be(
    warehouse: Warehouse, batch: LandingBatch, report: Loaded, run_id: str, met: GroundworkError | None
) -> None:
    """Land a batch; leave out one stream after another until the rest can be landed.

    Args:
        warehouse: where it goes.
        batch: the batch.
        report: of the run; has the streams that are left out already.
        run_id: the flow run on whose behalf this is.
        met: the error that the batch has met already.
    """
    while True:
        if met:
            _leave_out(warehouse, batch, report, met)
        try:
            return _land(warehouse, [batch], report, run_id)
        except WarehouseUnusable:
            raise
        except (ObjectDamaged, WarehouseError) as error:
            met = error


def _leave_out(warehouse: Warehouse, batch: LandingBatch, report: Loaded, error: GroundworkError) -> None:
    """Leave out the stream that an error is about; the error itself when it is about none of the batch."""
    sizes: Counter[str] = Counter()
    for arrived in batch.objects:
        if arrived.stored.stream not in report.left_out:
            sizes[arrived.stored.stream] += arrived.stored.bytes
    # A commit lacks memory for all streams together: the largest is left out first.
    lacking = isinstance(error, LackOfMemory) and not error.table
    stream = max(sizes, key=lambda name: sizes[name], default="") if lacking else error.table
    if stream not in sizes:
        raise error
    number, why = batch.manifest.batch_id, reason(error)
    report.left_out[stream] = leave_out(warehouse, report.source, stream, number, why)


def _without_left_out(warehouse: Warehouse, batch: LandingBatch, report: Loaded) -> LandingBatch:
    """A batch without the streams that are left out; one that is read again from here on comes back."""
    for stream in read_again(batch.manifest) & report.left_out.keys():
        let_back(warehouse, report.source, stream)
        del report.left_out[stream]
        report.caught_up.append(stream)
        log.info("read again source=%s stream=%s batch=%s", report.source, stream, batch.manifest.name)
    if not report.left_out:
        return batch
    kept = [arrived for arrived in batch.objects if arrived.stored.stream not in report.left_out]
    return replace(batch, objects=kept)


def _widen(warehouse: Warehouse, group: Sequence[LandingBatch]) -> None:
    """Make room for what a group brings, once per table.

    The metadata too: a stream that the catalog does not know (any more) has no table yet.
    """
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for batch in group:
        for arrived in batch.objects:
            stream = arrived.stored.stream
            place = table_name(batch.manifest.source, stream), stream
            tables.setdefault(place, {}).update(dict.fromkeys(arrived.stored.columns, TEXT))
    wanted = {place: columns | dict(LANDING_METADATA) for place, columns in tables.items()}
    try:
        warehouse.widen_all({table: columns for (table, _), columns in wanted.items()})
    except WarehouseError:  # one by one, so that the stream is named
        for (table, stream), columns in wanted.items():
            with about(stream):
                warehouse.widen(table, columns)


def _enter(report: Loaded, group: Sequence[LandingBatch]) -> None:
    for batch in group:
        rows = 0
        for arrived in batch.objects:
            stored = arrived.stored
            report.rows[stored.stream] = report.rows.get(stored.stream, 0) + stored.rows
            rows += stored.rows
        report.batches.append(batch.manifest.batch_id)
        log.info("loaded source=%s batch=%s rows=%d", report.source, batch.manifest.name, rows)
