# ruff: noqa: E501 (statements and messages read better in one line)
"""What every warehouse promises. A new one joins by a line in ``places.PLACES``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from groundwork import manifest
from groundwork.bucket import open_bucket
from groundwork.errors import ObjectDamaged, WarehouseError
from groundwork.keep.cleansing import cleanse
from groundwork.keep.records import Replacement, Rewrite, StoredObject
from groundwork.manifest import Manifest, StoredRows, now
from groundwork.warehouses import (
    INSTANT,
    LANDING_METADATA,
    LEDGER,
    LEDGER_COLUMNS,
    TEXT,
    WHOLE,
    LandingBatch,
    LandingObject,
    Warehouse,
)
from tests.contracts.places import PLACES, Place


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made_for: Callable[[Path, pytest.FixtureRequest], Place] = request.param
    return made_for(tmp_path, request)


def made(
    place: Place, number: int, values: dict[str, list[str | None]], stream: str = "orders"
) -> LandingBatch:
    """A batch of one object."""
    height = len(next(iter(values.values())))
    frame = pl.DataFrame(values, schema=dict.fromkeys(values, pl.String)).with_columns(
        pl.lit("insert").alias("_operation"),
        pl.Series("_sequence", [f"{number:016x}/{row:08x}" for row in range(height)]),
        pl.lit(None, dtype=pl.String).alias("_unchanged"),
        pl.lit(None, dtype=pl.Datetime("us")).alias("_committed_at"),
        pl.lit(now().replace(tzinfo=None), dtype=pl.Datetime("us")).alias("_extracted_at"),
    )
    path = place.directory / f"{stream}-{number}.parquet"
    frame.write_parquet(path)
    body = path.read_bytes()
    stored = StoredRows(
        stream=stream, key=f"shop/data/{stream}/{number:010d}/part-00000.parquet", rows=height, bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(), columns=list(values), operations={"insert": height},
    )  # fmt: skip
    batch = Manifest(
        source="shop",
        batch_id=number,
        cursors={},
        objects=[stored],
        started_at=now(),
        stored_at=now(),
        run_id="r1",
    )
    return LandingBatch(batch, [place.object(stored, path)])


def damaged_object(place: Place, batch: LandingBatch) -> LandingObject:
    """An object of the batch that is no Parquet."""
    path = place.directory / "damaged.parquet"
    path.write_bytes(b"PAR1 not really")
    stored = batch.objects[0].stored
    return place.object(stored.model_copy(update={"key": stored.key.replace("part-0", "part-9")}), path)


def prepare(warehouse: Warehouse, *columns: str, table: str = "shop__orders") -> None:
    warehouse.widen(LEDGER, LEDGER_COLUMNS)
    warehouse.widen(table, dict.fromkeys(columns, TEXT) | dict(LANDING_METADATA))


def test_widening_adds_and_never_drops_or_alters(place: Place) -> None:
    with place.open() as warehouse:
        assert warehouse.columns("landing", "t") == []
        warehouse.widen("t", {"a": TEXT, "n": WHOLE, "at": INSTANT})
        warehouse.query("insert into landing.t values ('x', 1, timestamp '2026-01-01')")
        warehouse.widen("t", {"b": TEXT, "a": TEXT})
        warehouse.widen("t", {"b": TEXT})
        warehouse.widen("t", {})
        assert warehouse.columns("landing", "t") == ["a", "n", "at", "b"]
        assert warehouse.query("select a, n, b from landing.t") == [("x", 1, None)]


def test_a_batch_lands_with_the_way_back_from_every_row(place: Place) -> None:
    batch = made(place, 1, {"id": ["1", "2"], "note": ["", None]})
    with place.open() as warehouse:
        prepare(warehouse, "id", "note")
        assert warehouse.loaded("shop") == 0
        warehouse.land([batch], "load-run")
        assert warehouse.loaded("shop") == 1
        assert warehouse.loaded("other") == 0
        rows = warehouse.query(
            "select id, note, _operation, _sequence, _batch_id, _file, _row, _run_id, _stored_at, _loaded_at is not null"
            " from landing.shop__orders order by _row"
        )
        key = batch.objects[0].stored.key
        stored_at = batch.manifest.stored_at.replace(tzinfo=None)
        assert rows == [
            ("1", "", "insert", "0000000000000001/00000000", "0000000001", key, 0, "r1", stored_at, True),
            ("2", None, "insert", "0000000000000001/00000001", "0000000001", key, 1, "r1", stored_at, True),
        ]
        ledger = warehouse.query(
            'select source, batch_id, "ROWS", objects, operations, events, extract_run_id, load_run_id, manifest from landing._batches'
        )
        assert ledger == [
            (
                "shop",
                "0000000001",
                2,
                1,
                '{"insert": 2}',
                "[]",
                "r1",
                "load-run",
                "shop/manifests/0000000001.json",
            )
        ]


def test_landing_twice_is_landing_once(place: Place) -> None:
    with place.open() as warehouse:
        prepare(warehouse, "id")
        for number in (1, 2):
            batch = made(place, number, {"id": ["1", "2"]})
            warehouse.land([batch], "")
            warehouse.land([batch], "again")
        assert warehouse.query("select count(*), count(distinct _batch_id) from landing.shop__orders") == [
            (4, 2)
        ]
        assert warehouse.query("select batch_id, load_run_id from landing._batches order by 1") == [
            ("0000000001", "again"), ("0000000002", "again"),
        ]  # fmt: skip


def test_a_batch_that_fails_in_the_middle_leaves_nothing(place: Place) -> None:
    batch = made(place, 1, {"id": ["1"]})
    damaged = damaged_object(place, batch)
    with place.open() as warehouse:
        prepare(warehouse, "id")
        with pytest.raises((WarehouseError, ObjectDamaged), match=r"a statement failed|cannot be read"):
            warehouse.land([replace(batch, objects=[*batch.objects, damaged])], "")
        assert warehouse.query("select count(*) from landing.shop__orders") == [(0,)]
        assert warehouse.loaded("shop") == 0
        warehouse.land([batch], "")
        assert warehouse.loaded("shop") == 1


def test_many_batches_land_together_or_not_at_all(place: Place) -> None:
    batches = [made(place, number, {"id": [str(number)]}) for number in (1, 2, 3)]
    batches.append(replace(batches[2], manifest=batches[2].manifest.model_copy(update={"batch_id": 4})))
    batches[3] = replace(batches[3], objects=[])
    damaged = damaged_object(place, batches[2])
    with place.open() as warehouse:
        prepare(warehouse, "id")
        with pytest.raises((WarehouseError, ObjectDamaged)):
            warehouse.land([*batches[:2], replace(batches[2], objects=[damaged])], "")
        assert warehouse.query("select count(*) from landing.shop__orders") == [(0,)]
        assert warehouse.loaded("shop") == 0
        warehouse.land(batches, "together")
        warehouse.land(batches[1:], "again")
        assert warehouse.query("select id, _batch_id, _row from landing.shop__orders order by id") == [
            ("1", "0000000001", 0), ("2", "0000000002", 0), ("3", "0000000003", 0),
        ]  # fmt: skip
        ledger = 'select batch_id, "ROWS", load_run_id, commit_id from landing._batches order by batch_id'
        assert warehouse.query(ledger) == [
            (batch.manifest.name, batch.manifest.rows, run, batch.manifest.commit_id)
            for batch, run in zip(batches, ["together", "again", "again", "again"], strict=True)
        ]


def test_a_part_of_a_batch_replaces_its_rows_and_leaves_the_ledger(place: Place) -> None:
    both = made(place, 1, {"id": ["1"]})
    other = made(place, 1, {"id": ["9"]}, "items")
    with place.open() as warehouse:
        prepare(warehouse, "id")
        prepare(warehouse, "id", table="shop__items")
        warehouse.land([replace(both, objects=[*both.objects, *other.objects])], "whole")
        anew = place.object(both.objects[0].stored, other.objects[0].file())
        part = replace(both, objects=[anew], whole=False)
        warehouse.land([part], "part")
        assert warehouse.query("select id from landing.shop__orders") == [("9",)]
        assert warehouse.query("select id from landing.shop__items") == [("9",)]
        assert warehouse.query("select load_run_id from landing._batches") == [("whole",)]


def test_rows_that_an_erasure_names_are_deleted_by_their_place_and_others_stay(place: Place) -> None:
    batch, bucket = made(place, 1, {"id": ["1", "2", "3"]}), place.bucket or open_bucket(place.bucket_url)
    manifest.commit(bucket, batch.manifest)
    key = batch.objects[0].stored.key
    record = Rewrite(
        source="shop", number=1, kind="erasure", begun_at=now(), looked_at=1, removed={"orders": {key: [0, 2]}},
        replacements=[Replacement(stream="orders", batches=[1], before=[], after=StoredObject(key=key))],
    )  # fmt: skip
    with place.open() as warehouse:
        prepare(warehouse, "id")
        warehouse.land([batch], "load")
        assert [cleanse(warehouse, bucket, [record], "erasure") for _ in range(2)] == [2, 0]
        assert warehouse.query("select id, _row from landing.shop__orders") == [("2", 1)]
        assert warehouse.query("select load_run_id from landing._batches") == [("erasure",)]


def test_an_object_that_is_not_asked_for_is_not_fetched(place: Place) -> None:
    def never() -> Path:
        raise AssertionError("fetched")

    batch = made(place, 1, {"id": ["1"]})
    with place.open() as warehouse:
        if not warehouse.reads_bucket:
            pytest.skip("this warehouse needs files")
        prepare(warehouse, "id")
        warehouse.land([replace(batch, objects=[replace(batch.objects[0], file=never)])], "")


def rewritten(place: Place, numbers: list[int]) -> list[LandingBatch]:
    """Batches whose rows lie in one object, written anew, that says itself where each row was."""
    frame = pl.DataFrame({"id": [str(number) for number in numbers], "odd name": ["x"] * len(numbers)})
    names = [f"{number:010d}" for number in numbers]
    at = pl.lit(now().replace(tzinfo=None), dtype=pl.Datetime("us"))
    frame = frame.with_columns(
        *(pl.lit("insert").alias("_operation"), pl.Series("_sequence", names)),
        *(pl.lit(None, dtype=pl.String).alias("_unchanged"), at.alias("_committed_at")),
        *(at.alias("_extracted_at"), at.alias("_stored_at"), pl.Series("_batch_id", names)),
        *(pl.Series("_file", [f"was/in/{name}" for name in names]), pl.lit(7, dtype=pl.Int64).alias("_row")),
        pl.lit("first-run").alias("_run_id"),
    )
    path = place.directory / "rewritten.parquet"
    frame.write_parquet(path)
    stored = StoredRows(
        stream="orders", key="shop/data/orders/rewritten.parquet", rows=1, bytes=path.stat().st_size,
        sha256="", columns=["id", "odd name"], operations={"insert": 1}, rewritten=True,
    )  # fmt: skip
    arriving = place.object(stored, path)
    manifests = [
        Manifest(
            source="shop", batch_id=number, cursors={}, objects=[stored], started_at=now(), stored_at=now()
        )
        for number in numbers
    ]
    return [LandingBatch(batch, [arriving]) for batch in manifests]


def test_of_an_object_that_was_rewritten_only_the_batches_at_hand_are_taken(place: Place) -> None:
    batches = rewritten(place, [1, 2, 3])
    with place.open() as warehouse:
        prepare(warehouse, "id", "odd name")
        warehouse.land(batches[:2], "")
        warehouse.land([made(place, 9, {"id": ["9"]}), batches[1]], "")
        assert warehouse.query(
            'select id, "odd name", _batch_id, _file, _row, _run_id from landing.shop__orders'
            " where id <> '9' order by id"
        ) == [
            ("1", "x", "0000000001", "was/in/0000000001", 7, "first-run"),
            ("2", "x", "0000000002", "was/in/0000000002", 7, "first-run"),
        ]
        assert warehouse.loaded("shop") == 9


def test_a_batch_without_rows_is_in_the_ledger(place: Place) -> None:
    batch = made(place, 1, {"id": ["1"]})
    with place.open() as warehouse:
        prepare(warehouse, "id")
        empty = batch.manifest.model_copy(update={"objects": []})
        warehouse.land([LandingBatch(empty, [])], "")
        assert warehouse.loaded("shop") == 1


def test_forgetting_empties_one_source_and_no_other(place: Place) -> None:
    batch = made(place, 1, {"id": ["1"]})
    with place.open() as warehouse:
        warehouse.forget("shop", ["shop__orders"])  # nothing is there yet
        prepare(warehouse, "id")
        prepare(warehouse, "id", table="other__orders")
        warehouse.land([batch], "")
        other = batch.manifest.model_copy(update={"source": "other"})
        warehouse.land([replace(batch, manifest=other)], "")
        warehouse.forget("shop", ["shop__orders", "shop__never_landed"])
        assert (warehouse.loaded("shop"), warehouse.loaded("other")) == (0, 1)
        assert warehouse.query("select count(*) from landing.shop__orders") == [(0,)]
        assert warehouse.query("select count(*) from landing.other__orders") == [(1,)]


def test_the_newest_batch_is_the_highest_number_and_not_the_last_text(place: Place) -> None:
    with place.open() as warehouse:
        prepare(warehouse, "id")
        for number in (9, 10, 99, 100):
            warehouse.land([made(place, number, {"id": ["1"]})], "")
            assert warehouse.loaded("shop") == number


ODD = [
    "select",
    "a b",
    'a "quoted" name',
    "Upper",
    "ümläut 💥",
    "ÉCOLE",
    "école",
    "tab\tname",
    "per%cent?:x$1",
    "n" * 63,
    "file_row_number",
    "row",
]


def test_odd_column_names_are_names(place: Place) -> None:
    batch = made(place, 1, {name: [name] for name in ODD})
    with place.open() as warehouse:
        prepare(warehouse, "id")
        warehouse.widen("shop__orders", dict.fromkeys(ODD, TEXT))
        warehouse.land([batch], "")
        assert set(ODD) <= set(warehouse.columns("landing", "shop__orders"))
        (row,) = warehouse.query("select * from landing.shop__orders")
        there = dict(zip(warehouse.columns("landing", "shop__orders"), row, strict=True))
        assert {name: there[name] for name in ODD} == {name: name for name in ODD}


def test_a_column_that_comes_back_in_another_case_is_the_same_column(place: Place) -> None:
    """Two such columns at once are refused where they are read: `groundwork.sources.tables.check_names`."""
    with place.open() as warehouse:
        prepare(warehouse, "id", "Name")
        warehouse.land([made(place, 1, {"id": ["1"], "Name": ["old"]})], "")
        batch = made(place, 2, {"id": ["2"], "NAME": ["new"]})
        warehouse.widen("shop__orders", {"NAME": TEXT})
        warehouse.land([batch], "")
        assert warehouse.query('select "Name" from landing.shop__orders order by id') == [("old",), ("new",)]


def test_a_wrong_statement_is_told_without_a_drivers_error(place: Place) -> None:
    with (
        place.open() as warehouse,
        pytest.raises(WarehouseError, match=r"a statement failed \((CatalogException|2003)\)"),
    ):
        warehouse.query("select a from landing.nowhere")


def test_instants_are_utc_whatever_the_machine_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        batch = made(place, 1, {"id": ["1"]})
        with place.open() as warehouse:
            prepare(warehouse, "id")
            warehouse.land([batch], "")
            (row,) = warehouse.query("select _extracted_at, _stored_at, _loaded_at from landing.shop__orders")
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    reference: Any = now().replace(tzinfo=None)
    assert all(abs((reference - instant).total_seconds()) < 120 for instant in row)
