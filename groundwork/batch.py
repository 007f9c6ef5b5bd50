"""The batch that a run is writing: rows become objects, and a checkpoint becomes its manifest."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from pathlib import Path

from groundwork import drafts, manifest
from groundwork.bucket import Bucket
from groundwork.drafts import Draft
from groundwork.errors import ManifestConflict
from groundwork.manifest import METADATA, Manifest, StoredRows, batch_name
from groundwork.objects import OpenObject, completed
from groundwork.sources import Checkpoint, Rows

log = logging.getLogger(__name__)

OBJECT_BYTES = 64 << 20
"""An object is closed when its file has grown to this many bytes."""


class OpenBatch:
    """A batch being written: objects go to the bucket, and mean nothing until `commit`."""

    def __init__(
        self, bucket: Bucket, source: str, after: Manifest | None, run_id: str, directory: Path,
        draft: Draft | None = None,
    ) -> None:  # fmt: skip
        """Begin, or go on with a draft; nothing is written before the first rows.

        Args:
            bucket: where it goes.
            source: whose batch it is.
            after: the manifest before it; None for the first batch.
            run_id: the flow run on whose behalf this is.
            directory: for the files that are being written.
            draft: what an earlier run stored of it.
        """
        self._bucket, self._source, self._after = bucket, source, after
        self.batch_id = after.batch_id + 1 if after else 1
        self._run_id, self._directory = run_id, directory
        self._started_at, self._mark = draft.started_at if draft else manifest.now(), uuid.uuid4().hex[:8]
        self._open: dict[str, OpenObject] = {}
        self._stored = list(draft.objects) if draft else []
        self._events = list(draft.events) if draft else []
        self._drafted = draft is not None
        self._parts = Counter[str](stored.stream for stored in self._stored)
        self._rows: Counter[str] = Counter()
        for stored in self._stored:
            self._rows[stored.stream] += stored.rows

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

    def keep(self, checkpoint: Checkpoint) -> None:
        """Store what there is as a draft: the next run goes on from here if this one is cut short."""
        self._store_all()
        self._check_draft()
        self._events += checkpoint.events
        self._drafted = True
        draft = Draft(
            source=self._source,
            batch_id=self.batch_id,
            after=self._after.commit_id if self._after else "",
            cursors=checkpoint.cursors,
            objects=self._stored,
            events=self._events,
            started_at=self._started_at,
            run_id=self._run_id,
        )
        drafts.save(self._bucket, draft)
        log.info("kept source=%s batch=%s rows=%d", self._source, batch_name(self.batch_id), self.rows)

    def abandon(self) -> None:
        """Let go of it all; what was stored already has no manifest and is never read."""
        for stream in list(self._open):
            done = self._open.pop(stream)
            done.close()
            done.path.unlink(missing_ok=True)
        if self._drafted:
            drafts.discard(self._bucket, self._source)

    def commit(self, checkpoint: Checkpoint) -> Manifest:
        """Store what is open, then the manifest: from here on the batch happened."""
        self._store_all()
        self._check_draft()
        committed = Manifest(
            source=self._source,
            batch_id=self.batch_id,
            cursors=checkpoint.cursors,
            objects=self._stored,
            events=self._events + checkpoint.events,
            slot=checkpoint.slot,
            started_at=self._started_at,
            stored_at=manifest.now(),
            run_id=self._run_id,
        )
        manifest.commit(self._bucket, committed)
        if self._drafted:
            drafts.discard(self._bucket, self._source)
        log.info(
            "committed source=%s batch=%s rows=%d objects=%d",
            self._source, committed.name, committed.rows, len(self._stored),
        )  # fmt: skip
        return committed

    def _check_draft(self) -> None:
        """An erasure takes a draft away with its objects, under whoever is writing it."""
        if self._drafted and not self._bucket.exists(drafts.draft_key(self._source)):
            raise ManifestConflict(
                f"{self._bucket.url}/{drafts.draft_key(self._source)}", "was removed by an erasure meanwhile",
                fix="nothing: the next run reads from the beginning",
            )  # fmt: skip

    def _store_all(self) -> None:
        for stream in list(self._open):
            self._store(stream)

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
