"""Many small objects become few, and nobody who reads landing can tell."""

from __future__ import annotations

import os
import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import ObjectDamaged, RewriteUnderWay
from groundwork.keep.compaction import compact
from groundwork.keep.erasure import Seal, announce, close, plan, rewrite_bucket
from groundwork.keep.records import unfinished
from groundwork.keep.subjects import named
from groundwork.keep.sweeping import sweep
from groundwork.load import load
from groundwork.manifest import latest_id, span
from groundwork.warehouses.duckdb import open_duckdb
from tests.keep.killed import Killed, MortalBucket
from tests.keep.world import World, commit, everything, listed_keys, make_catalog, replayed, without

SEAL = Seal("a key that nobody guesses")
NOW = timedelta()
EXAMPLES = int(os.environ.get("GROUNDWORK_EXAMPLES", "3"))


def make_world(directory: Path, seed: int, batches: int) -> World:
    bucket = open_bucket((directory / "bucket").as_uri())
    world = World(make_catalog(directory / "catalog"), bucket, random.Random(seed))
    world.live(batches)
    return world


def data_keys(bucket: Bucket) -> set[str]:
    return {stored.key for stored in bucket.list("") if "/data/" in stored.key}


@pytest.mark.parametrize("seed", range(EXAMPLES - 2))
def test_a_replay_after_it_is_equal_row_for_row_from_far_fewer_objects(seed: int, tmp_path: Path) -> None:
    world = make_world(tmp_path, seed, batches=30)
    before = replayed(world.catalog, world.bucket, tmp_path / "before.duckdb")
    many = len(data_keys(world.bucket))
    for source in world.catalog:
        compact(world.bucket, source, settled=NOW, at_least=2)
    assert len(data_keys(world.bucket)) < many / 4
    assert data_keys(world.bucket) == listed_keys(world.bucket, world.catalog)
    assert replayed(world.catalog, world.bucket, tmp_path / "after.duckdb") == before
    world.live(10)  # the platform goes on, and it all happens again, over what was merged before
    before = replayed(world.catalog, world.bucket, tmp_path / "more.duckdb")
    for source in world.catalog:
        compact(world.bucket, source, settled=NOW, at_least=2)
    assert replayed(world.catalog, world.bucket, tmp_path / "again.duckdb") == before


def test_a_warehouse_that_stands_in_the_middle_of_a_merged_object_takes_only_what_it_lacks(
    tmp_path: Path,
) -> None:
    world = make_world(tmp_path, 3, batches=8)
    with open_duckdb(tmp_path / "w.duckdb", who="a test") as warehouse:
        for entry in world.catalog.values():
            load(entry, world.bucket, warehouse)
        known = latest_id(world.bucket, "shop")
        world.live(8)
        for source in world.catalog:
            compact(world.bucket, source, settled=NOW, at_least=2)
        assert load(world.catalog["shop"], world.bucket, warehouse).batches[0] == known + 1
        load(world.catalog["payments"], world.bucket, warehouse)
        assert everything(warehouse, world.catalog) == replayed(
            world.catalog, world.bucket, tmp_path / "whole.duckdb"
        )


def test_an_erasure_from_merged_objects_takes_out_what_it_takes_out_of_small_ones(tmp_path: Path) -> None:
    world = make_world(tmp_path, 4, batches=20)
    before = replayed(world.catalog, world.bucket, tmp_path / "before.duckdb")
    person = max(world.people, key=lambda one: (len(one.orders), len(one.keys)))
    for source in world.catalog:
        compact(world.bucket, source, settled=NOW, at_least=2)
    names = named(world.catalog, ["shop.customers.id"], "", str(person.key))
    records = announce(world.bucket, plan(world.catalog, world.bucket, names, SEAL, "x"), SEAL.sign)
    with pytest.raises(RewriteUnderWay, match="forget --resume"):
        compact(world.bucket, "shop", settled=NOW)
    close(world.bucket, rewrite_bucket(world.bucket, records, SEAL.sign), SEAL.sign)
    after = replayed(world.catalog, world.bucket, tmp_path / "after.duckdb")
    expected = without(before, world, person)
    assert {table: after[table] for table in expected} == expected
    for source in world.catalog:
        compact(world.bucket, source, settled=NOW, at_least=2)
    assert replayed(world.catalog, world.bucket, tmp_path / "again.duckdb") == after


def test_killed_at_any_step_the_next_run_finishes_and_a_replay_in_between_is_equal(tmp_path: Path) -> None:
    world = make_world(tmp_path, 5, batches=4)
    before = replayed(world.catalog, world.bucket, tmp_path / "before.duckdb")
    place = Path(world.bucket.url.removeprefix("file://"))

    def copied(name: str) -> Bucket:
        shutil.copytree(place, tmp_path / name / "bucket")
        return open_bucket((tmp_path / name / "bucket").as_uri())

    counted = MortalBucket(copied("counted"), 0, after=False)
    compact(counted, "shop", settled=NOW, at_least=2)
    deaths = [(step, after) for step in range(1, counted.changes + 1) for after in (False, True)]
    for step, after in deaths if EXAMPLES > 3 else sorted({*deaths[:3], *deaths[-2:], *deaths[3:-2:9]}):
        bucket = copied(f"{step}-{after}")
        with pytest.raises(Killed):
            compact(MortalBucket(bucket, step, after), "shop", settled=NOW, at_least=2)
        assert replayed(world.catalog, bucket, tmp_path / f"{step}{after}1.duckdb") == before
        sweep(bucket, "shop", age=NOW, remove=True)  # takes nothing that is needed to go on
        compact(bucket, "shop", settled=NOW, at_least=2)
        assert unfinished(bucket, "shop") is None
        sweep(bucket, "shop", age=NOW, remove=True)
        assert replayed(world.catalog, bucket, tmp_path / f"{step}{after}2.duckdb") == before
        assert data_keys(bucket) == listed_keys(bucket, world.catalog)
        assert len(data_keys(bucket)) == len(data_keys(counted))


def test_young_batches_large_objects_and_few_of_them_are_left_alone(tmp_path: Path) -> None:
    world = make_world(tmp_path, 6, batches=6)
    keys = data_keys(world.bucket)
    assert compact(world.bucket, "shop", at_least=2).rewrites == []  # a day old at least
    assert compact(world.bucket, "shop", settled=NOW, at_least=50).rewrites == []
    assert data_keys(world.bucket) == keys


def test_columns_that_a_warehouse_takes_for_one_do_not_come_together(tmp_path: Path) -> None:
    bucket, catalog = open_bucket((tmp_path / "bucket").as_uri()), make_catalog(tmp_path / "catalog")
    for name in ("nick", "nick", "Nick", "Nick"):
        commit(catalog, bucket, "shop", {"customers": [{"id": "1", name: name, "_operation": "insert"}]})
    before = replayed(catalog, bucket, tmp_path / "before.duckdb")
    compact(bucket, "shop", settled=NOW, at_least=2)
    assert len(data_keys(bucket)) == 2
    assert replayed(catalog, bucket, tmp_path / "after.duckdb") == before
    assert [dict(row)["nick"] for row in before["shop.customers"]] == ["nick", "nick", "Nick", "Nick"]


def test_an_object_that_is_damaged_is_told_and_nothing_is_replaced(tmp_path: Path) -> None:
    world = make_world(tmp_path, 7, batches=5)
    key = sorted(data_keys(world.bucket))[0]
    world.bucket.put(key, b"something else")
    listed = listed_keys(world.bucket, world.catalog)
    with pytest.raises(ObjectDamaged, match="has 14 bytes"):
        for source in world.catalog:
            compact(world.bucket, source, settled=NOW, at_least=2)
    assert key in listed_keys(world.bucket, world.catalog) & listed


def test_what_no_manifest_lists_is_swept_unless_its_batch_may_still_be_committed(tmp_path: Path) -> None:
    world = make_world(tmp_path, 8, batches=4)
    newest = latest_id(world.bucket, "shop")
    lost = f"shop/data/customers/{newest:010d}/part-00000-dead0000.parquet"
    running = f"shop/data/customers/{newest + 1:010d}/part-00000-11fe0000.parquet"
    for key in (lost, running):
        world.bucket.put(key, b"rows")
    assert (sweep(world.bucket, "shop").young, sweep(world.bucket, "shop").removed) == (1, [])
    dry = sweep(world.bucket, "shop", age=NOW)
    assert ([found.key for found in dry.removed], dry.pending, dry.bytes) == ([lost], 1, 4)
    assert world.bucket.exists(lost)
    sweep(world.bucket, "shop", age=NOW, remove=True)
    assert not world.bucket.exists(lost) and world.bucket.exists(running)
    commit(world.catalog, world.bucket, "shop", {"customers": [{"id": "1", "_operation": "insert"}]})
    assert [found.key for found in sweep(world.bucket, "shop", age=NOW, remove=True).removed] == [running]
    assert data_keys(world.bucket) == listed_keys(world.bucket, world.catalog)
    assert len(list(span(world.bucket, "shop", 1, newest))) == newest
