# ruff: noqa: E501 (statements and messages read better in one line)
"""A process that is killed with SIGKILL at any moment loses nothing and tells nothing twice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from groundwork.errors import ManifestConflict, SlotLost, SourceBusy
from groundwork.extract import extract, open_source
from groundwork.sources import postgres, slot
from tests.capture import Capture, Database, process, run_and_die

Captures = Callable[..., Capture]


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create table items (id bigint primary key, t text); create table notes (t text);"
        "alter table notes replica identity full;"
        "insert into items select i, 'item' from generate_series(1, 2000) i; insert into notes values ('a'), ('a')"
    )
    database.publish("items", "notes")
    return capture(items=("public.items", ["id"]), notes=("public.notes", []))


def change(database: Database) -> None:
    database.sql(
        "insert into items select max(id) + 1, 'new' from items; update items set id = id + 5000 where id % 97 = 0 and id < 5000;"
        "delete from items where id % 89 = 0; insert into notes values ('b'), ('b')"
    )
    database.sql(
        "delete from notes where ctid in (select min(ctid) from notes); update notes set t = 'c' where t = 'a'"
    )


IN_A_SNAPSHOT = {
    "before the copy": "dying(copying.Copying, 'rows')",
    "between two tables": "dying(copying.Copying, 'rows', 2)",
    "after an object is stored": "dying(local.LocalBucket, 'put', 1, after=True)",
    "while an object is stored": "dying(local.os, 'fsync')",
    "before the slot is made to last": "dying(slot, 'make_permanent')",
    "after the slot is made to last": "dying(slot, 'make_permanent', after=True)",
    "before the manifest": "dying(manifest, 'commit')",
    "after the manifest": "dying(manifest, 'commit', after=True)",
}

IN_THE_LOG = {
    "before anything is read": "dying(wire.Connection, 'start_stream')",
    "after the barrier is written": "dying(wire.Connection, 'receive')",
    "after an object is stored": "dying(local.LocalBucket, 'put', 1, after=True)",
    "before the manifest": "dying(manifest, 'commit')",
    "while the manifest is written": "dying(local.os, 'link')",
    "right after the manifest is linked": "dying(local.os, 'link', after=True)",
    "after the manifest and before the acknowledgement": "dying(wire.Connection, 'acknowledge')",
    "after the acknowledgement": "dying(wire.Connection, 'acknowledge', after=True)",
    "at the end of the stream": "dying(wire.Connection, 'end_stream', after=True)",
}


@pytest.mark.parametrize("moment", IN_A_SNAPSHOT)
def test_killed_in_the_first_run(items: Capture, database: Database, moment: str) -> None:
    run_and_die(items, IN_A_SNAPSHOT[moment])
    change(database)
    items.run()
    items.assert_equal_to_the_source()
    slots = database.server.sql(
        "select slot_name from pg_replication_slots where database = :n", n=database.name
    )
    assert slots == [[items.slot()]]


@pytest.mark.parametrize("moment", IN_THE_LOG)
def test_killed_while_reading_the_log(items: Capture, database: Database, moment: str) -> None:
    items.run()
    change(database)
    run_and_die(items, IN_THE_LOG[moment])
    change(database)
    items.run()
    items.assert_equal_to_the_source()
    change(database)
    items.run()
    items.assert_equal_to_the_source()
    places = [
        row["_sequence"] for row in items.landed("items") if row["_operation"] not in ("snapshot", "truncate")
    ]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    "moment",
    {
        "before the transaction": "dying(duckdb.DuckDB, '_transaction')",
        "between two tables": "dying(duckdb.DuckDB, '_insert', 2)",
        "before the ledger": "dying(duckdb.DuckDB, '_enter')",
        "after the ledger and before the commit": "dying(duckdb.DuckDB, '_enter', after=True)",
        "after the first batch": "fetching.GROUP_ROWS = 1; dying(duckdb.DuckDB, 'land', after=True)",
        "between batches": "fetching.GROUP_ROWS = 1; dying(duckdb.DuckDB, 'land', 2)",
    }.items(),
    ids=lambda moment: moment[0],
)
def test_killed_while_loading(items: Capture, database: Database, moment: tuple[str, str]) -> None:
    items.extract()
    change(database)
    items.extract()
    run_and_die(items, moment[1], what="load")
    with items.warehouse() as warehouse:
        there = warehouse.query("select count(*) from landing._batches")[0][0]
        rows = warehouse.query("select count(distinct _batch_id) from landing.shop__items")[0][0]
        assert there == rows == (1 if "batch" in moment[0] else 0)
    items.load()
    items.assert_equal_to_the_source()
    assert items.load().batches == []


def test_killed_again_and_again_it_still_arrives(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in (*list(IN_A_SNAPSHOT.values())[::3], *list(IN_THE_LOG.values())[::2]):
        change(database)
        assert process(items, moment, "extract").returncode in (0, -signal.SIGKILL)
    items.run()
    items.assert_equal_to_the_source()


def test_a_second_run_is_told_that_the_first_is_at_work(
    items: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "SECONDS_TO_WAIT", 0.5)
    source = open_source(items.entry, items.resolve, items.bucket)
    with source.claim(), pytest.raises(SourceBusy, match="source 'shop': another run reads this source now"):
        items.run()
    items.run()
    items.assert_equal_to_the_source()


def test_two_first_runs_at_once_end_in_one_history(items: Capture, database: Database) -> None:
    problems: list[Exception] = []

    def run() -> None:
        try:
            items.extract()
        except (SourceBusy, ManifestConflict) as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    change(database)
    for thread in threads:
        thread.join(60)
    items.run()
    items.assert_equal_to_the_source()
    assert len(problems) < 3


def test_a_run_without_a_claim_is_stopped_by_the_manifest(items: Capture, database: Database) -> None:
    """A run whose connection was cut may live on beside its successor: the manifest lets one of them in."""
    items.extract()
    database.sql("delete from items where id = 1")
    source = open_source(items.entry, items.resolve, items.bucket)
    reading = source.read(items.manifests[-1].cursors)
    first = next(reading)
    database.server.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'groundwork' and datname = :n",
        n=database.name,
    )
    items.run()

    class Late:
        def read(self, cursors: object) -> object:
            yield first
            yield postgres.Checkpoint({})

    with pytest.raises(ManifestConflict, match="another run committed this batch first"):
        stale = items.bucket
        original = stale.exists
        stale.exists = lambda key: original(key) and not key.endswith("2.json")  # as it was when it began
        try:
            extract(items.entry, Late(), stale)
        finally:
            del stale.exists
    items.run()
    items.assert_equal_to_the_source()


def lose(database: Database, items: Capture, how: str) -> None:
    name = items.slot()
    if how in ("dropped", "made anew"):
        database.sql(f"select pg_drop_replication_slot('{name}')")
    if how == "made anew":
        database.sql(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    if how == "advanced":
        database.sql(f"select pg_replication_slot_advance('{name}', pg_current_wal_lsn())")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("dropped", "is gone. Changes after .* were not kept for us"),
        ("made anew", "stands at .*, the bucket ends at"),
        ("advanced", "stands at .*, the bucket ends at"),
    ],
)
def test_a_lost_slot_is_refused_and_a_full_refresh_heals(
    items: Capture, database: Database, how: str, message: str
) -> None:
    items.run()
    change(database)
    lose(database, items, how)
    before = len(items.manifests)
    for _ in range(2):
        with pytest.raises(SlotLost, match=message) as caught:
            items.run()
    assert "python -m groundwork full-refresh" in str(caught.value)
    assert len(items.manifests) == before
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()
    change(database)
    items.run()
    items.assert_equal_to_the_source()


def test_a_full_refresh_that_is_killed_leaves_the_old_slot_until_the_copy_is_done(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.run()
    change(database)

    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(slot, "make_permanent", fails)
        patched.setattr(slot, "drop", fails)
        with pytest.raises(KeyboardInterrupt):
            items.run(full_refresh=True)
    items.run()
    items.assert_equal_to_the_source()


def test_another_cluster_is_refused_and_a_full_refresh_counts_as_newer(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.run()
    known = items.manifests[-1]
    elsewhere = known.cursors | {"_log": known.cursors["_log"] | {"system": "7000000000000000000"}}
    with pytest.raises(SlotLost, match="another database cluster"):
        list(open_source(items.entry, items.resolve, items.bucket).read(elsewhere))
    # A cluster whose log begins anew: its positions are lower than those we know.
    high = known.cursors | {"_log": known.cursors["_log"] | {"lsn": "FFFF/0"}}
    source = open_source(items.entry, items.resolve, items.bucket)
    forgotten = source.forget(high)
    database.sql("delete from items where id < 100")
    monkeypatch.setattr(postgres.PostgresSource, "forget", lambda *_: forgotten)
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()
    change(database)
    items.run()
    items.assert_equal_to_the_source()
    assert all(row["_sequence"].startswith("01") for row in items.landed("items")[-10:])


def test_an_invalidated_slot_is_refused(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.run()
    server = database.server
    try:
        server.sql("alter system set max_slot_wal_keep_size = '1MB'")
        server.sql("select pg_reload_conf()")
        database.sql("create table fill (t text)")
        for _ in range(8):
            database.sql("insert into fill select repeat(md5(i::text), 100) from generate_series(1, 6000) i")
            server.sql("select pg_switch_wal()")
            server.sql("checkpoint")
        state = "select wal_status from pg_replication_slots where slot_name = :s"
        assert server.sql(state, s=items.slot()) == [["lost"]]
        with pytest.raises(SlotLost, match="was invalidated by the server"):
            items.run()
        items.run(full_refresh=True)
        items.assert_equal_to_the_source()
    finally:
        server.sql("alter system reset max_slot_wal_keep_size")
        server.sql("select pg_reload_conf()")
