"""Extract: from a source to committed batches in the bucket.

A source yields rows and checkpoints; here rows become Parquet objects and a checkpoint becomes a manifest.
Nothing is kept in memory but the rows at hand, so a backlog of any length costs the same.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundwork import catalog, manifest, time_limit
from groundwork.bucket import Bucket
from groundwork.errors import GroundworkError, StreamsQuarantined
from groundwork.manifest import Manifest, StoredRows, batch_name
from groundwork.objects import METADATA, OpenObject, completed
from groundwork.scratch import scratch
from groundwork.settings import Keep, Resolve
from groundwork.sources import Checkpoint, Cursors, Rows, Source, Undo, quarantined

log = logging.getLogger(__name__)

OBJECT_BYTES = 64 << 20
"""An object is closed when its file has grown to this many bytes."""


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
    slot: dict[str, Any] = field(default_factory=dict)
    """How much log the source held back for us, ``before`` and ``after``; ``concern`` if it is too much."""
    complete: bool = True
    """False when a time limit came near before the source was caught up."""
    bytes: int = 0
    seconds: float = 0.0

    def insist(self) -> None:
        """Fail if a stream was left out; to be called when all else is done.

        Raises:
            StreamsQuarantined: naming each, since when and why.
        """
        if self.quarantined:
            raise StreamsQuarantined(
                f"source '{self.source}'",
                "left out: " + "; ".join(self.complaints),
                fix="all other streams were read; once mended, a stream is copied again by the next run",
            )

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
        last = state.batch_id if state else 0
        stale = state is None or manifest.now() - state.stored_at >= entry.update_every
        batch = OpenBatch(bucket, entry.source, last + 1, run_id, directory)
        cursors: Cursors = state.cursors if state else {}
        asked: list[dict[str, Any]] = []
        if full_refresh or refresh:
            again = () if full_refresh else refresh
            cursors = _forget(source, cursors, again)
            asked = [{"event": "full_refresh", "streams": sorted(again or entry.streams)}]
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
                    batch = OpenBatch(bucket, entry.source, batch.batch_id, run_id, directory)
                    continue
                report.quarantined = quarantined(item.cursors)
                # A quiet source is confirmed once per update_every: that is how the ledger knows we looked.
                if batch.rows or item.events or item.heartbeat or stale:
                    item.events, asked = asked + item.events, []
                    committed = batch.commit(item)
                    item.committed = True
                    _count(report, committed)
                    longest, began = max(longest, time.monotonic() - began), time.monotonic()
                    stale = False
                    batch = OpenBatch(bucket, entry.source, committed.batch_id + 1, run_id, directory)
        finally:
            close = getattr(reading, "close", None)
            if close:
                close()
    report.seconds = time.monotonic() - started
    report.slot = getattr(source, "standing", {})
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


class OpenBatch:
    """A batch being written: objects go to the bucket, and mean nothing until `commit`."""

    def __init__(self, bucket: Bucket, source: str, batch_id: int, run_id: str, directory: Path) -> None:
        """Begin; nothing is written before the first rows."""
        self._bucket, self._source, self.batch_id = bucket, source, batch_id
        self._run_id, self._directory = run_id, directory
        self._started_at, self._mark = manifest.now(), uuid.uuid4().hex[:8]
        self._open: dict[str, OpenObject] = {}
        self._stored: list[StoredRows] = []
        self._parts: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        """Rows added so far, over all streams."""
        return self._rows.total()

    def add(self, rows: Rows) -> None:
        """Append rows to their stream's object; store the object when it is large enough."""
        table = completed(rows, self.batch_id, self._rows[rows.stream])
        self._rows[rows.stream] += table.num_rows
        current = self._open.get(rows.stream)
        if current and current.schema != table.schema:
            self._store(rows.stream)
            current = None
        if current is None:
            path = self._directory / f"{rows.stream}-{self.batch_id}.parquet"
            current = self._open[rows.stream] = OpenObject(path, table.schema)
        current.append(table)
        if current.bytes >= OBJECT_BYTES:
            self._store(rows.stream)

    def abandon(self) -> None:
        """Let go of what is open; what was stored already has no manifest and is never read."""
        for stream in list(self._open):
            done = self._open.pop(stream)
            done.close()
            done.path.unlink(missing_ok=True)

    def commit(self, checkpoint: Checkpoint) -> Manifest:
        """Store what is open, then the manifest: from here on the batch happened."""
        for stream in list(self._open):
            self._store(stream)
        committed = Manifest(
            source=self._source,
            batch_id=self.batch_id,
            cursors=checkpoint.cursors,
            objects=self._stored,
            events=checkpoint.events,
            slot=checkpoint.slot,
            started_at=self._started_at,
            stored_at=manifest.now(),
            run_id=self._run_id,
        )
        manifest.commit(self._bucket, committed)
        log.info(
            "committed source=%s batch=%s rows=%d objects=%d",
            self._source, committed.name, committed.rows, len(self._stored),
        )  # fmt: skip
        return committed

    def _store(self, stream: str) -> None:
        done = self._open.pop(stream)
        part = self._parts[stream]
        self._parts[stream] += 1
        # The writer's mark keeps two runs that race for one batch from ever writing the same key.
        name = f"part-{part:05d}-{self._mark}.parquet"
        key = f"{self._source}/data/{stream}/{batch_name(self.batch_id)}/{name}"
        try:
            sha256 = done.close()
            self._bucket.put(key, done.path)
            self._stored.append(
                StoredRows(
                    stream=stream,
                    key=key,
                    rows=done.rows,
                    bytes=done.bytes,
                    sha256=sha256,
                    columns=[name for name in done.schema.names if name not in METADATA],
                    operations=dict(done.operations),
                )
            )
        finally:
            done.path.unlink(missing_ok=True)
