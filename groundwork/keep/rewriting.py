"""Rewriting: replace objects of committed batches by others. The one announced exception in the bucket.

Nothing else changes what is committed. An erasure must, and a compaction may. Both say first, in a record,
what they are going to do, and then do it in an order that can be cut short anywhere: new objects under new
names, manifests one by one (each a single conditional put), then the old objects are removed. Whoever comes
next finds the record and finishes. docs/decisions/0027-rewriting.md
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.errors import KeyChanged
from groundwork.fetching import fetch
from groundwork.keep.merging import Merged, Piece, merge
from groundwork.keep.records import (
    Replacement,
    Rewrite,
    Sign,
    StoredObject,
    advance,
    latest,
    rewrite_key,
    under_way,
    unsigned,
)
from groundwork.manifest import Manifest, StoredRows, batch_name, manifest_key
from groundwork.scratch import scratch

log = logging.getLogger(__name__)


def planned(
    bucket: Bucket,
    source: str,
    kind: Literal["erasure", "compaction"],
    replacements: Iterable[tuple[str, list[tuple[StoredRows, list[int]]]]],
    looked_at: int,
    **more: object,
) -> Rewrite:
    """What a new rewrite would do; nothing is written.

    Args:
        bucket: where the source's batches are.
        source: whose.
        kind: what for.
        replacements: per new object its stream, and the old objects with the batches that list them.
        looked_at: the newest batch that was looked at.
        more: further fields of the record.

    Raises:
        RewriteUnderWay: when the last one is not finished.
    """
    last = latest(bucket, source)
    if last and last.is_open:
        raise under_way(bucket, last)
    mark, made = uuid.uuid4().hex[:8], []
    for number, (stream, olds) in enumerate(replacements):
        batches = sorted({batch for _, users in olds for batch in users})
        key = f"{source}/data/{stream}/{batch_name(batches[0])}/rewritten-{number:05d}-{mark}.parquet"
        before = [
            StoredObject(key=old.key, sha256=old.sha256, bytes=old.bytes, rows=old.rows) for old, _ in olds
        ]
        made.append(Replacement(stream=stream, batches=batches, before=before, after=StoredObject(key=key)))
    return Rewrite.model_validate(
        {
            "source": source,
            "number": last.number + 1 if last else 1,
            "kind": kind,
            "begun_at": manifest.now(),
            "looked_at": looked_at,
            "replacements": made,
            "previous": digest_of(bucket, last) if last else "",
            **more,
        }
    )


def digest_of(bucket: Bucket, rewrite: Rewrite) -> str:
    """SHA-256 of a record as it is stored."""
    return hashlib.sha256(bucket.get(rewrite_key(rewrite.source, rewrite.number))).hexdigest()


def carry_out(bucket: Bucket, rewrite: Rewrite, sign: Sign = unsigned) -> Rewrite:
    """Bring the bucket to where a rewrite wants it, from wherever it stands; safe to repeat.

    Raises:
        ObjectDamaged: when an object to be replaced is not what its manifest says; nothing was replaced.
        KeyChanged: when somebody else is carrying it out.
    """
    if rewrite.state == "begun":
        rewrite = _written(bucket, rewrite, sign)
    if rewrite.state == "written":
        for batch_id in rewrite.manifests:
            _switch(bucket, rewrite, batch_id)
        for replacement in rewrite.replacements:
            for old in replacement.before:
                bucket.purge(old.key)
        rewrite = advance(bucket, rewrite, sign, state="rewritten")
        log.info(
            "rewritten source=%s rewrite=%d kind=%s batches=%d rows_removed=%d",
            rewrite.source, rewrite.number, rewrite.kind, len(rewrite.manifests), rewrite.rows,
        )  # fmt: skip
    return rewrite


def taken_up(bucket: Bucket, rewrite: Rewrite, sign: Sign = unsigned) -> Rewrite:
    """A rewrite that was cut short, made ours: whoever began it, and still lives, cannot go on.

    Raises:
        KeyChanged: when another run was faster.
    """
    if rewrite.state != "begun":
        return rewrite  # from here on two do the same, whoever is first
    mark = uuid.uuid4().hex[:8]
    renamed = [
        one.model_copy(
            update={"after": StoredObject(key=f"{one.after.key.rpartition('-')[0]}-{mark}.parquet")}
        )
        for one in rewrite.replacements
    ]
    ours = advance(bucket, rewrite, sign, replacements=renamed)
    for one in rewrite.replacements:
        bucket.purge(one.after.key)
    return ours


def _written(bucket: Bucket, rewrite: Rewrite, sign: Sign) -> Rewrite:
    """Write every new object, and note how each manifest shall list them."""
    concerned = sorted({batch for one in rewrite.replacements for batch in one.batches})
    batches = {number: _present(bucket, rewrite.source, number) for number in concerned}
    written, made = [], {}
    with scratch() as directory:
        for one in rewrite.replacements:
            pieces = _pieces(bucket, one, batches, directory)
            target = directory / "merged.parquet"
            merged = merge(pieces, rewrite.removed.get(one.stream, {}), target)
            if merged.rows:
                bucket.put(one.after.key, target)
                target.unlink()
            after = StoredObject(
                key=one.after.key, sha256=merged.sha256, bytes=merged.bytes, rows=merged.rows
            )
            written.append(one.model_copy(update={"after": after}))
            made[after.key] = merged
            for piece in pieces:
                piece.path.unlink()
    manifests = {number: _listed(batch, written, made) for number, batch in batches.items()}
    return advance(bucket, rewrite, sign, state="written", replacements=written, manifests=manifests)


def _present(bucket: Bucket, source: str, number: int) -> Manifest:
    (there,) = manifest.span(bucket, source, number, number)
    return there


def _pieces(bucket: Bucket, one: Replacement, batches: dict[int, Manifest], directory: Path) -> list[Piece]:
    pieces = []
    for number, old in enumerate(one.before):
        users = [
            (batches[batch], stored)
            for batch in one.batches
            for stored in batches[batch].objects
            if stored.key == old.key
        ]
        if not users:
            raise KeyChanged(
                f"{bucket.url}/{old.key}", "was replaced by another run meanwhile",
                fix="nothing: that run goes on with what this one began",
            )  # fmt: skip
        path = fetch(bucket, users[0][1], directory / f"{number:05d}.parquet", users[0][0])
        pieces.append(Piece(path, users[0][1], [batch for batch, _ in users]))
    return pieces


def _listed(batch: Manifest, written: list[Replacement], made: dict[str, Merged]) -> list[StoredRows]:
    """The objects of a batch after the rewrite, in the order of those they replace."""
    new_of = {old.key: one.after for one in written for old in one.before}
    listed: dict[str, StoredRows] = {}
    for stored in batch.objects:
        after = new_of.get(stored.key)
        if after is None:
            listed[stored.key] = stored
            continue
        operations = dict(made[after.key].operations.get(batch.name, {}))
        if not operations:
            continue
        before = listed.get(after.key)
        columns = dict.fromkeys([*(before.columns if before else []), *stored.columns])
        listed[after.key] = StoredRows(
            stream=stored.stream, key=after.key, rows=sum(operations.values()), bytes=after.bytes,
            sha256=after.sha256, columns=list(columns), operations=operations, rewritten=True,
        )  # fmt: skip
    return list(listed.values())


def _switch(bucket: Bucket, rewrite: Rewrite, batch_id: int) -> None:
    """Let one manifest list the new objects, unless it does already: one put, all or nothing."""
    key = manifest_key(rewrite.source, batch_id)
    body = bucket.get(key)
    there = Manifest.model_validate_json(body)
    replaced = {old.key for one in rewrite.replacements for old in one.before}
    if not any(stored.key in replaced for stored in there.objects):
        return  # done, or even replaced again since
    new = there.model_copy(update={"objects": rewrite.manifests[batch_id], "version": 2})
    bucket.replace(key, new.model_dump_json(indent=1).encode(), body)
