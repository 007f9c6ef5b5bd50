"""Replay: the same landing from the bucket alone, whole or in part, and continued by its id."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import groundwork.replay as module
from groundwork import digests, manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import CatalogError, ObjectDamaged
from groundwork.extract import extract
from groundwork.load import load
from groundwork.manifest import manifest_key, read
from groundwork.replay import make_ready, replay
from groundwork.replay_records import REPLAYS, Records
from groundwork.replay_scope import Wanted, bound
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses import LandingBatch
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.capture import entry

ENTRY = entry({"a": ("public.a", ["id"]), "b": ("public.b", ["id"])})
Open = Callable[[], AbstractContextManager[DuckDB]]


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """Ten batches: a row of `a` in each, of `b` in every second, one of a stream that left the catalog."""
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    for number in range(1, 11):
        frames = [rows("a", str(number))]
        frames += [rows("b", str(number))] if number % 2 == 0 else []
        frames += [rows("gone", "7")] if number == 3 else []
        commit(bucket, *frames)
    return bucket


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return lambda: open_duckdb(tmp_path / "w.duckdb", who="a test")


def rows(stream: str, *identities: str, **more: list[str]) -> Rows:
    return Rows(stream, pl.DataFrame({"id": list(identities), **more}))


def commit(bucket: Bucket, *frames: Rows) -> None:
    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield from frames
            yield Checkpoint({}, heartbeat=True)

    extract(ENTRY, Source(), bucket)


def landed(opened: Open) -> digests.Digests:
    with opened() as warehouse:
        return digests.take(warehouse, "w", layers=["landing"])


def loaded(opened: Open, bucket: Bucket) -> digests.Digests:
    with opened() as warehouse:
        load(ENTRY, bucket, warehouse)
    return landed(opened)


def batches(opened: Open, where: str = "true") -> list[int]:
    with opened() as warehouse:
        found = warehouse.query(f"select distinct _batch_id from landing.shop__a where {where} order by 1")
    return [int(name) for (name,) in found]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches so large that each is landed alone."""
    monkeypatch.setattr("groundwork.fetching.GROUP_ROWS", 1)


class Cut(BaseException):
    """A process that is killed here."""


def killing(monkeypatch: pytest.MonkeyPatch, batch: int) -> Callable[[], None]:
    """Kill whoever lands this batch, after its transaction was begun; returns how to stop that."""
    original = DuckDB._enter

    def cut(self: DuckDB, batches: Sequence[object], loaded_at: object, run_id: str) -> None:
        if batch in [getattr(one, "batch_id", 0) for one in batches]:
            raise Cut
        original(self, batches, loaded_at, run_id)  # type: ignore[arg-type]

    monkeypatch.setattr(DuckDB, "_enter", cut)
    return lambda: monkeypatch.setattr(DuckDB, "_enter", original)


def test_a_warehouse_that_was_destroyed_is_the_same_after_a_replay(
    bucket: Bucket, opened: Open, tmp_path: Path
) -> None:
    before = loaded(opened, bucket)
    assert before.tables["landing.shop__a"].rows == 10
    (tmp_path / "w.duckdb").unlink()
    report = replay(ENTRY, bucket, opened)
    assert (report.batches, report.rows) == (list(range(1, 11)), {"a": 10, "b": 5, "gone": 1})
    assert digests.differing(landed(opened), before) == {}
    replay(ENTRY, bucket, opened)
    assert digests.differing(landed(opened), before) == {}


def test_what_no_batch_brought_is_gone_after_a_whole_replay_and_other_sources_are_left(
    bucket: Bucket, opened: Open
) -> None:
    before = loaded(opened, bucket)
    with opened() as warehouse:
        warehouse.query("update landing.shop__a set id = 'altered' where id = '1'")
        warehouse.query(
            "insert into landing.shop__a by name (select * replace ('0000000099' as _batch_id)"
            " from landing.shop__a where id = '2')"
        )
        warehouse.query("insert into landing.shop__b by name select * from landing.shop__a where id = '3'")
        # a source whose name begins with ours
        warehouse.query("create table landing.shop__x__a as select * replace ('shop__x/data/a' as _file)"
                        " from landing.shop__a")  # fmt: skip
        others = warehouse.digest("landing", "shop__x__a", ())
    assert digests.differing(landed(opened), before)
    replay(ENTRY, bucket, opened)
    assert digests.differing(landed(opened), before, before.tables) == {}
    with opened() as warehouse:
        assert warehouse.digest("landing", "shop__x__a", ()) == others


def test_a_replay_that_was_killed_goes_on_where_it_was(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(opened, bucket)
    spared = killing(monkeypatch, 6)
    with pytest.raises(Cut):
        replay(ENTRY, bucket, opened, replay_id="first")
    assert batches(opened) == list(range(1, 11)), "landing is complete at every moment"
    spared()
    told: list[tuple[int, int, int]] = []
    report = replay(ENTRY, bucket, opened, replay_id="first", progress=lambda *step: told.append(step))
    assert report.batches == [6, 7, 8, 9, 10]
    assert told[0][:2] == (6, 10)
    assert told[-1] == (10, 10, sum(report.rows.values()))
    assert digests.differing(landed(opened), before) == {}
    assert replay(ENTRY, bucket, opened, replay_id="first").batches == [], "it is complete"
    assert replay(ENTRY, bucket, opened).batches == list(range(1, 11)), "another one loads all"


def test_a_replay_does_not_care_for_one_that_was_cut_short_before(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(opened, bucket)
    spared = killing(monkeypatch, 6)
    with pytest.raises(Cut):
        replay(ENTRY, bucket, opened, replay_id="old")
    spared()
    with opened() as warehouse:
        warehouse.query("delete from landing.shop__a where id < '5'")
    assert replay(ENTRY, bucket, opened).batches == list(range(1, 11))
    assert digests.differing(landed(opened), before) == {}


def test_a_replay_that_is_continued_loads_what_was_lost_of_its_batches_meanwhile(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(opened, bucket)
    spared = killing(monkeypatch, 6)
    with pytest.raises(Cut):
        replay(ENTRY, bucket, opened, replay_id="old")
    spared()
    with opened() as warehouse:
        warehouse.query("delete from landing.shop__a where id = '3'")
    commit(bucket, rows("a", "11"))
    loaded(opened, bucket)
    assert replay(ENTRY, bucket, opened, replay_id="old").batches == [3, 6, 7, 8, 9, 10]
    assert batches(opened) == list(range(1, 12)), "what came after it began stays"
    with opened() as warehouse:
        assert warehouse.query("select count(*) from landing._batches") == [(11,)]
        warehouse.query("delete from landing.shop__a where id = '11'")
        warehouse.query("delete from landing._batches where batch_id = '0000000011'")
        load(ENTRY, bucket, warehouse)
    assert digests.differing(landed(opened), before).keys() == {"landing._batches", "landing.shop__a"}


class SteppingClock:
    """A clock that is set by hours, back and ahead, each time it is read."""

    def __init__(self, *hours: int) -> None:
        self._hours, self._read = hours, 0

    def __call__(self) -> datetime:
        self._read += 1
        return datetime.now(UTC) + timedelta(hours=self._hours[self._read % len(self._hours)])


@pytest.mark.parametrize("hours", [(0, -1), (24, 0, -24), (-24, 24), (24,), (-24,)])
def test_no_step_of_the_clock_decides_what_a_replay_loads_or_removes(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch, hours: tuple[int, ...]
) -> None:
    monkeypatch.setattr("groundwork.warehouses.duckdb.now", SteppingClock(*reversed(hours)))
    before = loaded(opened, bucket)
    monkeypatch.setattr("groundwork.warehouses.duckdb.now", SteppingClock(*hours))
    monkeypatch.setattr("groundwork.replay_records.now", SteppingClock(*hours))
    spared = killing(monkeypatch, 6)
    with pytest.raises(Cut):
        replay(ENTRY, bucket, opened, replay_id="one")
    spared()
    with opened() as warehouse:
        ((newest,),) = warehouse.query("select max(_loaded_at) from landing.shop__a")
    assert replay(ENTRY, bucket, opened, replay_id="one").batches == [6, 7, 8, 9, 10]
    assert digests.differing(landed(opened), before) == {}
    assert batches(opened, f"_loaded_at > '{newest}'") == [6, 7, 8, 9, 10], "dbt takes them as new"


def test_an_id_is_of_one_replay(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(opened, bucket)
    with opened() as warehouse, pytest.raises(CatalogError, match="is no replay of the warehouse"):
        Records(warehouse).unfinished("mine")
    mine = make_ready([ENTRY], bucket, opened, Wanted(last=9))
    killing(monkeypatch, 6)
    with pytest.raises(Cut):
        replay(ENTRY, bucket, opened, Wanted(last=9), replay_id=mine)
    with pytest.raises(CatalogError, match="was begun for other streams or batches"):
        replay(ENTRY, bucket, opened, replay_id=mine)
    with opened() as warehouse:
        (record,) = Records(warehouse).unfinished(mine)
        assert (record.source, record.wanted, record.first, record.last) == ("shop", Wanted(last=9), 1, 9)
        with pytest.raises(CatalogError, match=f"Unfinished are: {mine}"):
            Records(warehouse).unfinished("another")


def test_a_replay_of_an_early_version_is_no_concern(bucket: Bucket, opened: Open) -> None:
    before = loaded(opened, bucket)
    with opened() as warehouse:
        warehouse.query(
            f"create table landing.{REPLAYS} as select 'shop' as source, 'all' as wanted,"
            " '0000000010' as last, timestamp '2026-01-01' as began_at, null::timestamp as ended_at"
        )
    assert replay(ENTRY, bucket, opened).batches == list(range(1, 11))
    assert digests.differing(landed(opened), before) == {}
    with opened() as warehouse, pytest.raises(CatalogError, match="Unfinished are: none"):
        Records(warehouse).unfinished("")


def test_one_stream_is_loaded_again_and_nothing_else_is_touched(bucket: Bucket, opened: Open) -> None:
    before = loaded(opened, bucket)
    with opened() as warehouse:
        (ledger,) = warehouse.query("select max(loaded_at) from landing._batches")
        warehouse.query("delete from landing.shop__b")
        (moment,) = warehouse.query("select max(_loaded_at) from landing.shop__a")
    report = replay(ENTRY, bucket, opened, Wanted(streams=("b",)))
    assert report.rows == {"b": 5}
    assert digests.differing(landed(opened), before) == {}
    with opened() as warehouse:
        assert warehouse.query("select max(loaded_at) from landing._batches") == [ledger]
        assert warehouse.query("select max(_loaded_at) from landing.shop__a") == [moment]
    with pytest.raises(CatalogError, match=r"replay of 'shop': has no stream 'c' \(a, b\)"):
        replay(ENTRY, bucket, opened, Wanted(streams=("c",)))


def test_one_stream_that_was_killed_goes_on(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(opened, bucket)
    original = DuckDB.land

    def cut(self: DuckDB, group: Sequence[LandingBatch], run_id: str) -> None:
        if group[0].manifest.batch_id == 6:
            raise Cut
        original(self, group, run_id)

    with monkeypatch.context() as patched:
        patched.setattr(DuckDB, "land", cut)
        with pytest.raises(Cut):
            replay(ENTRY, bucket, opened, Wanted(streams=("b",)), replay_id="b")
    done = replay(ENTRY, bucket, opened, Wanted(streams=("b",)), replay_id="b").batches
    assert not {2, 4} & set(done)
    assert {6, 8, 10} <= set(done)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(4, 6, [4, 5, 6]), (9, None, [9, 10]), (None, 2, [1, 2]), (7, 700, [7, 8, 9, 10]), (11, None, [])],
)
def test_a_range_of_batches_is_loaded_again_and_the_others_stay(
    bucket: Bucket, opened: Open, first: int | None, last: int | None, expected: list[int]
) -> None:
    before = loaded(opened, bucket)
    with opened() as warehouse:
        ((moment,),) = warehouse.query("select max(_loaded_at) from landing.shop__a")
    assert replay(ENTRY, bucket, opened, Wanted((), first, last)).batches == expected
    assert batches(opened, f"_loaded_at > '{moment}'") == expected
    assert digests.differing(landed(opened), before) == {}


def test_a_range_of_time_is_loaded_again(bucket: Bucket, opened: Open) -> None:
    loaded(opened, bucket)
    moments = {number: stored_at(bucket, number) for number in range(1, 11)}
    tick = timedelta(microseconds=1)
    for first, last, expected in [
        (moments[4], moments[6], [4, 5, 6]),
        (moments[4] + tick, moments[6] - tick, [5]),
        (moments[10] + tick, None, []),
        (None, moments[1] - tick, []),
        (moments[1] - tick, None, list(range(1, 11))),
    ]:
        assert replay(ENTRY, bucket, opened, Wanted((), first, last)).batches == expected


def test_a_range_of_time_leaves_no_gap_where_the_clock_was_set(
    bucket: Bucket, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundwork.manifest.now", lambda: datetime.now(UTC) + timedelta(days=1))
    commit(bucket, rows("a", "11"))
    monkeypatch.undo()
    commit(bucket, rows("a", "12"))
    for first, last, expected in [
        (None, stored_at(bucket, 12), list(range(1, 13))),
        (stored_at(bucket, 12), None, [11, 12]),
        (stored_at(bucket, 11), stored_at(bucket, 11), [11, 12]),
        (stored_at(bucket, 10), stored_at(bucket, 10), [10]),
    ]:
        assert replay(ENTRY, bucket, opened, Wanted((), first, last)).batches == expected


def stored_at(bucket: Bucket, number: int) -> datetime:
    there = read(bucket, "shop", number)
    assert there is not None
    return there.stored_at


def test_into_another_warehouse_up_to_a_time_and_on_from_there(
    bucket: Bucket, opened: Open, tmp_path: Path
) -> None:
    before = loaded(opened, bucket)

    def other() -> AbstractContextManager[DuckDB]:
        return open_duckdb(tmp_path / "other.duckdb", who="a test")

    assert replay(ENTRY, bucket, other, Wanted(last=stored_at(bucket, 7))).batches == list(range(1, 8))
    with other() as warehouse:
        assert load(ENTRY, bucket, warehouse).batches == [8, 9, 10]
    assert digests.differing(landed(other), before) == {}


def test_who_waits_has_its_turn_during_a_replay_and_what_it_loads_stays(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(opened, bucket)
    monkeypatch.setattr("groundwork.replay._TURN", 0.0)  # each turn is over at once
    commit(bucket, rows("a", "11"))
    order: list[str] = []

    def another() -> None:
        with opened() as warehouse:
            order.append(f"another loads {load(ENTRY, bucket, warehouse).batches}")

    waiting = threading.Thread(target=another)

    def step(done: int, total: int, rows_: int) -> None:
        if done == 5:
            waiting.start()
        order.append(f"replay {done}")

    replay(ENTRY, bucket, opened, Wanted(last=10), progress=step)
    waiting.join(30)
    assert "another loads [11]" in order[: order.index("replay 10")]
    assert replay(ENTRY, bucket, opened).batches == list(range(1, 12))
    assert batches(opened) == list(range(1, 12))


def test_a_batch_that_is_committed_and_loaded_during_a_whole_replay_stays(
    bucket: Bucket, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(opened, bucket)
    original = module.refuse_any_gap

    def committed_after_we_looked(bucket_: Bucket, source: str) -> int:
        newest = original(bucket_, source)
        commit(bucket, rows("a", "11"))
        with opened() as warehouse:
            load(ENTRY, bucket, warehouse)
        return newest

    monkeypatch.setattr(module, "refuse_any_gap", committed_after_we_looked)
    assert replay(ENTRY, bucket, opened).batches == list(range(1, 11))
    assert batches(opened) == list(range(1, 12))
    with opened() as warehouse:
        assert warehouse.loaded("shop") == 11


def test_a_gap_stops_a_replay_before_anything_is_loaded(bucket: Bucket, opened: Open) -> None:
    bucket.delete(manifest_key("shop", 4))
    with pytest.raises(ObjectDamaged, match=r"0000000004.json: is missing, though batch 0000000005 follows"):
        replay(ENTRY, bucket, opened)
    with opened() as warehouse:
        assert warehouse.tables("landing") == []


def test_a_bad_manifest_stops_a_replay_and_the_good_batches_are_in(
    bucket: Bucket, opened: Open, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = manifest.listed

    def listed(bucket_: Bucket, source: str, numbers: Sequence[int]) -> Iterator[manifest.Manifest]:
        for number in numbers:
            yield from original(bucket_, source, [number])

    monkeypatch.setattr("groundwork.manifest.listed", listed)
    kept = bucket.get(manifest_key("shop", 5))
    bucket.put(manifest_key("shop", 5), b"{}")
    with pytest.raises(ObjectDamaged, match="is not a manifest"):
        replay(ENTRY, bucket, opened, replay_id="one")
    there = batches(opened)
    assert there in ([1, 2], [1, 2, 3]), "reading is ahead of landing"
    bucket.put(manifest_key("shop", 5), kept)
    assert replay(ENTRY, bucket, opened, replay_id="one").batches == list(range(len(there) + 1, 11))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("12", 12),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T10:00+01:00", datetime(2026, 1, 31, 9, tzinfo=UTC)),
    ],
)
def test_a_bound_is_a_batch_or_a_time(text: str, expected: object) -> None:
    assert bound(text) == expected


@pytest.mark.parametrize("text", ["0", "tomorrow", "-3", "12.5"])
def test_what_is_neither_is_told(text: str) -> None:
    with pytest.raises(CatalogError, match="is no batch and no time"):
        bound(text)
