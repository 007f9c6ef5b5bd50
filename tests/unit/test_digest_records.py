"""Records of digests: what is taken, what is read anew, what is stored, and what differs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from groundwork import digests
from groundwork.bucket import Bucket, open_bucket
from groundwork.load import load
from groundwork.warehouses.canonical import Digest
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.unit.test_replay import ENTRY, commit, rows


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket((tmp_path / "bucket").as_uri())


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDB]:
    with open_duckdb(tmp_path / "w.duckdb", who="a test") as opened:
        yield opened


def loaded(bucket: Bucket, warehouse: DuckDB, *numbers: int) -> None:
    for number in numbers:
        commit(bucket, rows("a", str(number)))
    load(ENTRY, bucket, warehouse)


def test_an_empty_warehouse_has_no_digests(warehouse: DuckDB) -> None:
    taken = digests.take(warehouse, "w")
    assert (taken.batches, taken.tables) == ({}, {})


def test_every_layer_is_taken_and_the_platforms_own_notes_are_not(bucket: Bucket, warehouse: DuckDB) -> None:
    loaded(bucket, warehouse, 1, 2)
    warehouse.query("create table landing._replays (source text)")
    warehouse.query("create schema staging")
    warehouse.query(
        "create view staging.stg_a as select id, current_timestamp as _built_at from landing.shop__a"
    )
    warehouse.query("create schema elsewhere")
    warehouse.query("create table elsewhere.t as select 1 as n")
    taken = digests.take(warehouse, "w")
    assert taken.batches == {"shop": 2}
    assert {name: digest.rows for name, digest in taken.tables.items()} == {
        "landing._batches": 2, "landing.shop__a": 2, "landing.shop__b": 0, "staging.stg_a": 2,
    }  # fmt: skip
    assert digests.differing(taken, digests.take(warehouse, "w")) == {}


def test_after_a_run_only_what_is_new_in_landing_is_read(
    bucket: Bucket, warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(bucket, warehouse, 1, 2)
    earlier = digests.take(warehouse, "w")
    loaded(bucket, warehouse, 3, 4, 5)
    asked: list[tuple[str, str]] = []
    original = DuckDB.digest

    def listening(
        self: DuckDB, schema: str, table: str, leave_out: Collection[str], after: str = ""
    ) -> Digest:
        asked.append((table, after))
        return original(self, schema, table, leave_out, after)

    monkeypatch.setattr(DuckDB, "digest", listening)
    taken = digests.take(warehouse, "w", earlier=earlier)
    assert asked == [("_batches", ""), ("shop__a", "0000000002"), ("shop__b", "0000000002")]
    assert digests.differing(taken, digests.take(warehouse, "w")) == {}


def test_rows_that_were_taken_away_are_noticed(bucket: Bucket, warehouse: DuckDB) -> None:
    loaded(bucket, warehouse, 1, 2)
    earlier = digests.take(warehouse, "w")
    warehouse.query("delete from landing.shop__a where id = '1'")
    loaded(bucket, warehouse, 3)
    taken = digests.take(warehouse, "w", earlier=earlier)
    assert digests.differing(taken, digests.take(warehouse, "w")) == {}
    assert taken.tables["landing.shop__a"].rows == 2


def test_a_large_table_is_told_and_not_compared(bucket: Bucket, warehouse: DuckDB) -> None:
    loaded(bucket, warehouse, 1, 2, 3)
    taken = digests.take(warehouse, "w", largest=2)
    assert taken.tables["landing.shop__a"].text == "more than 2 rows: when it is asked for"
    assert taken.tables["landing.shop__b"].why == ""
    told = digests.differing(taken, digests.take(warehouse, "w"))
    assert told["landing.shop__a"] == "was not compared: more than 2 rows: when it is asked for"


def test_what_differs_is_told_by_how(bucket: Bucket, warehouse: DuckDB) -> None:
    loaded(bucket, warehouse, 1, 2)
    before = digests.take(warehouse, "before")
    warehouse.query("update landing.shop__a set id = 'x' where id = '1'")
    warehouse.query("insert into landing.shop__b (id) values ('1')")
    warehouse.query("create table landing.shop__c as select 1 as id")
    warehouse.query("update landing._batches set loaded_at = '2000-01-01', load_run_id = 'another'")
    assert digests.differing(digests.take(warehouse, "after"), before) == {
        "landing.shop__a": "2 rows in both, of other content",
        "landing.shop__b": "1 rows here, 0 there",
        "landing.shop__c": "is only in after",
    }


def test_a_table_without_a_canonical_text_does_not_keep_us_from_the_others(
    bucket: Bucket, warehouse: DuckDB
) -> None:
    loaded(bucket, warehouse, 1)
    warehouse.query("create table landing.shop__odd as select [1] as pair")
    taken = digests.take(warehouse, "w")
    assert "has no canonical text" in taken.tables["landing.shop__odd"].why
    assert taken.tables["landing.shop__a"].rows == 1


def test_records_are_stored_and_the_newest_is_found(bucket: Bucket, warehouse: DuckDB) -> None:
    assert digests.newest(bucket, "w") is None
    loaded(bucket, warehouse, 1)
    first = digests.take(warehouse, "w", run_id="run-1")
    loaded(bucket, warehouse, 2)
    second = digests.take(warehouse, "w", run_id="run-2")
    keys = [digests.keep(bucket, first), digests.keep(bucket, second)]
    assert digests.newest(bucket, "w") == second
    assert digests.newest(bucket, "another") is None
    assert [digests.Digests.model_validate_json(bucket.get(key)) for key in keys] == [first, second]
