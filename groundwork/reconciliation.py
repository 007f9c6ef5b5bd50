"""Reconciliation: the bucket's manifests, held against each other and against a warehouse's ledger.

Batches are numbered without a gap, so a number that is missing while a later one is there is a loss, and a
ledger that knows more than the bucket was filled from another one. Both would else look like "nothing new".
"""

from __future__ import annotations

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.errors import LedgerDisagrees, ObjectDamaged
from groundwork.manifest import batch_name, manifest_key
from groundwork.warehouses import LANDING, LEDGER, Warehouse

_CENTURY = 2
"""Digits left free when manifests are listed: at most a hundred keys in one request."""


def newest_batch(bucket: Bucket, source: str, known: int) -> int:
    """Number of the newest batch in the bucket.

    Args:
        bucket: where the manifests are.
        source: whose batches.
        known: the newest batch of a ledger that agrees with the bucket, 0 when there is none.

    Raises:
        ObjectDamaged: when a manifest is missing among the others.
    """
    newest = manifest.latest_id(bucket, source, known)
    refuse_gap(bucket, source, newest)
    return newest


def hold_against_ledger(bucket: Bucket, warehouse: Warehouse, source: str, known: int) -> None:
    """Make sure that the bucket has the newest batch of the ledger, by the same commit.

    Raises:
        LedgerDisagrees: when it has none of that number, or another one.
    """
    where = f"ledger {LANDING}.{LEDGER}, source '{source}'"
    fix = (
        "set GROUNDWORK_BUCKET to the bucket this warehouse was loaded from, or restore what is missing"
        " there; to take the bucket as it is, fill a new warehouse from it:"
        " python -m groundwork replay --into <new file>.duckdb"
    )
    there = manifest.read(bucket, source, known)
    key = f"{bucket.url}/{manifest_key(source, known)}"
    if there is None:
        raise LedgerDisagrees(
            where, f"knows batch {batch_name(known)}, which the bucket does not have",
            why=f"{key} is missing", fix=fix,
        )  # fmt: skip
    if "commit_id" not in warehouse.columns(LANDING, LEDGER):
        return  # a ledger of an early version: commits had no id
    found = warehouse.query(
        f"select commit_id from {LANDING}.{LEDGER} where source = ? and batch_id = ?",
        [source, batch_name(known)],
    )
    entered = found[0][0] if found else None
    if entered and entered != there.commit_id:
        raise LedgerDisagrees(
            where, f"knows another batch {batch_name(known)} than the bucket holds",
            why=f"{key} is of another commit", fix=fix,
        )  # fmt: skip


def refuse_gap(bucket: Bucket, source: str, newest: int) -> None:
    """Make sure that nothing follows the batch that seems the newest.

    Looks at the hundred numbers around, in one request; `refuse_any_gap` looks at all.

    Raises:
        ObjectDamaged: naming the manifest that is missing.
    """
    prefix = manifest_key(source, newest + 2).removesuffix(".json")[:-_CENTURY]
    for found in bucket.list(prefix):
        number = _number(found.key)
        # A batch that was committed while we looked is none that is missing.
        if number > newest + 1 and not bucket.exists(manifest_key(source, newest + 1)):
            raise _missing(bucket, source, newest + 1, number)


def refuse_any_gap(bucket: Bucket, source: str) -> int:
    """Number of the newest batch, once all before it were seen in a listing.

    Raises:
        ObjectDamaged: naming the first manifest that is missing.
    """
    there = {_number(found.key) for found in bucket.list(f"{source}/manifests/")}
    newest = max(there, default=0)
    for number in sorted(set(range(1, newest)) - there):
        # A listing may be made while batches are committed: what it lacks is asked for by name.
        if not bucket.exists(manifest_key(source, number)):
            raise _missing(bucket, source, number, min(later for later in there if later > number))
    return newest


def _missing(bucket: Bucket, source: str, number: int, later: int) -> ObjectDamaged:
    return ObjectDamaged(
        f"{bucket.url}/{manifest_key(source, number)}",
        f"is missing, though batch {batch_name(later)} follows",
        why="batches are numbered without a gap and manifests are never removed",
        fix="restore the object from the bucket's versions; batches before it are loaded, none after",
    )


def _number(key: str) -> int:
    """The batch a manifest's key names, 0 when it is none of ours."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdecimal() else 0
