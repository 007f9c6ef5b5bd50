"""What is not what it should be: one clear error that names it and the way out, and nothing half-loaded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import RestSource
from groundwork.errors import GroundworkError, LedgerDisagrees, ObjectDamaged, StreamsQuarantined
from groundwork.load import load
from groundwork.manifest import manifest_key, read
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.unit.test_replay import ENTRY, commit, rows

RECORDS: dict[str, Any] = {
    "source": "shop",
    "kind": "rest",
    "priority": 1,
    "questions": ["?"],
    "requested_by": ["tests"],
    "owner": {"name": "n", "email": "a@b.c"},
    "format": "JSON",
    "history": "all",
    "update_every": "1 hour",
    "connection": {"base_url": "http://127.0.0.1"},
    "streams": {"a": {"endpoint": "/a", "replication": "full_table", "columns": {}}},
}


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """Five batches of two streams."""
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    for number in range(1, 6):
        commit(bucket, rows("a", str(number)), rows("b", str(number)))
    return bucket


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDB]:
    with open_duckdb(tmp_path / "w.duckdb", who="a test") as opened:
        yield opened


def key_of(bucket: Bucket, number: int) -> str:
    """The second object of a batch: the first one is good."""
    there = read(bucket, "shop", number)
    assert there is not None
    return there.objects[1].key


def flipped(bucket: Bucket, key: str) -> None:
    body = bytearray(bucket.get(key))
    body[len(body) // 2] ^= 1
    bucket.put(key, bytes(body))


def truncated(bucket: Bucket, key: str) -> None:
    bucket.put(key, bucket.get(key)[:-7])


def emptied(bucket: Bucket, key: str) -> None:
    bucket.put(key, b"")


def exchanged(bucket: Bucket, key: str) -> None:
    bucket.put(key, bucket.get(key_of(bucket, 1)))


def removed(bucket: Bucket, key: str) -> None:
    bucket.delete(key)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flipped, r"has other content than its manifest says \(sha256\)"),
        (truncated, r"has \d+ bytes, its manifest says \d+"),
        (emptied, r"has 0 bytes, its manifest says \d+"),
        (exchanged, r"(has other content than its manifest says|has \d+ bytes, its manifest says)"),
        (removed, r"is missing, though manifest 0000000003 of shop lists it"),
    ],
)
def test_an_object_that_is_not_what_its_manifest_says(
    bucket: Bucket, warehouse: DuckDB, damage: Callable[[Bucket, str], None], told: str
) -> None:
    key = key_of(bucket, 3)
    kept = bucket.get(key)
    damage(bucket, key)
    with pytest.raises(StreamsQuarantined, match=f"stream b is not loaded .*{told}") as raised:
        load(ENTRY, bucket, warehouse).insist()
    assert f"{bucket.url}/{key}" in raised.value.what
    assert "Restore the object from the bucket's versions" in raised.value.what
    holds(warehouse, [1, 2, 3, 4, 5], b=[1, 2])
    bucket.put(key, kept)
    load(ENTRY, bucket, warehouse).insist()
    holds(warehouse, [1, 2, 3, 4, 5])


def holds(warehouse: DuckDB, batches: list[int], b: list[int] | None = None) -> None:
    """Exactly these batches are there: rows of both streams (or others of b), and the ledger."""
    wanted = {"shop__a": batches, "shop__b": batches if b is None else b, "_batches": batches}
    for table, expected in wanted.items():
        column = "batch_id" if table == "_batches" else "_batch_id"
        found = warehouse.query(f"select {column} from landing.{table} order by 1")
        assert [int(name) for (name,) in found] == expected, table


MISSING = r"is missing, though (batch 000000000\d follows|later batches are there)"


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_manifest_that_is_missing_among_others(bucket: Bucket, warehouse: DuckDB, missing: int) -> None:
    key = manifest_key("shop", missing)
    kept = bucket.get(key)
    bucket.delete(key)
    with pytest.raises(ObjectDamaged, match=MISSING) as raised:
        load(ENTRY, bucket, warehouse)
    assert raised.value.where == f"{bucket.url}/{key}"
    holds(warehouse, [])
    bucket.put(key, kept)
    assert load(ENTRY, bucket, warehouse).batches == [1, 2, 3, 4, 5]


def test_a_manifest_that_is_missing_after_what_is_loaded(bucket: Bucket, warehouse: DuckDB) -> None:
    load(ENTRY, bucket, warehouse)
    for number in (6, 7):
        commit(bucket, rows("a", str(number)), rows("b", str(number)))
    bucket.delete(manifest_key("shop", 6))
    with pytest.raises(ObjectDamaged, match=r"0000000006.json: is missing, though batch 0000000007 follows"):
        load(ENTRY, bucket, warehouse)
    holds(warehouse, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("body", [b"", b"{", b'{"source": "shop"}', b"PAR1"])
def test_a_manifest_that_is_none(bucket: Bucket, warehouse: DuckDB, body: bytes) -> None:
    bucket.put(manifest_key("shop", 5), body)
    with pytest.raises(ObjectDamaged, match=r"shop/manifests/0000000005.json: is not a manifest") as raised:
        load(ENTRY, bucket, warehouse)
    assert "restore the object" in raised.value.fix


def test_a_manifest_of_the_future(bucket: Bucket, warehouse: DuckDB) -> None:
    altered(bucket, 5, version=99)
    with pytest.raises(ObjectDamaged, match=r"has format 99, this Groundwork reads up to \d+. Upgrade"):
        load(ENTRY, bucket, warehouse)


def altered(bucket: Bucket, number: int, **values: Any) -> None:
    key = manifest_key("shop", number)
    bucket.put(key, json.dumps(json.loads(bucket.get(key)) | values).encode())


def objects_of(bucket: Bucket, number: int, **values: Any) -> list[dict[str, Any]]:
    """The objects of a batch as its manifest lists them, with other values in the second."""
    there = json.loads(bucket.get(manifest_key("shop", number)))["objects"]
    return [there[0], there[1] | values]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"source": "payments"}, "is a manifest of source 'payments'"),
        ({"batch_id": 4}, "is the manifest of batch 0000000004"),
        ({"batch_id": 7}, "is the manifest of batch 0000000007"),
    ],
)
def test_a_manifest_that_says_something_else_than_its_key(
    bucket: Bucket, warehouse: DuckDB, values: dict[str, Any], says: str
) -> None:
    altered(bucket, 5, **values)
    with pytest.raises(ObjectDamaged, match=rf"shop/manifests/0000000005.json: {says}"):
        load(ENTRY, bucket, warehouse)
    assert warehouse.loaded("payments") == 0
    assert not [table for table in warehouse.tables("landing") if "payments" in table]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rows": 2}, "counts 2 rows in shop/data/b/"),
        ({"rows": -1}, "counts -1 rows in shop/data/b/"),
        ({"rows": 2, "operations": {"insert": 2}}, "has 1 rows, its manifest says 2"),
        ({"rows": 0, "operations": {}}, "has 1 rows, its manifest says 0"),
        ({"columns": ["id", "more"]}, "lacks the columns more"),
        ({"columns": []}, "has 1 columns that its manifest does not list"),
        ({"stream": "a"}, "as an object of stream 'a'"),
        ({"key": "payments/data/b/0000000005/part-00000-x.parquet"}, "as an object of stream 'b'"),
        ({"key": "shop/data/b/0000000004/part-00000-x.parquet"}, "an object of another batch"),
        ({"key": "part.parquet"}, "as an object of stream 'b'"),
        ({"rewritten": True}, "lacks the columns _batch_id, _file, _row, _run_id, _stored_at"),
    ],
)
def test_a_manifest_that_says_something_else_than_its_objects(
    bucket: Bucket, warehouse: DuckDB, values: dict[str, Any], says: str
) -> None:
    altered(bucket, 5, objects=objects_of(bucket, 5, **values))
    with pytest.raises((ObjectDamaged, StreamsQuarantined), match=re.escape(says)) as raised:
        load(ENTRY, bucket, warehouse).insist()
    if isinstance(raised.value, ObjectDamaged):  # a bad manifest stops its whole group
        holds(warehouse, [])
    else:
        holds(warehouse, [1, 2, 3, 4, 5], b=[1, 2, 3, 4])


def test_a_manifest_that_lists_an_object_twice(bucket: Bucket, warehouse: DuckDB) -> None:
    there = objects_of(bucket, 5)
    altered(bucket, 5, objects=[*there, there[1]])
    with pytest.raises(ObjectDamaged, match="lists an object twice"):
        load(ENTRY, bucket, warehouse)


def test_an_object_that_is_no_parquet_file_though_its_manifest_agrees(
    bucket: Bucket, warehouse: DuckDB
) -> None:
    body = b"PAR1 is not enough"
    values = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    bucket.put(key_of(bucket, 5), body)
    altered(bucket, 5, objects=objects_of(bucket, 5, **values))
    with pytest.raises(StreamsQuarantined, match="is not a Parquet file"):
        load(ENTRY, bucket, warehouse).insist()
    holds(warehouse, [1, 2, 3, 4, 5], b=[1, 2, 3, 4])


def test_a_table_where_the_catalog_has_records(bucket: Bucket, warehouse: DuckDB) -> None:
    records = RestSource.model_validate(RECORDS)
    with pytest.raises(ObjectDamaged, match="lists columns of a table in shop/data/a/"):
        load(records, bucket, warehouse)
    assert warehouse.loaded("shop") == 0


def test_a_ledger_that_knows_more_than_the_bucket(bucket: Bucket, warehouse: DuckDB) -> None:
    load(ENTRY, bucket, warehouse)
    bucket.delete(manifest_key("shop", 5))
    with pytest.raises(LedgerDisagrees, match="knows batch 0000000005, which the bucket does not") as raised:
        load(ENTRY, bucket, warehouse)
    assert f"{bucket.url}/shop/manifests/0000000005.json is missing" in raised.value.why
    assert "python -m groundwork replay --into" in raised.value.fix
    holds(warehouse, [1, 2, 3, 4, 5])


def test_a_ledger_of_another_bucket(bucket: Bucket, warehouse: DuckDB, tmp_path: Path) -> None:
    load(ENTRY, bucket, warehouse)
    other = open_bucket((tmp_path / "other").as_uri())
    for number in range(1, 9):
        commit(other, rows("a", f"other {number}"))
    with pytest.raises(LedgerDisagrees, match="knows another batch 0000000005 than the bucket holds"):
        load(ENTRY, other, warehouse)
    holds(warehouse, [1, 2, 3, 4, 5])


def test_a_ledger_from_before_commits_had_an_identity_is_believed(bucket: Bucket, warehouse: DuckDB) -> None:
    load(ENTRY, bucket, warehouse)
    warehouse.query("alter table landing._batches drop column commit_id")
    commit(bucket, rows("a", "6"))
    assert load(ENTRY, bucket, warehouse).batches == [6]


def test_no_error_holds_a_value_of_a_row(bucket: Bucket, warehouse: DuckDB) -> None:
    commit(bucket, rows("a", "a-secret-value"))
    there = read(bucket, "shop", 6)
    assert there is not None
    flipped(bucket, there.objects[0].key)
    with pytest.raises(GroundworkError) as raised:
        load(ENTRY, bucket, warehouse).insist()
    assert "a-secret-value" not in str(raised.value)
