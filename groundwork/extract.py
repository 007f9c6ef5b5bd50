"""Extract: from a source to committed batches in the bucket.

A source yields rows and checkpoints; here rows become Parquet objects and a checkpoint becomes a manifest.
Nothing is kept in memory but the rows at hand, so a backlog of any length costs the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from groundwork import catalog, drafts, manifest, time_limit
from groundwork.batch import OpenBatch
from groundwork.bucket import Bucket
from groundwork.errors import GroundworkError, UpdatesRefused
from groundwork.left_out import insist
from groundwork.manifest import Manifest
from groundwork.recall import recall_from
from groundwork.scratch import scratch
from groundwork.settings import Keep, Resolve
from groundwork.sources import Cursors, Harming, Recalling, Rows, Source, Undo, quarantined

log = logging.getLogger(__name__)


@dataclass
class Extracted:
    """What one run added to the bucket."""

    source: str
    batches: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows per stream."""
    operations: dict[str, int] = field(default_factory=dict)
    """Rows per operation."""
    events: list[dict[str, Any]] = field(default_factory=list)
    quarantined: dict[str, dict[str, str]] = field(default_factory=dict)
    """Streams that are left out, each with ``since``, ``table`` and ``why``."""
    refused: list[str] = field(default_factory=list)
    """Statements of the application that fail now because of a publication of the source's tables."""
    slot: dict[str, Any] = field(default_factory=dict)
    """How much log the source held back for us, ``before`` and ``after``; ``concern`` if it is too much."""
    complete: bool = True
    """False when a time limit came near before the source was caught up."""
    bytes: int = 0
    seconds: float = 0.0

    def insist(self, unloaded: Sequence[str] = ()) -> None:
        """Fail if a stream was left out, or the application is harmed; to be called when all else is done.

        Args:
            unloaded: complaints about streams that could not be loaded.

        Raises:
            UpdatesRefused: naming the tables whose UPDATE or DELETE fails, and each stream that was left out.
            StreamsQuarantined: naming each stream, since when and why.
        """
        complaints = [*self.complaints, *unloaded]
        if self.refused:
            raise UpdatesRefused(
                f"source '{self.source}'",
                f"the application's own {'; '.join(self.refused)}",
                why="; ".join(f"left out: {complaint}" for complaint in complaints),
                fix="run `python -m groundwork doctor` and follow it now: the application fails until then",
            )
        insist(self.source, complaints)

    @property
    def complaints(self) -> list[str]:
        """What is to be said of each stream that was left out."""
        return [
            f"stream {stream} ({mark['table']}) since {mark['since']}: {mark['why'].rstrip('.')}"
            for stream, mark in self.quarantined.items()
        ]


def open_source(
    entry: catalog.AnySource, resolve: Resolve, bucket: Bucket, keep: Keep | None = None
) -> Source:
    """The source that a catalog entry describes.

    Args:
        entry: the catalog's entry.
        resolve: looks named values up.
        bucket: where its batches go.
        keep: saves secrets that change while they are used; in the directory of secrets when None.

    Raises:
        CatalogError: for a kind that is not read but pushed.
        SettingMissing: when a secret it names has no value.
    """
    if isinstance(entry, catalog.PostgresSource):
        from groundwork.sources.postgres import PostgresSource

        return PostgresSource(entry, resolve, bucket.url)
    if isinstance(entry, catalog.RestSource):
        from groundwork.sources.rest import RestSource

        return RestSource(entry, resolve, keep=keep)
    raise GroundworkError(
        f"source '{entry.source}'",
        "is pushed, so it cannot be read",
        fix="its records come from the flow export_logs",
    )


def _is_recent(state: Manifest, update_every: timedelta) -> bool:
    """Whether the newest batch says already that we looked. One from the future had a wrong clock."""
    return timedelta() <= manifest.now() - state.stored_at < update_every


def extract(
    entry: catalog.AnySource,
    source: Source,
    bucket: Bucket,
    *,
    run_id: str = "",
    full_refresh: bool = False,
    refresh: Collection[str] = (),
) -> Extracted:
    """Read a source from its newest manifest on, until it is caught up or the time limit is near.

    Each batch is durable before the next begins.

    Args:
        entry: the catalog's entry.
        source: what to read, see `open_source`.
        bucket: where batches go; it also holds the cursors.
        run_id: the flow run on whose behalf this is.
        full_refresh: forget the cursors and read everything again.
        refresh: streams to read again, beside what is new of the others.

    Raises:
        CatalogError: when there is no stream of such a name.
        SourceError: when the source cannot be read.
        ManifestConflict: when another run of this source was faster.
        BucketError: when the bucket cannot be reached.
    """
    started = time.monotonic()
    report = Extracted(entry.source)
    catalog.check_streams(entry, refresh)
    with _claimed(source), scratch() as directory:
        # Only now: what another run committed while we waited for it counts.
        state = manifest.latest(bucket, entry.source)
        stale = state is None or not _is_recent(state, entry.update_every)
        draft = None
        if getattr(source, "drafts", False) and not (full_refresh or refresh):
            draft = drafts.found(bucket, entry.source, state)
        batch = OpenBatch(bucket, entry.source, state, run_id, directory, draft)
        cursors: Cursors = draft.cursors if draft else state.cursors if state else {}
        asked: list[dict[str, Any]] = []
        if full_refresh or refresh:
            again = () if full_refresh else refresh
            cursors = _forget(source, cursors, again)
            asked = [{"event": "full_refresh", "streams": sorted(again or entry.streams)}]
        if isinstance(source, Recalling):
            source.recall = recall_from(bucket, entry.source, state, draft)
        reading = source.read(cursors)
        longest, began = 0.0, started
        try:
            for item in reading:
                if isinstance(item, Rows):
                    # Twice the longest: the next batch may be larger than those before it.
                    if report.batches and not batch.rows and time_limit.is_near(2 * longest):
                        report.complete = False
                        break
                    batch.add(item)
                    continue
                if isinstance(item, Undo):
                    batch.abandon()
                    batch = OpenBatch(bucket, entry.source, state, run_id, directory)
                    continue
                if not item.whole:
                    item.events, asked = asked + item.events, []
                    batch.keep(item)
                    if time_limit.is_near():
                        report.complete = False
                        break
                    continue
                report.quarantined = quarantined(item.cursors)
                # A quiet source is confirmed once per update_every: that is how the ledger knows we looked.
                if batch.rows or item.events or item.heartbeat or stale:
                    item.events, asked = asked + item.events, []
                    state = batch.commit(item)
                    item.committed = True
                    _count(report, state)
                    longest, began = max(longest, time.monotonic() - began), time.monotonic()
                    stale = False
                    batch = OpenBatch(bucket, entry.source, state, run_id, directory)
        finally:
            close = getattr(reading, "close", None)
            if close:
                close()
    report.seconds = time.monotonic() - started
    report.slot = getattr(source, "standing", {})
    if isinstance(source, Harming):
        report.refused = source.refused
    if not report.complete:
        time_limit.cut_short()
        log.info("time is up source=%s the next run goes on", entry.source)
    log.info(
        "extracted source=%s batches=%d rows=%d bytes=%d seconds=%.1f",
        entry.source, len(report.batches), sum(report.rows.values()), report.bytes, report.seconds,
    )  # fmt: skip
    return report


def _forget(source: Source, cursors: Cursors, streams: Collection[str]) -> Cursors:
    """The cursors without those of some streams, or of all when none are named."""
    forget = getattr(source, "forget", None)
    if forget:
        kept: Cursors = forget(cursors, streams) if streams else forget(cursors)
        return kept
    return {name: known for name, known in cursors.items() if streams and name not in streams}


def _claimed(source: Source) -> AbstractContextManager[None]:
    """Keep other runs out, where the source offers that; the manifest decides in any case."""
    claim = getattr(source, "claim", None)
    return claim() if claim else nullcontext()


def _count(report: Extracted, committed: Manifest) -> None:
    report.batches.append(committed.batch_id)
    report.events.extend(committed.events)
    for stored in committed.objects:
        report.rows[stored.stream] = report.rows.get(stored.stream, 0) + stored.rows
        report.bytes += stored.bytes
    for operation, count in committed.operations.items():
        report.operations[operation] = report.operations.get(operation, 0) + count
