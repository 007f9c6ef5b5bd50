"""The manifest: numbered without a gap, committed once, understood or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork import manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import ManifestConflict, ObjectDamaged
from groundwork.manifest import Manifest, StoredRows


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket(tmp_path.as_uri())


def batch(number: int, **changes: object) -> Manifest:
    stored = [
        StoredRows(
            stream="s",
            key=f"shop/data/s/{number:010d}/part-{part}.parquet",
            rows=3,
            bytes=9,
            sha256="x",
            columns=["a"],
            operations={"insert": 2, "delete": 1},
        )
        for part in range(2)
    ]
    known = {"source": "shop", "batch_id": number, "cursors": {"_log": {"lsn": "0/1"}}, "objects": stored,
             "started_at": manifest.now(), "stored_at": manifest.now()}  # fmt: skip
    return Manifest.model_validate(known | changes)


def test_what_is_committed_is_read_back_whole(bucket: Bucket) -> None:
    committed = batch(1, events=[{"event": "columns_changed", "added": ["ü"]}], run_id="run")
    manifest.commit(bucket, committed)
    assert manifest.read(bucket, "shop", 1) == committed
    assert (committed.name, committed.rows, committed.operations) == (
        "0000000001",
        6,
        {"insert": 4, "delete": 2},
    )
    assert manifest.read(bucket, "shop", 2) is None
    assert manifest.read(bucket, "other", 1) is None


def test_of_two_manifests_of_a_number_the_first_stands(bucket: Bucket) -> None:
    first = batch(1)
    manifest.commit(bucket, first)
    manifest.commit(bucket, first)  # the answer was lost and the put repeated
    with pytest.raises(
        ManifestConflict, match=r"shop/manifests/0000000001.json: another run committed this batch first"
    ):
        manifest.commit(bucket, batch(1))
    assert manifest.read(bucket, "shop", 1) == first


class Numbered:
    """A bucket that knows which keys exist, and counts questions."""

    def __init__(self, newest: int) -> None:
        self.newest, self.asked = newest, 0

    def exists(self, key: str) -> bool:
        self.asked += 1
        return 1 <= int(key.removeprefix("shop/manifests/").removesuffix(".json")) <= self.newest


@given(st.integers(0, 3_000_000), st.integers(0, 1000))
def test_the_newest_batch_is_found_in_a_few_questions(newest: int, behind: int) -> None:
    bucket = Numbered(newest)
    assert manifest.latest_id(bucket, "shop") == newest  # type: ignore[arg-type]
    assert bucket.asked <= 2 * max(newest, 1).bit_length() + 1
    known = max(newest - behind, 0)
    assert manifest.latest_id(Numbered(newest), "shop", known) == newest  # type: ignore[arg-type]


def test_batches_are_told_in_order_from_a_number_on(bucket: Bucket) -> None:
    for number in range(1, 13):
        manifest.commit(bucket, batch(number))
    assert [one.batch_id for one in manifest.since(bucket, "shop", 0)] == list(range(1, 13))
    assert [one.batch_id for one in manifest.since(bucket, "shop", 9)] == [10, 11, 12]
    newest = manifest.latest(bucket, "shop")
    assert newest is not None
    assert newest.batch_id == 12


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not a manifest"),
        (b"{}", r"is not a manifest. \d fields are wrong or missing"),
        (
            batch(1).model_dump_json().replace('"version":1', '"version":99').encode(),
            "has format 99, this Groundwork reads up to 2",
        ),
    ],
)
def test_what_is_not_a_manifest_is_refused(bucket: Bucket, body: bytes, message: str) -> None:
    bucket.put("shop/manifests/0000000001.json", body)
    with pytest.raises(ObjectDamaged, match=message):
        manifest.latest(bucket, "shop")
