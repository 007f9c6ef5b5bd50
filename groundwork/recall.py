"""What earlier runs stored of a pull that is not finished, so that a source can count over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.drafts import Draft
from groundwork.manifest import Manifest, StoredRows
from groundwork.scratch import scratch
from groundwork.sources import Cursors, Recall

if TYPE_CHECKING:
    import pyarrow as pa


def recall_from(bucket: Bucket, source: str, newest: Manifest | None, draft: Draft | None) -> Recall:
    """A way to the rows of unfinished pulls.

    Args:
        bucket: where they are.
        source: whose they are.
        newest: the manifest that reading goes on from.
        draft: the batch that reading goes on with, if there is one.
    """

    def recall(stream: str, mark: str) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        with scratch() as directory:
            path = directory / "object.parquet"
            for stored in _objects(bucket, source, newest, draft, stream, mark):
                bucket.download(stored.key, path)
                with pq.ParquetFile(path) as file:
                    yield from file.iter_batches(10_000, columns=["record", "_request"])

    return recall


def _objects(
    bucket: Bucket, source: str, newest: Manifest | None, draft: Draft | None, stream: str, mark: str
) -> Iterator[StoredRows]:
    """The objects of a stream in the batches whose cursors name a pull."""
    if draft and mark in _marks(draft.cursors, stream):
        yield from (stored for stored in draft.objects if stored.stream == stream)
    batch = newest
    while batch and mark in _marks(batch.cursors, stream):
        yield from (stored for stored in batch.objects if stored.stream == stream)
        batch = manifest.read(bucket, source, batch.batch_id - 1) if batch.batch_id > 1 else None


def _marks(cursors: Cursors, stream: str) -> list[Any]:
    """The marks of a stream's unfinished pulls, of its records and of its deletions."""
    state: dict[str, Any] = cursors.get(stream) or {}
    both = [state, state.get("deletions") or {}]
    return [pull["mark"] for one in both if (pull := one.get("pull")) and "mark" in pull]
