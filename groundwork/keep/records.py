"""The record of a rewrite: what an erasure or a compaction is going to do, has done, and how far it has come.

Records of a source are numbered and never removed, ``<source>/rewrites/0000000001.json``. One that is not
done keeps others from beginning, so that no two ever replace the same objects. See
`groundwork.keep.rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.errors import KeyMissing, KeyTaken, ObjectDamaged, RewriteUnderWay
from groundwork.manifest import StoredRows, batch_name

RECORD_VERSION = 1


class StoredObject(BaseModel):
    """An object as it was or is, with all its rows whatever their batches."""

    model_config = ConfigDict(frozen=True)
    key: str
    sha256: str = ""
    bytes: int = 0
    rows: int = 0


class Replacement(BaseModel):
    """Objects of one stream, and the one that takes their place."""

    model_config = ConfigDict(frozen=True)
    stream: str
    batches: list[int]
    """Those whose manifests list any of them."""
    before: list[StoredObject]
    after: StoredObject
    """Known by its key alone until it is written; of no rows when nothing is left."""


class Rewrite(BaseModel):
    """What one rewrite does, did, and how far it has come."""

    model_config = ConfigDict(frozen=True)
    version: int = RECORD_VERSION
    source: str
    number: int
    kind: Literal["erasure", "compaction"]
    state: Literal["begun", "written", "rewritten", "done", "withdrawn"] = "begun"
    """``begun``: announced. ``written``: every new object is there. ``rewritten``: the bucket is as it
    shall be. ``done``: the warehouse too. ``withdrawn``: nothing was done, nor will be."""
    begun_at: datetime
    done_at: datetime | None = None
    run_id: str = ""
    looked_at: int
    """The newest batch when it began."""
    replacements: list[Replacement]
    manifests: dict[int, list[StoredRows]] = {}
    """Objects of each batch concerned, as its manifest shall list them; from ``written`` on."""
    removed: dict[str, dict[str, list[int]]] = {}
    """Rows that go: by stream, by landing's `_file`, their `_row`."""
    together: list[str] = []
    """Of an erasure: the records it consists of, one per source. Nothing is done before all are there."""
    keys: list[str] = []
    """Of an erasure: columns that named the subject, ``shop.customers.id``."""
    subject: str = ""
    """Of an erasure: a keyed hash of the subject's value; never the value."""
    previous: str = ""
    """SHA-256 of the record before this one, so that none can be taken out unnoticed."""
    signature: str = ""

    @property
    def name(self) -> str:
        """Where it is known by, ``shop/rewrites/0000000003``."""
        return rewrite_key(self.source, self.number).removesuffix(".json")

    @property
    def is_open(self) -> bool:
        """Whether it is still to be finished; no other of the source begins before."""
        return self.state not in ("done", "withdrawn")

    @property
    def rows(self) -> int:
        """Rows that go."""
        return sum(len(rows) for files in self.removed.values() for rows in files.values())

    def body(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json(indent=1).encode()


Sign = Callable[[Rewrite], Rewrite]
"""Puts its signature on a record."""


def unsigned(rewrite: Rewrite) -> Rewrite:
    """For records that nobody must answer for."""
    return rewrite


def rewrite_key(source: str, number: int) -> str:
    """Where a record is, or would be."""
    return f"{source}/rewrites/{batch_name(number)}.json"


def read(bucket: Bucket, source: str, number: int) -> Rewrite | None:
    """One record, or None.

    Raises:
        ObjectDamaged: when it cannot be understood.
    """
    key = rewrite_key(source, number)
    try:
        return Rewrite.model_validate_json(bucket.get(key))
    except KeyMissing:
        return None
    except ValidationError as error:
        raise ObjectDamaged(
            f"{bucket.url}/{key}",
            "is not the record of a rewrite",
            why=f"{error.error_count()} fields are wrong or missing",
            fix="restore the object from the bucket's versions, or upgrade Groundwork here",
        ) from error


def latest(bucket: Bucket, source: str) -> Rewrite | None:
    """The newest record of a source."""
    number = manifest.last_number(lambda number: bucket.exists(rewrite_key(source, number)))
    return read(bucket, source, number) if number else None


def unfinished(bucket: Bucket, source: str) -> Rewrite | None:
    """The rewrite that is under way, or was cut short."""
    last = latest(bucket, source)
    return last if last and last.is_open else None


def is_recent(bucket: Bucket, source: str) -> bool:
    """Whether manifests that were read a while ago may be out of date: a rewrite was begun within a day.

    Clocks may be a day apart, or be set back or ahead by one meanwhile.
    """
    last = latest(bucket, source)
    return last is not None and (last.is_open or manifest.now() - last.begun_at < timedelta(days=3))


def under_way(bucket: Bucket, rewrite: Rewrite) -> RewriteUnderWay:
    """What to say when a source's last rewrite is not finished."""
    how = "forget --resume" if rewrite.kind == "erasure" else f"compact {rewrite.source}"
    return RewriteUnderWay(
        f"{bucket.url}/{rewrite_key(rewrite.source, rewrite.number)}",
        f"{'an' if rewrite.kind == 'erasure' else 'a'} {rewrite.kind} of {rewrite.source} is not finished",
        why=f"it was begun at {rewrite.begun_at:%Y-%m-%d %H:%M} UTC and is '{rewrite.state}'",
        fix=f"wait for it, or finish it: python -m groundwork {how}",
    )


def begin(bucket: Bucket, rewrite: Rewrite, sign: Sign = unsigned) -> Rewrite:
    """Announce a rewrite; from here on no other of this source begins before it is done.

    Raises:
        RewriteUnderWay: when another run was faster.
    """
    signed = sign(rewrite)
    try:
        bucket.put_if_absent(rewrite_key(rewrite.source, rewrite.number), signed.body())
    except KeyTaken as error:
        other = read(bucket, rewrite.source, rewrite.number)
        raise under_way(bucket, other or rewrite) from error
    return signed


def advance(bucket: Bucket, rewrite: Rewrite, sign: Sign, **changes: object) -> Rewrite:
    """Store a record in its next state.

    Raises:
        KeyChanged: when somebody else did.
    """
    after = sign(rewrite.model_copy(update=changes))
    bucket.replace(rewrite_key(rewrite.source, rewrite.number), after.body(), rewrite.body())
    return after
