"""Sweeping: objects that no manifest lists, left behind by runs that were killed or lost a race, are removed.

An object is swept only when nobody can come to list it any more: its batch (the number in its key) was
committed without it, no open rewrite names it, and it is old. What lies under the number of a batch that is
not committed yet may still be, however long its run takes, and is left alone until that number is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from groundwork import manifest
from groundwork.bucket import Bucket, StoredObject
from groundwork.keep.records import unfinished

AGE = timedelta(days=2)
"""Younger objects are left alone: clocks differ, and a rewrite may be about to list them."""


@dataclass
class Swept:
    """What lies around in a source's part of the bucket."""

    source: str
    removed: list[StoredObject] = field(default_factory=list)
    """Removed, or to be removed."""
    young: int = 0
    """Unlisted too, and not old enough."""
    pending: int = 0
    """Of a batch that is not committed, so that its run may still list them."""

    unlisted: list[StoredObject] = field(default_factory=list)
    """Every object that no manifest lists: removed, young or pending."""

    @property
    def bytes(self) -> int:
        """What is freed."""
        return sum(stored.size for stored in self.removed)


def sweep(bucket: Bucket, source: str, *, age: timedelta = AGE, remove: bool = False) -> Swept:
    """Find what nobody lists; remove it when asked to.

    Args:
        bucket: where.
        source: whose part of it.
        age: how old an object must be.
        remove: else nothing is touched.
    """
    found = Swept(source)
    # What is there is listed first, then what is listed: an object that is committed in between is known.
    there = [stored for stored in bucket.list(f"{source}/data/") if _batch_of(stored.key)]
    newest = manifest.latest_id(bucket, source)
    used = set(_used(bucket, source, newest))
    oldest = manifest.now() - age
    for stored in there:
        if stored.key in used:
            continue
        found.unlisted.append(stored)
        if _batch_of(stored.key) > newest:
            found.pending += 1
        elif stored.modified > oldest:
            found.young += 1
        else:
            found.removed.append(stored)
            if remove:
                bucket.purge(stored.key)
    return found


def _used(bucket: Bucket, source: str, newest: int) -> Iterator[str]:
    """Keys that manifests list, or that an open rewrite reads or is going to list."""
    rewrite = unfinished(bucket, source)
    if rewrite:
        for one in rewrite.replacements:
            yield one.after.key
            yield from (old.key for old in one.before)
    for batch in manifest.span(bucket, source, 1, newest):
        yield from (stored.key for stored in batch.objects)


def _batch_of(key: str) -> int:
    """The batch in a key, ``<source>/data/<stream>/<batch>/<name>``; 0 when it is no such key."""
    parts = key.split("/")
    return int(parts[3]) if len(parts) == 5 and parts[3].isdecimal() else 0
