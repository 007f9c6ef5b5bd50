"""A stream that cannot be loaded is left out of landing and comes back; the other streams go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from groundwork import digests
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import StreamsQuarantined, WarehouseError
from groundwork.extract import extract
from groundwork.idle import load_if_new
from groundwork.landing import Loaded
from groundwork.load import load
from groundwork.manifest import read
from groundwork.replay import Wanted, replay
from groundwork.settings import Settings
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses import LandingBatch, open_warehouse
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.unit.test_replay import ENTRY, Open, commit, rows

FIRST, NEWEST = 4, 8


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """Eight batches of two streams."""
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    for number in range(1, NEWEST + 1):
        commit(bucket, rows("a", str(number)), rows("b", str(number)))
    return bucket


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return lambda: open_duckdb(tmp_path / "w.duckdb", who="a test")


def loaded(bucket: Bucket, opened: Open) -> Loaded:
    with opened() as warehouse:
        return load(ENTRY, bucket, warehouse)


def damaged(bucket: Bucket, number: int = FIRST, stream: str = "b") -> tuple[str, bytes]:
    """Flip a bit of an object; its key and what was there."""
    there = read(bucket, "shop", number)
    assert there is not None
    (key,) = [stored.key for stored in there.objects if stored.stream == stream]
    body = bucket.get(key)
    bucket.put(key, body[:-1] + bytes([body[-1] ^ 1]))
    return key, body


def batches(opened: Open, stream: str) -> list[int]:
    """The batches of landing's rows of a stream, in the order of loading."""
    with opened() as warehouse:
        found = warehouse.query(
            f"select _batch_id from landing.shop__{stream} order by _loaded_at, _batch_id"
        )
    return [int(name) for (name,) in found]


def digest(opened: Open) -> dict[str, digests.TableDigest]:
    with opened() as warehouse:
        return digests.take(warehouse, "w", layers=["landing"]).tables


def marks(opened: Open) -> list[tuple[str, int]]:
    with opened() as warehouse:
        found = warehouse.query("select stream, batch_id from landing._left_out order by 1")
    return [(stream, int(batch)) for stream, batch in found]


def upto(last: int, first: int = 1) -> list[int]:
    return list(range(first, last + 1))


def test_the_other_streams_are_loaded_and_the_run_fails(bucket: Bucket, opened: Open) -> None:
    key, _ = damaged(bucket)
    report = loaded(bucket, opened)
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(NEWEST), upto(FIRST - 1))
    assert marks(opened) == [("b", FIRST)] and list(report.left_out) == ["b"]
    with pytest.raises(
        StreamsQuarantined, match="left out: stream b is not loaded from batch 0000000004"
    ) as raised:
        report.insist()
    assert f"{bucket.url}/{key}" in str(raised.value) and "Restore the object" in str(raised.value)


def test_it_fails_with_the_same_words_until_it_is_mended_and_then_catches_up(
    bucket: Bucket, opened: Open
) -> None:
    key, body = damaged(bucket)
    first = loaded(bucket, opened).complaints
    commit(bucket, rows("a", "new"), rows("b", "new"))
    assert loaded(bucket, opened).complaints == first
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(9), upto(3))
    bucket.put(key, body)
    commit(bucket, rows("a", "newer"), rows("b", "newer"))
    report = loaded(bucket, opened)
    assert (report.left_out, report.caught_up, report.rows) == ({}, ["b"], {"a": 1, "b": 7})
    assert (batches(opened, "a"), batches(opened, "b"), marks(opened)) == (upto(10), upto(10), [])
    assert digest(opened) == digest(_elsewhere(bucket, opened))


def _elsewhere(bucket: Bucket, opened: Open) -> Open:
    """A warehouse that is loaded in one go."""
    with opened() as warehouse:
        file = Path(warehouse.place).with_name("elsewhere.duckdb")
    other: Open = lambda: open_duckdb(file, who="a test")  # noqa: E731
    loaded(bucket, other).insist()
    return other


def test_it_catches_up_to_the_next_damage(bucket: Bucket, opened: Open) -> None:
    key, body = damaged(bucket)
    damaged(bucket, 6)
    since = loaded(bucket, opened).left_out["b"].since
    bucket.put(key, body)
    mark = loaded(bucket, opened).left_out["b"]
    assert (mark.first, mark.since) == (6, since)
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(NEWEST), upto(5))


def test_a_value_that_the_warehouse_refuses_leaves_out_its_stream_alone(bucket: Bucket, opened: Open) -> None:
    """Refused by a constraint, since DuckDB takes every text."""
    loaded(bucket, opened)
    with opened() as warehouse:
        warehouse.query("alter table landing.shop__b add column more varchar")
        warehouse.query("update landing.shop__b set more = 'x'")
        warehouse.query("alter table landing.shop__b alter column more set not null")
    commit(bucket, rows("a", "9"), rows("b", "9", more=["y"]))
    commit(bucket, rows("a", "10"), rows("b", "10"))
    report = loaded(bucket, opened)
    assert list(report.left_out) == ["b"] and "ConstraintException" in report.left_out["b"].why
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(10), upto(9))


def test_both_streams_can_be_left_out(bucket: Bucket, opened: Open) -> None:
    kept = [damaged(bucket, 4, "b"), damaged(bucket, 4, "a")]
    with pytest.raises(StreamsQuarantined, match=r"stream a is not loaded .* stream b is not loaded"):
        loaded(bucket, opened)
        loaded(bucket, opened).insist()
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(3), upto(3))
    for key, body in kept:
        bucket.put(key, body)
    loaded(bucket, opened).insist()
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(NEWEST), upto(NEWEST))


def test_an_error_about_no_stream_stops_the_source(
    bucket: Bucket, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: DuckDB, batches: Sequence[LandingBatch], run_id: str) -> None:
        raise WarehouseError("the ledger", "is refused")

    monkeypatch.setattr(DuckDB, "land", refuse)
    with pytest.raises(WarehouseError, match="the ledger: is refused"):
        loaded(bucket, opened)
    with opened() as warehouse:
        assert warehouse.loaded("shop") == 0 and "_left_out" not in warehouse.tables("landing")


def test_a_stream_that_is_read_again_comes_back_without_what_is_lost(bucket: Bucket, opened: Open) -> None:
    damaged(bucket)
    loaded(bucket, opened)

    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield rows("b", "again")
            yield Checkpoint({}, heartbeat=True)

    extract(ENTRY, Source(), bucket, refresh=["b"])
    commit(bucket, rows("b", "after"))
    loaded(bucket, opened).insist()
    assert (batches(opened, "b"), marks(opened)) == ([1, 2, 3, 9, 10], [])


def test_a_kill_between_the_mark_and_the_batch_loses_nothing(
    bucket: Bucket, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, body = damaged(bucket)
    land, calls = DuckDB.land, []

    def killed(self: DuckDB, batches: Sequence[LandingBatch], run_id: str) -> None:
        calls.append(1)
        if marks_of(self):
            raise KeyboardInterrupt
        land(self, batches, run_id)

    def marks_of(warehouse: DuckDB) -> bool:
        return bool(warehouse.columns("landing", "_left_out")) and bool(
            warehouse.query("select 1 from landing._left_out")
        )

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DuckDB, "land", killed)
        loaded(bucket, opened)
    assert marks(opened) == [("b", FIRST)] and batches(opened, "a") == upto(FIRST - 1)
    bucket.put(key, body)
    report = loaded(bucket, opened)
    assert (report.left_out, marks(opened)) == ({}, [])
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(NEWEST), upto(NEWEST))


def test_no_note_says_that_nothing_is_new_while_a_stream_is_left_out(bucket: Bucket, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    bucket.put(f"artifacts/loaded/{settings.warehouse_name}/transform-everything.json", b"{}")

    def run() -> Loaded:
        return load_if_new(ENTRY, bucket, settings, lambda: open_warehouse(settings, who="a test"))

    key, body = damaged(bucket)
    assert list(run().left_out) == list(run().left_out) == ["b"]
    assert len(list(bucket.list("artifacts/loaded/"))) == 1
    bucket.put(key, body)
    assert run().caught_up == ["b"]
    left = [found.key.rpartition("/")[2] for found in bucket.list("artifacts/loaded/")]
    assert left == ["shop.json"], "the next build builds, though no batch is new"


# replay -------------------------------------------------------------------------------------------------


def test_a_replay_into_a_new_warehouse_leaves_a_stream_out_and_load_catches_up(
    bucket: Bucket, opened: Open
) -> None:
    key, body = damaged(bucket)
    report = replay(ENTRY, bucket, opened)
    with pytest.raises(StreamsQuarantined, match="stream b is not loaded from batch 0000000004"):
        report.insist()
    assert (batches(opened, "a"), batches(opened, "b")) == (upto(NEWEST), upto(3))
    bucket.put(key, body)
    loaded(bucket, opened).insist()
    assert digest(opened) == digest(_elsewhere(bucket, opened))


@pytest.mark.parametrize("streams", [(), ("b",)])
def test_a_replay_in_place_takes_nothing_away_that_it_cannot_replace(
    bucket: Bucket, opened: Open, streams: tuple[str, ...]
) -> None:
    loaded(bucket, opened)
    before = digest(opened)
    key, body = damaged(bucket)
    report = replay(ENTRY, bucket, opened, Wanted(streams))
    assert list(report.left_out) == ["b"] and marks(opened) == [("b", FIRST)]
    assert digest(opened) == before
    again = replay(ENTRY, bucket, opened, Wanted(streams))
    assert list(again.left_out) == ["b"] and digest(opened) == before
    bucket.put(key, body)
    replay(ENTRY, bucket, opened, Wanted(streams)).insist()
    assert (digest(opened), marks(opened)) == (before, [])


def test_a_replay_of_later_batches_does_not_bring_a_stream_back(bucket: Bucket, opened: Open) -> None:
    damaged(bucket)
    loaded(bucket, opened)
    report = replay(ENTRY, bucket, opened, Wanted(first=6))
    assert list(report.left_out) == ["b"]
    assert (sorted(batches(opened, "a")), batches(opened, "b")) == (upto(NEWEST), upto(3))
