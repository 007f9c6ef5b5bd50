"""Compaction: many small objects become few large ones, so that a replay does not ask for each.

A source that is read every five minutes commits a hundred thousand objects per stream and year. Rows keep
what landing knows of them, and the manifests stay: replayed before or after, landing is the same table. What
is replaced is removed at once, since every reader knows how to go on (docs/decisions/0027-rewriting.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from groundwork import manifest
from groundwork.batch import OBJECT_BYTES
from groundwork.bucket import Bucket
from groundwork.keep.records import Rewrite, advance, begin, under_way, unfinished, unsigned
from groundwork.keep.rewriting import carry_out, planned, taken_up
from groundwork.manifest import Manifest, StoredRows

SETTLED = timedelta(days=1)
"""Batches that are younger are left alone: loads may be about to read them."""
AT_LEAST = 16
"""Fewer objects than this are not worth a rewrite."""
_SIZES = (OBJECT_BYTES >> 10, OBJECT_BYTES >> 6, OBJECT_BYTES >> 2)
"""Objects are merged with their like, smallest first: sixteen of one size make one that is beyond it, so
that a row is not rewritten each time this runs, but about once per size."""
_BATCHES = 1000
"""Batches of one rewrite, so that its record stays small."""


@dataclass
class Compacted:
    """What one run did to one source."""

    source: str
    rewrites: list[Rewrite] = field(default_factory=list)

    @property
    def before(self) -> int:
        """Objects that were replaced."""
        return sum(len(one.before) for rewrite in self.rewrites for one in rewrite.replacements)

    @property
    def after(self) -> int:
        """Objects that took their place."""
        return sum(len(rewrite.replacements) for rewrite in self.rewrites)


@dataclass
class _Group:
    """Small objects of one stream, by consecutive batches."""

    stream: str
    objects: dict[str, tuple[StoredRows, list[int]]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    bytes: int = 0

    def takes(self, stored: StoredRows) -> bool:
        """Whether an object fits in: by size, and with no column that a warehouse takes for another."""
        own = {name.lower(): name for name in stored.columns}
        alike = len(own) < len(stored.columns)
        alike = alike or any(self.names.get(lower, name) != name for lower, name in own.items())
        return not alike and self.bytes + stored.bytes <= OBJECT_BYTES

    def add(self, stored: StoredRows, users: list[int]) -> None:
        """Take an object in, with the batches that list it."""
        self.objects[stored.key] = (stored, users)
        self.bytes += stored.bytes
        self.names |= {name.lower(): name for name in stored.columns}


def compact(
    bucket: Bucket, source: str, *, settled: timedelta = SETTLED, at_least: int = AT_LEAST, run_id: str = ""
) -> Compacted:
    """Merge the small objects of a source's settled batches.

    Args:
        bucket: where they are.
        source: whose.
        settled: age from which on a batch may be touched.
        at_least: how many small objects must come together.
        run_id: the flow run on whose behalf this is.

    Raises:
        RewriteUnderWay: when an erasure of the source is not finished.
        ObjectDamaged: when an object is not what its manifest says; nothing of its rewrite was replaced.
    """
    report = Compacted(source)
    open_ = unfinished(bucket, source)
    if open_ and open_.kind == "erasure":
        raise under_way(bucket, open_)
    if open_:
        report.rewrites.append(_finish(bucket, taken_up(bucket, open_)))
    newest = manifest.latest_id(bucket, source)
    last = manifest.now() - settled
    for batches in _portions(manifest.span(bucket, source, 1, newest)):
        groups = list(_groups(batches, last, at_least))
        if groups:
            replacements = [(group.stream, list(group.objects.values())) for group in groups]
            rewrite = planned(bucket, source, "compaction", replacements, newest, run_id=run_id)
            report.rewrites.append(_finish(bucket, begin(bucket, rewrite)))
    return report


def _finish(bucket: Bucket, rewrite: Rewrite) -> Rewrite:
    done = carry_out(bucket, rewrite)
    return advance(bucket, done, unsigned, state="done", done_at=manifest.now(), manifests={})


def _portions(batches: Iterable[Manifest]) -> Iterator[list[Manifest]]:
    """Batches in portions that do not cut through an object that was merged before."""
    portion: list[Manifest] = []
    keys: set[str] = set()
    for batch in batches:
        shared = any(stored.key in keys for stored in batch.objects)
        if len(portion) >= _BATCHES and not shared:
            yield portion
            portion, keys = [], set()
        portion.append(batch)
        keys |= {stored.key for stored in batch.objects}
    if portion:
        yield portion


def _groups(batches: list[Manifest], last: datetime, at_least: int) -> Iterator[_Group]:
    """What to merge: per stream, neighbours of like size in the order of their batches."""
    streams: dict[str, dict[str, tuple[StoredRows, list[int]]]] = {}
    kept = {stored.key for batch in batches if batch.stored_at > last for stored in batch.objects}
    for batch in batches:
        for stored in batch.objects:
            if _in_parts(batch, stored):
                kept.add(stored.key)
            objects = streams.setdefault(stored.stream, {})
            objects.setdefault(stored.key, (stored, []))[1].append(batch.batch_id)
    for size in _SIZES:
        for stream, objects in streams.items():
            for group in _neighbours(stream, objects, size, kept):
                if len(group.objects) >= at_least:
                    kept |= group.objects.keys()
                    yield group


def _neighbours(
    stream: str, objects: dict[str, tuple[StoredRows, list[int]]], size: int, kept: set[str]
) -> Iterator[_Group]:
    group = _Group(stream)
    for key, (stored, users) in objects.items():
        fits = key not in kept and stored.bytes <= size
        if not (fits and group.takes(stored)):
            yield group
            group = _Group(stream)
        if fits and group.takes(stored):
            group.add(stored, users)
    yield group


def _in_parts(batch: Manifest, stored: StoredRows) -> bool:
    """Whether the batch has several objects of the stream; the ledger counts them, so they are left alone."""
    return sum(other.stream == stored.stream for other in batch.objects) > 1
