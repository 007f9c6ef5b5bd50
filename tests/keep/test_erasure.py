"""One subject is taken out of bucket and warehouse, whole, and nothing else changes."""

from __future__ import annotations

import io
import os
import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import Catalog, load_source
from groundwork.errors import CatalogError, KeyChanged, ObjectDamaged, RewriteUnderWay, SettingMissing
from groundwork.fetching import arriving
from groundwork.keep.cleansing import cleanse
from groundwork.keep.erasure import (
    Seal,
    announce,
    close,
    open_erasures,
    plan,
    rewrite_bucket,
    take_up,
    verify,
)
from groundwork.keep.key_index import canonical
from groundwork.keep.records import Rewrite
from groundwork.keep.subjects import named
from groundwork.landing import Loaded, land_group
from groundwork.load import load, prepare
from groundwork.manifest import latest_id, span
from groundwork.warehouses.duckdb import open_duckdb
from tests.keep.killed import Killed, MortalBucket
from tests.keep.world import (
    Person,
    World,
    commit,
    everything,
    landed,
    listed_keys,
    make_catalog,
    replayed,
    without,
)

SEAL = Seal("a key that nobody guesses")
EXAMPLES = int(os.environ.get("GROUNDWORK_EXAMPLES", "2"))


def make_world(directory: Path, seed: int, batches: int = 25) -> World:
    bucket = open_bucket((directory / "bucket").as_uri())
    world = World(make_catalog(directory / "catalog"), bucket, random.Random(seed))
    world.live(batches)
    return world


def erase(world: World, person: Person, bucket: Bucket | None = None) -> list[Rewrite]:
    """Everything but the warehouse."""
    bucket, value = bucket or world.bucket, str(person.keys[world.chance.randrange(len(person.keys))])
    names = named(world.catalog, ["shop.customers.id"], "", value)
    records = announce(bucket, plan(world.catalog, bucket, names, SEAL, value), SEAL.sign)
    return rewrite_bucket(bucket, records, SEAL.sign)


@pytest.mark.parametrize("seed", range(EXAMPLES))
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


def copy_of(world: World, directory: Path) -> Bucket:
    place = Path(world.bucket.url.removeprefix("file://"))
    shutil.copytree(place, directory / "bucket")
    return open_bucket((directory / "bucket").as_uri())


def finish(world: World, bucket: Bucket) -> bool:
    """What `forget --resume` does to the bucket; False when nothing was to be finished."""
    for records in open_erasures(bucket, world.catalog):
        if ours := take_up(bucket, records, SEAL):
            close(bucket, rewrite_bucket(bucket, ours, SEAL.sign), SEAL.sign)
            return True
    return False


def test_killed_at_any_step_it_is_finished_or_never_began_and_replay_works_between(tmp_path: Path) -> None:
    world = make_world(tmp_path, 5, batches=4)
    person = max(world.people, key=lambda one: (len(one.orders), len(one.keys)))
    before = replayed(world.catalog, world.bucket, tmp_path / "before.duckdb")
    expected = without(before, world, person)
    counted = MortalBucket(copy_of(world, tmp_path / "counted"), 0, after=False)
    close(counted, erase(world, person, counted), SEAL.sign)
    deaths = [(step, after) for step in range(1, counted.changes + 1) for after in (False, True)]
    assert len(deaths) > 20
    # all of them when asked for; else the first, the last, and some between
    chosen = deaths if EXAMPLES > 2 else sorted({*deaths[:4], *deaths[-3:], *deaths[4:-3:5]})
    withdrawn = 0
    for step, after in chosen:
        place = tmp_path / f"{step}-{after}"
        bucket = copy_of(world, place)
        mortal = MortalBucket(bucket, step, after)
        with pytest.raises(Killed):
            close(mortal, erase(world, person, mortal), SEAL.sign)
        between = replayed(world.catalog, bucket, place / "between.duckdb")
        for table, left in expected.items():  # each row is still there, or it is one that goes
            assert set(left) <= set(between[table]) <= set(before[table])
        if not finish(world, bucket) and (step, after) != deaths[-1]:
            withdrawn += 1
            assert between == before
            close(bucket, erase(world, person, bucket), SEAL.sign)
        result = replayed(world.catalog, bucket, place / "after.duckdb")
        assert {table: result[table] for table in expected} == expected
        assert not open_erasures(bucket, world.catalog)
        for source in world.catalog:
            verify(bucket, source, SEAL)
        shutil.rmtree(place)
    assert withdrawn >= 1


def test_a_second_run_takes_over_and_the_first_cannot_go_on(tmp_path: Path) -> None:
    world = make_world(tmp_path, 5, batches=6)
    person = max(world.people, key=lambda one: len(one.orders))
    names = named(world.catalog, ["shop.customers.id"], "", str(person.key))
    first = announce(world.bucket, plan(world.catalog, world.bucket, names, SEAL, "x"), SEAL.sign)
    with pytest.raises(RewriteUnderWay, match=r"an erasure of .* is not finished.*forget --resume"):
        plan(world.catalog, world.bucket, names, SEAL, "x")
    assert finish(world, world.bucket)
    result = replayed(world.catalog, world.bucket, tmp_path / "a.duckdb")
    with pytest.raises(KeyChanged):
        rewrite_bucket(world.bucket, first, SEAL.sign)
    assert replayed(world.catalog, world.bucket, tmp_path / "b.duckdb") == result


def test_a_load_that_read_the_manifests_before_goes_on_with_what_they_list_now(tmp_path: Path) -> None:
    world = make_world(tmp_path, 5, batches=8)
    person = max(world.people, key=lambda one: len(one.orders))
    entry = world.catalog["shop"]
    old = list(span(world.bucket, "shop", 1, latest_id(world.bucket, "shop")))
    before = replayed(world.catalog, world.bucket, tmp_path / "old.duckdb")
    fetched = arriving(world.bucket, old, ahead=True)
    at_hand = next(fetched)
    assert len(at_hand) == len(old) and all(one.file().exists() for batch in at_hand for one in batch.objects)
    close(world.bucket, erase(world, person), SEAL.sign)
    expected = replayed(world.catalog, world.bucket, tmp_path / "new.duckdb")
    assert expected != before
    later = arriving(world.bucket, old, ahead=False)
    for number, group in enumerate((at_hand, next(later))):
        with open_duckdb(tmp_path / f"{number}.duckdb", who="a test") as warehouse:
            prepare([entry], warehouse)
            land_group(world.bucket, warehouse, group, Loaded("shop"))
            for stream in entry.streams:
                assert landed(warehouse, "shop", stream) == expected[f"shop.{stream}"]
    fetched.close()
    later.close()


def test_the_record_does_not_name_the_subject_and_shows_every_change_to_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, 5, batches=8)
    world.people[0].keys.append(person := 987654321)
    commit(world.catalog, world.bucket, "shop", {
        "customers": [{"id": str(person), "name": "Zoë", "_operation": "insert", "_sequence": "f/2"}],
    })  # fmt: skip
    names = named(world.catalog, ["shop.customers.id"], "", str(person))
    (record,) = announce(world.bucket, plan(world.catalog, world.bucket, names, SEAL, str(person)), SEAL.sign)
    close(world.bucket, rewrite_bucket(world.bucket, [record], SEAL.sign), SEAL.sign)
    stored = world.bucket.get("shop/rewrites/0000000001.json")
    assert b"987654321" not in stored and "Zoë".encode() not in stored
    (record,) = verify(world.bucket, "shop", SEAL)
    assert (record.state, record.rows, record.keys) == ("done", 1, [
        "shop.customers.id", "shop.orders.customer_id", "shop.visits.customer_id",
    ])  # fmt: skip
    assert record.subject == SEAL.subject(str(person)) != Seal("another key, as long").subject(str(person))
    for old, new in (
        (b'"rows": 1', b'"rows": 2'),
        (b"erasure", b"compaction"),
        (b"shop.orders", b"shop.odders"),
    ):
        assert old in stored
        world.bucket.put("shop/rewrites/0000000001.json", stored.replace(old, new, 1))
        with pytest.raises(ObjectDamaged):
            verify(world.bucket, "shop", SEAL)
    world.bucket.put("shop/rewrites/0000000001.json", stored)
    with pytest.raises(ObjectDamaged, match="signed with another key"):
        verify(world.bucket, "shop", Seal("another key, as long"))


def test_nothing_of_the_subject_is_left_in_any_object(tmp_path: Path) -> None:
    world = make_world(tmp_path, 6, batches=12)
    person = max(world.people, key=lambda one: len(one.orders))
    mark = f"{person.number:04d}"
    assert sum(mark in text for text in texts_of(world.bucket)) > 3
    close(world.bucket, erase(world, person), SEAL.sign)
    assert not any(mark in text for text in texts_of(world.bucket))
    there = {found.key for found in world.bucket.list("") if "/data/" in found.key}
    assert there == listed_keys(world.bucket, world.catalog)


def texts_of(bucket: Bucket) -> list[str]:
    """Every text in every data object, listed or not."""
    found = []
    for stored in bucket.list(""):
        if "/data/" in stored.key:
            frame = pl.read_parquet(io.BytesIO(bucket.get(stored.key)))
            found += [
                text for name in ("name", "nickname", "note", "record") if name in frame.columns
                for text in frame[name].drop_nulls()
            ]  # fmt: skip
    return found


def test_the_same_key_used_again_after_a_deletion_is_another_record(tmp_path: Path) -> None:
    bucket, catalog = open_bucket((tmp_path / "bucket").as_uri()), make_catalog(tmp_path / "catalog")

    def row(key: str, operation: str, ordinal: int, removal: bool = False) -> dict[str, str]:
        return {"id": key, "_operation": operation, "_sequence": f"{16:016x}/{ordinal * 2 + 2 - removal:08x}"}

    commit(catalog, bucket, "shop", {"customers": [
        row("1", "insert", 0), row("1", "delete", 1, removal=True), row("2", "update", 1),  # 1 becomes 2
        row("1", "insert", 2), row("1", "update", 3),  # somebody else is 1 now
    ]})  # fmt: skip
    names = named(catalog, ["shop.customers.id"], "", "2")
    records = announce(bucket, plan(catalog, bucket, names, SEAL, "2"), SEAL.sign)
    close(bucket, rewrite_bucket(bucket, records, SEAL.sign), SEAL.sign)
    left = replayed(catalog, bucket, tmp_path / "w.duckdb")["shop.customers"]
    assert [(dict(row)["_row"], dict(row)["_operation"]) for row in left] == [(3, "insert"), (4, "update")]


def test_a_number_is_found_however_it_is_written_and_a_text_only_as_it_is() -> None:
    assert {canonical(text, "integer") for text in ("17", "17.0", "1.7e1", "+17")} == {"17"}
    assert canonical("1700", "integer") == canonical("1.7e3", "decimal(12,2)")
    assert canonical("017", "text") == "017"
    assert canonical("nonsense", "integer") == "nonsense"
    assert canonical(None, "integer") is None


def test_what_cannot_be_found_is_told_with_what_there_is(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "catalog")
    with pytest.raises(CatalogError, match=r"there is no stream 'customer'.*Did you mean 'customers'"):
        named(catalog, ["shop.customer.id"], "", "1")
    with pytest.raises(CatalogError, match=r"declares no column 'mail' \(id, name\)"):
        named(catalog, ["shop.customers.mail"], "", "1")
    with pytest.raises(CatalogError, match=r"no column has the subject 'person' \(customer, order\)"):
        named(catalog, [], "person", "1")
    with pytest.raises(SettingMissing, match="less than 16 characters"):
        Seal("short")


CHILDREN = """
source: tracker
kind: rest
priority: 3
questions: ["Is it all there?"]
requested_by: [tests]
owner: {name: Tests, email: tests@example.com}
format: JSON
history: all
update_every: 1 hour
connection: {base_url: {variable: tracker-url}}
streams:
  issues:
    endpoint: /issues
    paging: {kind: single_page}
    replication: full_table
    primary_key: [number]
    columns: {number: {type: integer, subject: issue}}
  comments:
    endpoint: /issues/{parent.number}/comments
    parent: {stream: issues}
    paging: {kind: single_page}
    replication: full_table
    primary_key: [id]
    columns:
      id: {type: text}
      issue: {type: integer, parent: number, subject: issue}
"""


def test_children_go_with_the_parent_that_only_their_request_names(tmp_path: Path) -> None:
    (tmp_path / "tracker.yml").write_text(CHILDREN)
    catalog = Catalog([load_source(tmp_path / "tracker.yml")])
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    commit(catalog, bucket, "tracker", {
        "issues": [{"record": f'{{"number": {number}}}', "_request": "{}"} for number in (5, 6)],
        "comments": [
            {"record": '{"id": "a"}', "_request": '{"parent": {"number": "5"}}'},
            {"record": '{"id": "b"}', "_request": '{"parent": {"number": "6"}}'},
            {"record": "no JSON", "_request": '{"parent": {"number": 5}}'},
        ],
    })  # fmt: skip
    records = plan(catalog, bucket, named(catalog, ["tracker.issues.number"], "", "5.0"), SEAL, "5.0")
    close(bucket, rewrite_bucket(bucket, announce(bucket, records, SEAL.sign), SEAL.sign), SEAL.sign)
    left = replayed(catalog, bucket, tmp_path / "w.duckdb")
    assert [dict(row)["record"] for row in left["tracker.issues"]] == ['{"number": 6}']
    assert [dict(row)["record"] for row in left["tracker.comments"]] == ['{"id": "b"}']
