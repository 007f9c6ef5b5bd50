"""One subject is taken out of bucket and warehouse, whole, and nothing else changes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.cleansing import cleanse
from groundwork.erasure import Seal, announce, close, plan, rewrite_bucket
from groundwork.load import load
from groundwork.rewrite_records import Rewrite
from groundwork.subjects import named
from groundwork.warehouses.duckdb import open_duckdb
from tests.keep.world import Person, World, everything, make_catalog, replayed, without

SEAL = Seal("a key that nobody guesses")


def make_world(directory: Path, seed: int, batches: int = 25) -> World:
    bucket = open_bucket((directory / "bucket").as_uri())
    world = World(make_catalog(directory / "catalog"), bucket, random.Random(seed))
    world.live(batches)
    return world


def erase(world: World, person: Person, bucket: Bucket | None = None) -> list[Rewrite]:
    """Everything but the warehouse."""
    bucket, value = bucket or world.bucket, str(world.chance.choice(person.keys))
    names = named(world.catalog, ["shop.customers.id"], "", value)
    records = announce(bucket, plan(world.catalog, bucket, names, SEAL, value), SEAL.sign)
    return rewrite_bucket(bucket, records, SEAL.sign)


@pytest.mark.parametrize("seed", range(8))
def test_a_person_goes_from_all_streams_and_all_else_replays_equal(seed: int, tmp_path: Path) -> None:
    world = make_world(tmp_path, seed)
    before = replayed(world.catalog, world.bucket, tmp_path / "before.duckdb")
    person = max(world.people, key=lambda one: (len(one.keys), len(one.orders)))
    expected = without(before, world, person)
    assert any(len(expected[table]) < len(before[table]) for table in expected)
    with open_duckdb(tmp_path / "kept.duckdb", who="a test") as warehouse:
        for entry in world.catalog.values():
            load(entry, world.bucket, warehouse)
        records = erase(world, person)
        cleanse(warehouse, world.bucket, records)
        cleanse(warehouse, world.bucket, records)  # twice changes nothing
        kept = everything(warehouse, world.catalog)
    close(world.bucket, records, SEAL.sign)
    after = replayed(world.catalog, world.bucket, tmp_path / "after.duckdb")
    assert {table: after[table] for table in expected} == expected
    assert kept == after
    assert len(kept["ledger"]) == len(before["ledger"])
