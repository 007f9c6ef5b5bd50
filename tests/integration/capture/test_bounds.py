"""Every wait for the source has an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groundwork.errors import SourceLocked, SourceUnreachable
from groundwork.sources import catching_up, incoming, signing_in, waiting, wire
from tests.capture import Capture, Database, needs
from tests.integration.capture.test_standby import Failover

Captures = Callable[..., Capture]


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql("create table items (id bigint primary key, t text); insert into items values (1, 'first')")
    database.publish("items")
    return capture(items=("public.items", ["id"]))


def test_a_table_that_is_locked_is_not_waited_for_for_ever(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(wire.PINNED, "lock_timeout", "500ms")
    items.run()
    database.sql("create table others (id bigint primary key); insert into others values (1)")
    database.sql("alter publication groundwork add table others")
    database.let_read()
    items.streams["others"] = ("public.others", ["id"])
    with database.connection() as forgotten:
        forgotten.run("begin")
        forgotten.run("lock table others in access exclusive mode")
        database.sql("insert into items values (2, 'second')")
        if database.server.major_version < 16:
            report = items.run()
            assert "lock timeout" in report.quarantined["others"]["why"]
            assert report.rows == {"items": 1}
        else:  # to list what is published takes a lock itself
            with pytest.raises(SourceLocked, match=r"lock timeout.*End the session that holds the lock"):
                items.run()
        forgotten.run("commit")
    items.run()
    items.assert_equal_to_the_source()


def test_a_copy_does_not_wait_for_an_open_transaction_for_ever(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.5)
    with database.connection() as forgotten:
        forgotten.run("begin")
        forgotten.run("insert into items values (1000, 'open')")
        with pytest.raises(SourceLocked, match=r"a transaction has been open for more than.*End it"):
            items.run()
        forgotten.run("commit")
    items.run()
    items.assert_equal_to_the_source()


def test_a_server_that_comes_no_further_is_not_waited_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds changes back until a standby has them, and the standby is gone."""
    needs(database.server, 17, "slots that outlive a failover")
    database.sql("create table items (id bigint primary key, t text)")
    database.publish("items")
    source = Failover(database, tmp_path, items=("public.items", ["id"]))
    source.run()
    database.sql("select pg_create_physical_replication_slot('gone', true)")
    database.sql("alter system set synchronized_standby_slots = 'gone'")
    try:
        database.sql("select pg_reload_conf()")
        database.sql("insert into items values (2, 'second')")
        monkeypatch.setattr(catching_up, "STALLED_SECONDS", 2.0)
        with pytest.raises(SourceUnreachable, match=r"the server sends nothing.*synchronized_standby_slots"):
            source.run()
    finally:
        database.sql("alter system reset synchronized_standby_slots")
        database.sql("select pg_reload_conf()")
        database.sql("select pg_drop_replication_slot('gone')")
    source.run()
    source.assert_equal_to_the_source()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = []
        taking = threading.Thread(target=lambda: taken.append(listening.accept()), daemon=True)
        taking.start()
        yield listening.getsockname()[1]
        taking.join(5)
        for connection, _ in taken:
            connection.close()


def test_a_server_that_says_nothing_is_not_waited_for(
    items: Capture, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "SILENT_SECONDS", 0.5)
    items.url = f"postgresql://groundwork:x@127.0.0.1:{silent}/shop?sslmode=disable"
    with pytest.raises(SourceUnreachable, match="the server said nothing for"):
        items.run()


def test_a_stream_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "SILENT_SECONDS", 0.3)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        receiving = incoming.Incoming(ours, "source 'shop'")
        with pytest.raises(SourceUnreachable, match="the server said nothing for"):
            for _ in range(100):
                receiving.gather()
