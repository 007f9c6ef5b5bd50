"""Fetching: what manifests list, made local files in time, and held against its manifest.

Nothing is taken that is not what its manifest says: size and sha256 are checked before a warehouse sees a
byte. A group's files are fetched side by side while the group before it is landed, and are gone after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.errors import KeyMissing, ObjectDamaged
from groundwork.keep import records as rewrite_records
from groundwork.manifest import Manifest, StoredRows
from groundwork.scratch import scratch, told
from groundwork.verification import check_against_footer
from groundwork.warehouses import LandingBatch, LandingObject

GROUP_ROWS, GROUP_BYTES = 500_000, 64 << 20
"""Batches are landed together up to this many rows and bytes; a larger one alone."""
_DOWNLOADS = 4
Files = dict[str, Callable[[], Path]]
"""How to get at the objects of a group, by key: one that serves several batches is fetched once."""


def grouped(manifests: Iterable[Manifest]) -> Iterator[list[Manifest]]:
    """Consecutive batches in groups that are landed in one transaction each."""
    group: list[Manifest] = []
    rows = size = 0
    keys: set[str] = set()
    for batch in manifests:
        more = sum(stored.bytes for stored in batch.objects if stored.key not in keys)
        if group and (rows + batch.rows > GROUP_ROWS or size + more > GROUP_BYTES):
            yield group
            group, rows, size, keys = [], 0, 0, set()
            more = sum(stored.bytes for stored in batch.objects)
        group.append(batch)
        keys.update(stored.key for stored in batch.objects)  # a rewritten object may serve many batches
        rows, size = rows + batch.rows, size + more
    if group:
        yield group


def arriving(
    bucket: Bucket,
    manifests: Iterable[Manifest],
    streams: Collection[str] | None = None,
    *,
    ahead: bool,
) -> Iterator[list[LandingBatch]]:
    """Groups of batches, ready to land.

    Args:
        bucket: where their objects are.
        manifests: the batches, in order.
        streams: only objects of these; all when None.
        ahead: fetch files before they are asked for, one group in advance.
    """
    with scratch() as directory, ThreadPoolExecutor(_DOWNLOADS, "fetch") as pool:
        before: list[LandingBatch] | None = None
        try:
            for number, group in enumerate(grouped(manifests)):
                place = directory / str(number)
                with told(place):
                    place.mkdir()
                files: Files = {}
                batches = [
                    _batch(bucket, batch, streams, place, pool if ahead else None, files) for batch in group
                ]
                if before is not None:
                    yield before
                    _clear(directory / str(number - 1))
                before = batches
            if before is not None:
                yield before
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def afresh(bucket: Bucket, batch: LandingBatch, streams: Collection[str] | None) -> Iterator[LandingBatch]:
    """The same batch by its manifest as it is now: its objects may have been rewritten since it was read.

    It is the very same when nothing has changed, with the error that it met.
    """
    there = manifest.read(bucket, batch.manifest.source, batch.manifest.batch_id)
    if there is None or there.objects == batch.manifest.objects:
        yield batch
        return
    with scratch() as directory:
        yield replace(_batch(bucket, there, streams, directory, None, {}), replay_id=batch.replay_id)


@contextmanager
def up_to_date(
    bucket: Bucket, group: Sequence[LandingBatch], streams: Collection[str] | None
) -> Iterator[Sequence[LandingBatch]]:
    """A group as it is to be landed now, with the warehouse in hand.

    Its files may have been fetched before an erasure, which has cleansed the warehouse since: they would
    bring back what was erased.
    """
    if not rewrite_records.is_recent(bucket, group[0].manifest.source):
        yield group
        return
    with ExitStack() as stack:
        yield [stack.enter_context(afresh(bucket, batch, streams)) for batch in group]


def _batch(
    bucket: Bucket,
    batch: Manifest,
    streams: Collection[str] | None,
    place: Path,
    pool: ThreadPoolExecutor | None,
    files: Files,
) -> LandingBatch:
    objects = []
    for number, stored in enumerate(batch.objects):
        if streams is not None and stored.stream not in streams:
            continue
        path = place / f"{batch.name}-{number:05d}.parquet"
        asked = partial(fetch, bucket, stored, path, batch)
        if stored.key not in files:
            files[stored.key] = pool.submit(asked).result if pool else _Once(asked)
        objects.append(LandingObject(stored, f"{bucket.url}/{stored.key}", files[stored.key]))
    return LandingBatch(batch, objects, whole=streams is None)


class _Once:
    """Does its work when it is asked for the first time, and remembers the answer."""

    def __init__(self, work: partial[Path]) -> None:
        self._work, self._answer = work, Future[Path]()

    def __call__(self) -> Path:
        if not self._answer.done():
            self._answer.set_result(self._work())
        return self._answer.result()


def _clear(place: Path) -> None:
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


def fetch(bucket: Bucket, stored: StoredRows, path: Path, batch: Manifest) -> Path:
    """Download one object and hold it against its manifest.

    Raises:
        ObjectDamaged: when it is missing, or differs in size, sha256, rows or columns.
    """
    where = f"{bucket.url}/{stored.key}"
    fix = "restore the object from the bucket's versions; nothing of it was loaded"
    try:
        bucket.download(stored.key, path)
    except KeyMissing as error:
        raise ObjectDamaged(
            where, f"is missing, though manifest {batch.name} of {batch.source} lists it", fix=fix
        ) from error
    size = path.stat().st_size
    if size != stored.bytes:
        raise ObjectDamaged(where, f"has {size} bytes, its manifest says {stored.bytes}", fix=fix)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != stored.sha256:
            raise ObjectDamaged(where, "has other content than its manifest says (sha256)", fix=fix)
    check_against_footer(stored, path, where)
    return path
