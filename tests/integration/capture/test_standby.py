# ruff: noqa: RUF043 (messages read better in one line)
"""Reading from a hot standby (PostgreSQL 16 and later), and going on after a failover (17 and later)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from demo.service import free_port
from groundwork import catalog
from groundwork.errors import SlotLost, SourceBusy, SourceRefused
from groundwork.extract import open_source
from groundwork.sources import changes
from tests.capture import PASSWORD, ROLE, Capture, Database, needs
from tests.conditions import until
from tests.standby import Standby, busy
from tests.versions.servers import chosen

Pair = tuple[Postgres, Standby]


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Postgres]:
    with Postgres(tmp_path / "primary", durable=False, programs=chosen()) as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        yield running


@pytest.fixture
def standby(primary: Postgres, tmp_path: Path) -> Iterator[Standby]:
    with Standby(tmp_path / "standby", primary) as running:
        yield running


@pytest.fixture
def database(primary: Postgres) -> Database:
    made = Database(primary, f"shop_{free_port()}")
    primary.sql(f'create database "{made.name}"')
    made.sql(
        "create table items (id int primary key, t text, big text);"
        "insert into items select i, 'item ' || i, repeat(md5(i::text), 200) from generate_series(1, 100) i"
    )
    made.publish("items")
    return made


def reading(server: Postgres, database: Database, directory: Path) -> Capture:
    return Capture(Database(server, database.name), directory, items=("public.items", ["id"]))


def test_a_standby_is_read_to_where_it_had_replayed(
    primary: Postgres, standby: Standby, database: Database, tmp_path: Path
) -> None:
    needs(primary, 16, "logical decoding on a standby")
    standby.wait_until_replayed()
    source = reading(standby, database, tmp_path)
    with busy(primary):
        source.run()
    source.assert_equal_to_the_source()
    database.sql("insert into items values (101, 'new', null); delete from items where id = 1")
    database.sql("update items set t = 'changed' where id < 10; update items set id = 500 where id = 20")
    standby.wait_until_replayed()
    report = source.run()
    assert report.operations == {"insert": 1, "delete": 2, "update": 9}
    source.assert_equal_to_the_source()
    # Nothing new: nothing is committed, and the run ends of itself.
    before = len(source.manifests)
    assert source.run().batches == []
    assert len(source.manifests) == before
    # A table that comes later is copied on the standby too.
    database.sql("create table notes (id int primary key); insert into notes values (1), (2)")
    database.sql("alter publication groundwork add table notes")
    database.let_read()
    standby.wait_until_replayed()
    source.streams["notes"] = ("public.notes", ["id"])
    with busy(primary):
        source.run()
    database.sql("insert into notes values (3); truncate items")
    standby.wait_until_replayed()
    source.run()
    source.assert_equal_to_the_source()


def test_a_standbys_slot_moves_though_nothing_is_for_us(
    primary: Postgres, standby: Standby, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(primary, 16, "logical decoding on a standby")
    monkeypatch.setattr(changes, "HEARTBEAT_BYTES", 1 << 20)
    standby.wait_until_replayed()
    source = reading(standby, database, tmp_path)
    with busy(primary):
        source.run()
    before = source.manifests[-1].cursors["_log"]["lsn"]
    database.sql(
        "create table quiet (t text); insert into quiet select repeat('x', 900) from generate_series(1, 5000)"
    )
    standby.wait_until_replayed()
    assert source.run().rows == {}
    assert source.manifests[-1].cursors["_log"]["lsn"] > before
    confirmed = standby.sql("select confirmed_flush_lsn::text from pg_replication_slots")
    assert confirmed == [[source.manifests[-1].cursors["_log"]["lsn"]]]
    with open_source(source.entry, source.resolve, source.bucket).claim(), pytest.raises(SourceBusy):
        source.run()


def test_a_standby_that_cannot_be_read_is_refused(
    primary: Postgres, standby: Standby, database: Database, tmp_path: Path
) -> None:
    standby.wait_until_replayed()
    source = reading(standby, database, tmp_path)
    if primary.major_version < 16:
        with pytest.raises(
            SourceRefused, match="is a standby of PostgreSQL.*Let the connection URL name the primary"
        ):
            source.run()
        assert "server: source 'shop': this is a standby of PostgreSQL" in source.troubles()
        return
    assert source.troubles() == ""
    standby.settings["hot_standby_feedback"] = "off"
    standby.restart()
    assert "server: source 'shop': this is a standby without hot_standby_feedback" in source.troubles()
    with pytest.raises(SourceRefused, match="a standby without hot_standby_feedback.*alter system set"):
        source.run()


@pytest.fixture
def failing_over(primary: Postgres, tmp_path: Path) -> Iterator[Standby]:
    """A standby that keeps copies of the primary's slots; the primary tells us nothing that it has not."""
    needs(primary, 17, "slots that outlive a failover")
    with Standby(tmp_path / "standby", primary, settings={"sync_replication_slots": "on"}) as running:
        primary.sql(f"alter system set synchronized_standby_slots = '{running.slot}'")
        primary.sql("select pg_reload_conf()")
        yield running


class Failover(Capture):
    """Reads by a slot that standbys keep."""

    @property
    def entry(self) -> catalog.PostgresSource:
        entry = super().entry
        return entry.model_copy(update={"connection": entry.connection.model_copy(update={"failover": True})})

    def move_to(self, server: Postgres) -> None:
        self.database = Database(server, self.database.name)
        self.url = self.database.url()


def kept(primary: Postgres, standby: Standby, capture: Capture) -> Callable[[], bool]:
    """Whether the standby has our slot, after one more run.

    It keeps it only once it stands where the standby's own log begins: later runs bring it there.
    """

    def there() -> bool:
        primary.sql("select pg_log_standby_snapshot()")
        capture.database.sql("update items set t = t || '.' where id = 99")
        capture.run()
        lsn = capture.manifests[-1].cursors["_log"]["lsn"]
        return standby.sql(
            "select 1 from pg_replication_slots where slot_name = :name and synced and not temporary"
            " and confirmed_flush_lsn >= cast(:lsn as pg_lsn)",
            name=capture.slot(), lsn=lsn,
        ) == [[1]]  # fmt: skip

    return there


def test_after_a_failover_the_promoted_server_is_read_on(
    primary: Postgres, failing_over: Standby, database: Database, tmp_path: Path
) -> None:
    source = Failover(database, tmp_path, items=("public.items", ["id"]))
    source.run()
    database.sql("insert into items values (101, 'read before', null)")
    source.run()
    until(kept(primary, failing_over, source), what="the slot is kept on the standby")
    database.sql("update items set t = 'read from the new one' where id < 50; delete from items where id = 7")
    failing_over.wait_until_replayed()
    primary.kill()
    failing_over.promote()
    source.move_to(failing_over)
    source.database.sql("insert into items values (102, 'written to the new one', null)")
    report = source.run()
    assert report.operations == {"update": 49, "delete": 1, "insert": 1}
    source.assert_equal_to_the_source()
    assert [m.cursors["_log"]["timeline"] for m in source.manifests[-2:]] == [1, 2]


def test_a_failover_that_lost_what_was_read_is_refused(
    primary: Postgres, failing_over: Standby, database: Database, tmp_path: Path
) -> None:
    """PostgreSQL would go on in silence, without what the new primary wrote below our position."""
    primary.sql("alter system reset synchronized_standby_slots")
    primary.sql("select pg_reload_conf()")
    source = Failover(database, tmp_path, items=("public.items", ["id"]))
    source.run()
    until(kept(primary, failing_over, source), what="the slot is kept on the standby")
    failing_over.stop()
    database.sql("insert into items select i, 'lost' from generate_series(1000, 3000) i")
    source.run()
    primary.kill()
    failing_over.settings["primary_conninfo"] = ""
    failing_over.start()
    failing_over.promote()
    source.move_to(failing_over)
    source.database.sql("insert into items select i, 'after' from generate_series(5000, 9000) i")
    with pytest.raises(
        SlotLost, match=r"a standby was promoted that had not received all.*left timeline 1 at"
    ):
        source.run()
    source.run(full_refresh=True)
    source.assert_equal_to_the_source()


def test_a_failover_without_the_slot_is_refused(
    primary: Postgres, standby: Standby, database: Database, tmp_path: Path
) -> None:
    source = reading(primary, database, tmp_path)
    source.run()
    standby.wait_until_replayed()
    primary.kill()
    standby.promote()
    promoted = reading(standby, database, tmp_path)
    with pytest.raises(SlotLost, match="slot .* is gone"):
        promoted.run()
    promoted.run(full_refresh=True)
    promoted.database.sql("delete from items where id < 5")
    promoted.run()
    promoted.assert_equal_to_the_source()


def test_failover_where_there_is_none_is_refused(server: Postgres, tmp_path: Path) -> None:
    if server.major_version >= 17:
        pytest.skip("PostgreSQL has slots that outlive a failover from 17 on")
    made = Database(server, f"shop_{free_port()}")
    server.sql(f'create database "{made.name}"')
    made.sql("create table items (id int primary key)")
    made.publish("items")
    try:
        with pytest.raises(SourceRefused, match="cannot keep a slot on its standbys.*from 17 on"):
            Failover(made, tmp_path, items=("public.items", ["id"])).run()
    finally:
        made.drop()
