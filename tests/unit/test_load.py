"""From batches to landing, in order, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import WarehouseError
from groundwork.extract import extract
from groundwork.load import load, prepare
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses import LandingBatch
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.capture import entry

ENTRY = entry({"a": ("public.a", ["id"]), "b": ("public.b", ["id"])})


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket((tmp_path / "bucket").as_uri())


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDB]:
    with open_duckdb(tmp_path / "w.duckdb", who="a test") as opened:
        yield opened


def commit(bucket: Bucket, *frames: Rows) -> None:
    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield from frames
            yield Checkpoint({}, heartbeat=True)

    extract(ENTRY, Source(), bucket)


def rows(stream: str, *identities: str, **more: list[str]) -> Rows:
    return Rows(stream, pl.DataFrame({"id": list(identities), **more}))


def test_all_tables_are_there_before_any_row(bucket: Bucket, warehouse: DuckDB) -> None:
    prepare([ENTRY], warehouse)
    assert warehouse.query("select count(*) from landing.shop__a") == [(0,)]
    assert load(ENTRY, bucket, warehouse).batches == []
    assert warehouse.query("select count(*) from landing._batches") == [(0,)]


def test_batches_land_in_order_and_only_once(bucket: Bucket, warehouse: DuckDB) -> None:
    commit(bucket, rows("a", "1", "2"), rows("b", "9"))
    report = load(ENTRY, bucket, warehouse, run_id="load")
    assert (report.batches, report.rows) == ([1], {"a": 2, "b": 1})
    commit(bucket)
    commit(bucket, rows("a", "3"))
    assert load(ENTRY, bucket, warehouse).batches == [2, 3]
    assert load(ENTRY, bucket, warehouse).batches == []
    assert warehouse.query("select id, _batch_id from landing.shop__a order by id") == [
        ("1", "0000000001"), ("2", "0000000001"), ("3", "0000000003"),
    ]  # fmt: skip


def test_a_new_column_is_null_in_older_rows_and_an_old_one_in_newer(
    bucket: Bucket, warehouse: DuckDB
) -> None:
    commit(bucket, rows("a", "1", name=["x"]))
    commit(bucket, rows("a", "2", title=["y"]))
    load(ENTRY, bucket, warehouse)
    assert warehouse.query("select id, name, title from landing.shop__a order by id") == [
        ("1", "x", None),
        ("2", None, "y"),
    ]


def test_one_bad_batch_stops_itself_and_what_follows(
    bucket: Bucket, warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(bucket, rows("a", "1"))
    commit(bucket, rows("a", "2"))
    commit(bucket, rows("a", "3"))
    original = DuckDB.land

    def failing(self: DuckDB, batches: Sequence[LandingBatch], run_id: str) -> None:
        if 2 in [batch.manifest.batch_id for batch in batches]:
            raise WarehouseError("here", "no")
        original(self, batches, run_id)

    with monkeypatch.context() as patched:
        patched.setattr(DuckDB, "land", failing)
        with pytest.raises(WarehouseError):
            load(ENTRY, bucket, warehouse)
    assert warehouse.query("select id from landing.shop__a") == [("1",)]
    assert load(ENTRY, bucket, warehouse).batches == [2, 3]


def test_a_stream_that_left_the_catalog_is_loaded_into_a_table_of_its_own(
    bucket: Bucket, warehouse: DuckDB
) -> None:
    commit(bucket, rows("a", "1"), rows("gone", "7"))
    assert load(ENTRY, bucket, warehouse).batches == [1]
    found = warehouse.query("select id, _batch_id, _operation from landing.shop__gone")
    assert found == [("7", "0000000001", "insert")]
