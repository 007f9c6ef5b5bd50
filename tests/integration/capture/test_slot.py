# ruff: noqa: E501 (statements and messages read better in one line)
"""How much log the server holds back for us: measured, told, and given up where the policy says so."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundwork import catalog, slot_watch
from groundwork.errors import SlotLost
from groundwork.extract import open_source
from groundwork.sources import retention, waiting
from tests.capture import Capture, Database, entry, run_and_die
from tests.conditions import until

Captures = Callable[..., Capture]


class Limited(Capture):
    """A source whose catalog has a policy for its slot."""

    policy: dict[str, Any]

    @property
    def entry(self) -> catalog.PostgresSource:
        plain = entry(self.streams)
        lag = catalog.SlotLag.model_validate(self.policy)
        return plain.model_copy(update={"connection": plain.connection.model_copy(update={"slot_lag": lag})})

    def watch(self) -> str:
        return slot_watch.look(self.entry, self.bucket, self.resolve)


@pytest.fixture
def items(database: Database, tmp_path: Path) -> Limited:
    database.sql(
        "create table items (id bigint primary key, t text); create table fill (t text);"
        "insert into items select i, 'item' from generate_series(1, 100) i"
    )
    database.publish("items")
    source = Limited(database, tmp_path, items=("public.items", ["id"]))
    source.policy = {"alert": "5 GB"}
    return source


@pytest.fixture
def keep_size(database: Database) -> Iterator[Callable[[str], None]]:
    """``keep_size("64MB")``: what the server keeps for slots at most."""
    server = database.server

    def limited(size: str) -> None:
        server.sql(f"alter system set max_slot_wal_keep_size = '{size}'")
        server.sql("select pg_reload_conf()")

    yield limited
    server.sql("alter system reset max_slot_wal_keep_size")
    server.sql("select pg_reload_conf()")


def write_log(database: Database, megabytes: int) -> None:
    for _ in range(megabytes):
        database.sql("insert into fill select repeat(md5(i::text), 32) from generate_series(1, 950) i")


def slots(database: Database) -> list[str]:
    found = database.sql("select slot_name from pg_replication_slots where database = :n", n=database.name)
    return [name for (name,) in found]


def test_every_run_tells_what_the_slot_holds_back_before_and_after(
    items: Limited, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    items.run()
    write_log(database, 18)  # so much, that the slot is moved although nothing is ours
    report = items.run()
    before, after = report.slot["before"], report.slot["after"]
    assert report.slot["name"] == items.slot()
    assert before["behind"] > 17 << 20 > after["behind"]
    assert before["held"] >= before["behind"] and after["held"] >= after["behind"]
    assert before["wal_status"] == after["wal_status"] == "reserved"
    lines = [line for line in caplog.messages if line.startswith("slot source=shop when=")]
    assert any(f"when=before held={before['held']} behind={before['behind']}" in line for line in lines)
    assert any(f"when=after held={after['held']}" in line for line in lines)
    with items.warehouse() as warehouse:
        ledger = warehouse.query("select slot from landing._batches order by batch_id")
    assert json.loads(ledger[-1][0])["before"] == before


def test_a_run_without_anything_new_measures_and_writes_nothing(items: Limited) -> None:
    items.run()
    items.run()
    batches = len(items.manifests)
    report = items.run()
    assert len(items.manifests) == batches
    assert report.slot.keys() == {"name", "before", "after"}


def test_the_watch_calls_for_help_from_the_alert_on(items: Limited, database: Database) -> None:
    assert items.watch() == ""  # nothing was read yet
    items.run()
    assert items.watch() == ""
    items.policy = {"alert": "2 MB"}
    write_log(database, 3)
    assert "shop: slot 'groundwork_shop_" in items.watch()
    assert "of log (slot_lag.alert 2 MB)" in items.watch()
    assert "slot_lag.alert" in items.run().slot["concern"]  # a run notices it too
    assert slots(database) == [items.slot()]


def test_the_watch_calls_for_help_when_little_is_left_and_when_the_slot_is_lost(
    items: Limited, database: Database, keep_size: Callable[[str], None]
) -> None:
    items.run()
    keep_size("64MB")
    write_log(database, 52)
    told, written = items.watch(), 0
    while not told and written < 20:
        write_log(database, 2)
        told, written = items.watch(), written + 2
    assert "more (max_slot_wal_keep_size 64 MB)" in told or "next checkpoint" in told
    write_log(database, 60)
    database.server.sql("checkpoint")
    assert "was invalidated by the server" in items.watch()
    assert re.search(r"slot: .*was invalidated by the server.*full-refresh", items.troubles())
    with pytest.raises(SlotLost, match=r"was invalidated by the server.*full-refresh"):
        items.run()  # nobody decided on that: it stays an error
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()
    assert items.watch() == ""


def dropped(source: Capture) -> list[dict[str, Any]]:
    return [e for m in source.manifests for e in m.events if e["event"] == "slot_dropped"]


def test_past_the_policy_the_watch_drops_the_slot_and_the_next_run_copies_again(
    items: Limited, database: Database
) -> None:
    items.run()
    name = items.slot()
    items.policy = {"alert": "1 MB", "drop": "2 MB"}
    database.sql("update items set t = 'changed' where id < 50; delete from items where id = 50")
    write_log(database, 3)
    told = items.watch()
    assert f"slot '{name}' held back" in told and "was dropped (slot_lag.drop 2 MB)" in told
    assert "the next run copies its tables again" in told
    assert slots(database) == []
    (event,) = dropped(items)
    assert event["slot"] == name and event["held"] > event["drop"] == 2 << 20
    assert "slot" not in items.manifests[-1].cursors["_log"]
    assert items.watch() == ""  # said once
    items.load()
    items.run()
    items.assert_equal_to_the_source()
    database.sql("delete from items where id = 60")
    items.run()
    items.assert_equal_to_the_source()


def test_past_the_policy_a_run_drops_the_slot_and_copies_again_by_itself(
    items: Limited, database: Database
) -> None:
    items.run()
    items.policy = {"alert": "1 MB", "drop": "2 MB"}
    database.sql("delete from items where id = 50")
    write_log(database, 3)
    items.run()
    items.assert_equal_to_the_source()
    assert len(dropped(items)) == 1 and slots(database) == [items.slot()]
    operations = [o.operations for o in items.manifests[-1].objects + items.manifests[-2].objects]
    assert any(counts.get("snapshot") == 99 for counts in operations)


DROPPING = """
from groundwork import catalog
lag = catalog.SlotLag.model_validate({"alert": "1 MB", "drop": "2 MB"})
entry = entry.model_copy(update={"connection": entry.connection.model_copy(update={"slot_lag": lag})})
"""


@pytest.mark.parametrize(
    "moment",
    [
        "dying(manifest, 'commit')",
        "dying(manifest, 'commit', after=True)",
        "dying(slot, 'drop', after=True)",
        "dying(slot, 'create_temporary')",
        "dying(slot, 'make_permanent', after=True)",
        "dying(manifest, 'commit', 2, after=True)",
    ],
)
def test_killed_while_the_slot_is_dropped_the_next_run_goes_on(
    items: Limited, database: Database, moment: str
) -> None:
    items.run()
    database.sql("delete from items where id = 50")
    write_log(database, 3)
    run_and_die(items, DROPPING + moment)
    database.sql("delete from items where id = 51")
    items.run()
    items.assert_equal_to_the_source()
    assert slots(database) == [items.slot()]


def test_a_slot_that_a_run_reads_now_is_not_dropped(
    items: Limited, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundwork.sources import slot

    monkeypatch.setattr(slot, "SECONDS_TO_WAIT", 0.5)
    items.run()
    items.policy = {"alert": "1 MB", "drop": "2 MB"}
    write_log(database, 3)
    source = open_source(items.entry, items.resolve, items.bucket)
    with source.claim():  # type: ignore[attr-defined]
        assert "a run reads it now, so it was not dropped" in items.watch()
    assert slots(database) == [items.slot()]


def test_a_source_that_cannot_be_reached_is_told_by_the_watch(items: Limited) -> None:
    items.run()
    items.url = "postgresql://u:falsch-9c1e@127.0.0.1:1/d"
    told = items.watch()
    assert "shop: its slot cannot be looked at" in told and "falsch" not in told


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"alert": "5 gigs"}, "is not a size: write for example '500 MB'"),
        ({"alert": "5 GB", "drop": "4 GB"}, "drop: must be more than 'alert'"),
        ({"drop": "0 GB"}, "is not a size"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalog.SlotLag.model_validate(policy)


def test_a_snapshot_that_waits_for_old_transactions_says_so(
    items: Limited, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`CREATE_REPLICATION_SLOT` waits in silence until every transaction has ended that was open before it."""
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    told = threading.Event()
    caplog.handler.addFilter(
        lambda record: told.set() or True if "waiting for open transactions" in record.getMessage() else True
    )
    with database.connection() as forgotten:
        forgotten.run("begin")
        forgotten.run("insert into items values (1000, 'open')")
        ((pid,),) = forgotten.run("select pg_backend_pid()")
        run = threading.Thread(target=items.run)
        run.start()
        assert told.wait(30)
        forgotten.run("commit")
        run.join(60)
    (line, *_) = [m for m in caplog.messages if "waiting for open transactions" in m]
    assert "source=shop count=1" in line and str(pid) in line
    items.assert_equal_to_the_source()


def test_the_watch_finds_a_slot_that_holds_too_much_and_that_it_is_over(
    items: Limited, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.watch import look_at_slots

    items.run()
    described = json.loads(
        items.entry.model_dump_json(exclude_none=True, exclude={"connection": {"slot_lag"}})
    )
    described |= {"update_every": "1 hour"}
    described["connection"]["slot_lag"] = {"alert": "1 MB"}
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.yml").write_text(yaml.safe_dump(described))
    monkeypatch.setenv("GROUNDWORK_CATALOG", str(tmp_path / "catalog"))
    monkeypatch.setenv("GROUNDWORK_BUCKET", items.bucket.url)
    monkeypatch.setenv("SHOP_DATABASE_URL", items.url)
    assert look_at_slots.fn() == {"slot shop": {}}
    write_log(database, 2)
    (found,) = look_at_slots.fn()["slot shop"].values()
    assert (found.kind, found.source) == ("slot lag", "shop")
    assert re.search(r"shop: slot 'groundwork_shop_.*slot_lag.alert 1 MB", found.what)

    def released() -> bool:
        """What was read is let go once a record of running transactions is acknowledged: a checkpoint writes one."""
        database.server.sql("checkpoint")
        database.sql("insert into items values (500 + (select count(*) from items), 'something to commit')")
        items.run()
        return look_at_slots.fn() == {"slot shop": {}}

    until(released, what="the slot lets its log go")


def test_what_is_to_be_feared_of_a_slot() -> None:
    from groundwork.sources.slot import Standing

    policy = catalog.SlotLag()

    def concern(held: int, status: str, left: int | None = None, limit: int | None = None) -> str:
        return retention.concern_of("s", Standing(held, 0, status, left, limit), policy)

    giga = 1 << 30
    assert concern(4 * giga, "extended") == ""
    some = catalog.SlotLag.model_validate({"drop": "20 GB"})
    assert retention.is_past(Standing(20 * giga, 5 * giga, "extended", None, None), some)
    # What was read is let go by the server itself, a little later.
    assert not retention.is_past(Standing(20 * giga, 4 * giga, "extended", None, None), some)
    assert not retention.is_past(Standing(900 * giga, 900 * giga, "extended", None, None), policy)
    assert concern(5 * giga, "extended") == "slot 's' holds back 5 GB of log (slot_lag.alert 5 GB)"
    assert "may remove it at the next checkpoint" in concern(giga, "unreserved", 0, giga)
    assert "is lost after 1 GB more (max_slot_wal_keep_size 10 GB)" in concern(
        4 * giga, "extended", giga, 10 * giga
    )
    assert concern(4 * giga, "reserved", 3 * giga, 10 * giga) == ""
    assert "was invalidated" in concern(0, "lost")
