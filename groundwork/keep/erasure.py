"""Erasure: take one subject out of the bucket, and leave a signed record of it that does not name them.

A subject may lie in several sources, and what names it in one may be found in another only. So all of it is
looked up first, then announced, one record per source, and only when every record is there is anything
rewritten: the records know every place, so whoever comes after a crash can finish without the subject's name.
docs/decisions/0028-erasure.md
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import Catalog
from groundwork.errors import ObjectDamaged, SettingMissing
from groundwork.keep.records import Rewrite, Sign, advance, begin, read, rewrite_key, unfinished
from groundwork.keep.rewriting import carry_out, digest_of, planned, taken_up
from groundwork.keep.subjects import Found, Name, Search
from groundwork.manifest import StoredRows
from groundwork.scratch import scratch
from groundwork.settings import Named, Resolve

SECRET = Named(secret="erasure-key")
"""Signs the records, and keys the hash of the subject in them."""
_SHORTEST_KEY = 16


class Seal:
    """The key of erasures: signs records, and hashes what must not be written."""

    def __init__(self, key: str) -> None:
        """Take the key.

        Raises:
            SettingMissing: when it is too short to keep anything.
        """
        if len(key) < _SHORTEST_KEY:
            raise SettingMissing(
                f"secret '{SECRET.name}'", f"has less than {_SHORTEST_KEY} characters",
                why="whoever guesses it can find out whom the records are about",
                fix="use a long random text: openssl rand -hex 32",
            )  # fmt: skip
        self._key = key.encode()

    @classmethod
    def resolved(cls, resolve: Resolve) -> Seal:
        """By the named secret.

        Raises:
            SettingMissing: when it has no value.
        """
        return cls(resolve(SECRET))

    def subject(self, value: str) -> str:
        """What stands in a record for the subject; tells nothing without the key."""
        return self._digest("subject", value.encode())

    def sign(self, rewrite: Rewrite) -> Rewrite:
        """The record with its signature (HMAC-SHA256 over all else)."""
        bare = rewrite.model_copy(update={"signature": ""})
        return bare.model_copy(update={"signature": self._digest("record", bare.body())})

    def holds(self, rewrite: Rewrite) -> bool:
        """Whether the record is what was signed."""
        return hmac.compare_digest(rewrite.signature, self.sign(rewrite).signature)

    def _digest(self, use: str, body: bytes) -> str:
        return hmac.new(self._key, use.encode() + b"\0" + body, hashlib.sha256).hexdigest()


def plan(
    catalog: Catalog, bucket: Bucket, names: Iterable[Name], seal: Seal, value: str, *, run_id: str = ""
) -> list[Rewrite]:
    """What an erasure would rewrite, one record per source that holds the subject; nothing is written.

    Args:
        catalog: all sources.
        bucket: where their batches are.
        names: what names the subject, see `groundwork.keep.subjects.named`.
        seal: the key.
        value: the subject's value, for its hash.
        run_id: on whose behalf.

    Raises:
        RewriteUnderWay: when an erasure or compaction of such a source is not finished.
        ObjectDamaged: when an object is not what its manifest says.
    """
    names = list(names)
    with scratch() as directory:
        found = Search(catalog, bucket, names).run(directory)
    told = sorted({name for one in found.values() for name in one.names})
    records = [
        _planned(bucket, one, keys=told, subject=seal.subject(value), run_id=run_id)
        for one in found.values()
        if any(one.rows.values())
    ]
    together = [record.name for record in records]
    return [record.model_copy(update={"together": together}) for record in records]


def _planned(bucket: Bucket, found: Found, **more: object) -> Rewrite:
    objects: dict[str, dict[str, None]] = {}
    removed: dict[str, dict[str, list[int]]] = {}
    for stream, rows in found.rows.items():
        for row in sorted(rows, key=lambda row: (row.file, row.row)):
            objects.setdefault(stream, {})[row.object] = None
            removed.setdefault(stream, {}).setdefault(row.file, []).append(row.row)
    wanted = {key for keys in objects.values() for key in keys}
    listed: dict[str, tuple[StoredRows, list[int]]] = {}
    for batch in manifest.span(bucket, found.source, 1, found.looked_at):
        for stored in batch.objects:
            if stored.key in wanted:
                listed.setdefault(stored.key, (stored, []))[1].append(batch.batch_id)
    replacements = [(stream, [listed[key]]) for stream, keys in objects.items() for key in keys]
    return planned(bucket, found.source, "erasure", replacements, found.looked_at, removed=removed, **more)


def announce(bucket: Bucket, records: list[Rewrite], sign: Sign) -> list[Rewrite]:
    """Store all records: from here on the erasure will be carried out, by us or by whoever comes next.

    Raises:
        RewriteUnderWay: when another rewrite was faster; nothing was rewritten.
    """
    return [begin(bucket, record, sign) for record in records]


def rewrite_bucket(bucket: Bucket, records: list[Rewrite], sign: Sign) -> list[Rewrite]:
    """Bring the bucket to where announced records want it; safe to repeat."""
    return [carry_out(bucket, record, sign) for record in records]


def close(bucket: Bucket, records: list[Rewrite], sign: Sign) -> list[Rewrite]:
    """Say of records that all is done."""
    return [
        advance(bucket, record, sign, state="done", done_at=manifest.now(), manifests={})
        for record in records
        if record.is_open
    ]


def open_erasures(bucket: Bucket, sources: Iterable[str]) -> list[list[Rewrite]]:
    """Erasures that are not finished, each with all its records that are there."""
    found: dict[tuple[str, ...], list[Rewrite]] = {}
    for source in sources:
        last = unfinished(bucket, source)
        if last and last.kind == "erasure":
            found.setdefault(tuple(last.together), [])
    for together, records in found.items():
        records += [record for name in together if (record := _named(bucket, name, together))]
    return list(found.values())


def take_up(bucket: Bucket, records: list[Rewrite], seal: Seal) -> list[Rewrite]:
    """Make an erasure that was cut short ours, or withdraw it if not all of it had been announced.

    Returns:
        Its records; none when it was withdrawn: nothing was rewritten then, and it is to be asked for again.

    Raises:
        ObjectDamaged: when a record is not what was signed.
        KeyChanged: when another run was faster.
    """
    for record in records:
        check_signature(bucket, record, seal)
    if len(records) < len(records[0].together) or any(one.state == "withdrawn" for one in records):
        for record in records:
            if record.is_open:
                advance(bucket, record, seal.sign, state="withdrawn", done_at=manifest.now(), removed={})
        return []
    return [taken_up(bucket, record, seal.sign) for record in records]


def _named(bucket: Bucket, name: str, together: tuple[str, ...]) -> Rewrite | None:
    source, _, number = name.split("/")
    record = read(bucket, source, int(number))
    return record if record and tuple(record.together) == together else None


def check_signature(bucket: Bucket, record: Rewrite, seal: Seal) -> None:
    """Hold a record against its signature.

    Raises:
        ObjectDamaged: when it was altered, or signed by another key.
    """
    if not seal.holds(record):
        raise ObjectDamaged(
            f"{bucket.url}/{rewrite_key(record.source, record.number)}",
            "is not what was signed, or was signed with another key",
            fix=f"give the secret '{SECRET.name}' the value it had then, or restore the object from the"
            " bucket's versions",
        )


def verify(bucket: Bucket, source: str, seal: Seal) -> list[Rewrite]:
    """All records of a source, once signatures, numbers and the chain between them hold.

    Raises:
        ObjectDamaged: naming the first record that is missing or was altered.
    """
    records: list[Rewrite] = []
    before = ""
    number = 0
    while record := read(bucket, source, number := number + 1):
        where = f"{bucket.url}/{rewrite_key(source, number)}"
        if record.kind == "erasure" or record.removed or record.signature:
            check_signature(bucket, record, seal)
        if record.previous != before:
            raise ObjectDamaged(
                where, "does not follow the record before it",
                why="one of them was altered or replaced since",
                fix="restore the records from the bucket's versions",
            )  # fmt: skip
        before = digest_of(bucket, record)
        records.append(record)
    later = [stored.key for stored in bucket.list(f"{source}/rewrites/")]
    if len(later) != len(records):
        raise ObjectDamaged(
            f"{bucket.url}/{rewrite_key(source, number)}", "is missing, though a later record is there",
            fix="restore it from the bucket's versions",
        )  # fmt: skip
    return records
