"""The manifest: one small file that commits one batch and says where reading goes on.

Batches of a source are numbered without a gap, and a manifest is never removed, so the newest one is
found by probing keys (a few requests, however many batches there are) instead of trusting a listing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from groundwork.bucket import Bucket
from groundwork.errors import KeyMissing, KeyTaken, ManifestConflict, ObjectDamaged
from groundwork.verification import check_against_key

FORMAT_VERSION = 2
"""The newest format that is read; it has objects that were rewritten."""
COMMITTED_VERSION = 1
"""The format in which batches are committed."""


class StoredRows(BaseModel):
    """One object of a batch: Parquet, with ``rows`` rows of one stream."""

    model_config = ConfigDict(frozen=True)
    stream: str
    key: str
    rows: int
    bytes: int
    sha256: str
    columns: list[str]
    operations: dict[str, int]
    rewritten: bool = False
    """Written anew since the batch was committed (`groundwork.keep.rewriting`). The rows then carry
    `REWRITTEN` themselves, and other batches' rows may lie in the same object: only those of this batch's
    `_batch_id` are its own, and ``rows``, ``columns`` and ``operations`` count only them."""


METADATA = ("_operation", "_sequence", "_unchanged", "_committed_at", "_extracted_at")
"""Columns every object has beside the source's own."""
REWRITTEN = ("_stored_at", "_batch_id", "_file", "_row", "_run_id")
"""Columns of landing that the rows of a rewritten object bring along, as they were committed."""


class Manifest(BaseModel):
    """What one commit added to the bucket, and the state of the source after it."""

    model_config = ConfigDict(frozen=True)
    version: int = COMMITTED_VERSION
    source: str
    batch_id: int = Field(ge=1)
    cursors: dict[str, Any]
    objects: list[StoredRows]
    events: list[dict[str, Any]] = []
    slot: dict[str, Any] = {}
    """How much log the source held back for us before the run, see `groundwork.sources.retention`."""
    started_at: datetime
    stored_at: datetime
    run_id: str = ""
    commit_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Makes two manifests of equal content different, so that a writer knows its own."""

    @property
    def name(self) -> str:
        """The batch as text, ``0000000042``."""
        return batch_name(self.batch_id)

    @property
    def rows(self) -> int:
        """Rows of all streams."""
        return sum(stored.rows for stored in self.objects)

    @property
    def operations(self) -> dict[str, int]:
        """Rows per operation, over all streams."""
        counts: dict[str, int] = {}
        for stored in self.objects:
            for operation, count in stored.operations.items():
                counts[operation] = counts.get(operation, 0) + count
        return counts


def batch_name(batch_id: int) -> str:
    """A batch's number as sortable text, ``0000000042``."""
    return f"{batch_id:010d}"


def manifest_key(source: str, batch_id: int) -> str:
    """Where a batch's manifest is, or would be."""
    return f"{source}/manifests/{batch_name(batch_id)}.json"


def commit(bucket: Bucket, manifest: Manifest) -> None:
    """Make a batch real: after this it happened, before it did not.

    Raises:
        ManifestConflict: when another run committed this number first.
    """
    key = manifest_key(manifest.source, manifest.batch_id)
    try:
        bucket.put_if_absent(key, manifest.model_dump_json(indent=1).encode())
    except KeyTaken as error:
        raise ManifestConflict(
            f"{bucket.url}/{key}",
            "another run committed this batch first",
            why="two runs of one source cannot both go on from the same place",
            fix="nothing: the next run goes on from what was committed",
        ) from error


def read(bucket: Bucket, source: str, batch_id: int) -> Manifest | None:
    """One manifest, or None when there is none of this number.

    Raises:
        ObjectDamaged: when it is there but cannot be understood, or is not what its key says.
    """
    key = manifest_key(source, batch_id)
    try:
        body = bucket.get(key)
    except KeyMissing:
        return None
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        raise ObjectDamaged(
            f"{bucket.url}/{key}",
            "is not a manifest",
            why=f"{error.error_count()} fields are wrong or missing",
            fix="restore the object from the bucket's versions",
        ) from error
    if manifest.version > FORMAT_VERSION:
        raise ObjectDamaged(
            f"{bucket.url}/{key}",
            f"has format {manifest.version}, this Groundwork reads up to {FORMAT_VERSION}",
            fix="upgrade Groundwork here to the version that wrote it",
        )
    check_against_key(manifest, f"{bucket.url}/{key}", source, batch_id)
    return manifest


def latest_id(bucket: Bucket, source: str, known: int = 0) -> int:
    """Number of the newest batch, 0 when there is none.

    Args:
        bucket: where the manifests are.
        source: whose batches.
        known: a number that is known to exist, to begin the search at.
    """
    return last_number(lambda number: bucket.exists(manifest_key(source, number)), known)


def last_number(exists: Callable[[int], bool], known: int = 0) -> int:
    """The last of things that are numbered from 1 without a gap; 0 when there is none."""
    step = 1
    while exists(known + step):
        known, step = known + step, step * 2
    while step > 1:  # the last lies in [known, known + step)
        step //= 2
        if exists(known + step):
            known += step
    return known


def latest(bucket: Bucket, source: str, known: int = 0) -> Manifest | None:
    """The newest manifest, which holds the whole state of reading a source."""
    newest = latest_id(bucket, source, known)
    return read(bucket, source, newest) if newest else None


def since(bucket: Bucket, source: str, batch_id: int) -> Iterator[Manifest]:
    """Manifests after a number, in order, until there is none."""
    while manifest := read(bucket, source, batch_id + 1):
        yield manifest
        batch_id += 1


def span(bucket: Bucket, source: str, first: int, last: int) -> Iterator[Manifest]:
    """Manifests of a range of numbers, see `listed`."""
    return listed(bucket, source, range(first, last + 1))


def listed(bucket: Bucket, source: str, numbers: Sequence[int]) -> Iterator[Manifest]:
    """Manifests of these numbers, in their order, read side by side.

    Raises:
        ObjectDamaged: when one of them is not there.
    """
    from concurrent.futures import ThreadPoolExecutor

    if len(numbers) == 1:  # the usual case of a run; threads are not worth it
        yield _there(bucket, source, numbers[0])
    elif numbers:
        with ThreadPoolExecutor(8, "manifests") as pool:
            for begin in range(0, len(numbers), 64):
                some = numbers[begin : begin + 64]
                yield from pool.map(lambda number: _there(bucket, source, number), some)


def _there(bucket: Bucket, source: str, batch_id: int) -> Manifest:
    manifest = read(bucket, source, batch_id)
    if manifest is None:
        raise ObjectDamaged(
            f"{bucket.url}/{manifest_key(source, batch_id)}",
            "is missing, though later batches are there",
            fix="restore the object from the bucket's versions; nothing of it or after it was loaded",
        )
    return manifest


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
