# ruff: noqa: E501 (statements and messages read better in one line)
"""A server whose disk was set back to an older snapshot: same system identifier, same timeline, another history."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from groundwork.errors import SlotLost
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.versions.servers import chosen

REFUSED = r"went back.*python -m groundwork full-refresh"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Postgres]:
    """A server whose disk can be copied."""
    with Postgres(tmp_path / "server", durable=False, programs=chosen()) as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        running.sql("create database shop")
        yield running


@pytest.fixture
def items(own: Postgres, tmp_path: Path) -> Capture:
    database = Database(own, "shop")
    database.sql("create table items (id bigint primary key, t text); insert into items values (1, 'first')")
    database.publish("items")
    return Capture(database, tmp_path, items=("public.items", ["id"]))


class Disk:
    """Keeps a copy of a server's disk, and puts it back."""

    def __init__(self, server: Postgres) -> None:
        self.server, self.copy = server, server.directory / "copy"

    def keep(self) -> None:
        self.server.stop()
        self._copied(self.server.data, self.copy)
        self.server.start()

    def put_back(self) -> None:
        self.server.stop()
        shutil.rmtree(self.server.data)
        self._copied(self.copy, self.server.data)
        self.server.start()

    def _copied(self, of: Path, to: Path) -> None:
        shutil.copytree(of, to)
        for path in (to, *to.rglob("*")):
            self.server.own(path)


def write(items: Capture, megabytes: int) -> None:
    items.database.sql("create table if not exists fill (t text)")
    for _ in range(megabytes):
        items.database.sql("insert into fill select repeat(md5(i::text), 32) from generate_series(1, 950) i")


def refused(items: Capture) -> None:
    began = time.monotonic()
    with pytest.raises(SlotLost, match=REFUSED):
        items.run()
    assert time.monotonic() - began < 60
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()
    items.database.sql("insert into items values (70, 'after'); update items set t = 'x' where id = 1")
    items.run()
    items.assert_equal_to_the_source()


@pytest.mark.parametrize("passed", [False, True], ids=["below the cursor", "past the cursor again"])
@pytest.mark.parametrize("rows", [False, True], ids=["no new rows", "new rows"])
def test_a_server_set_back_to_an_older_snapshot_is_refused(
    items: Capture, own: Postgres, *, passed: bool, rows: bool
) -> None:
    disk = Disk(own)
    items.run()
    disk.keep()
    items.database.sql("insert into items values (2, 'only in the first history')")
    items.run()
    disk.put_back()
    if rows:
        items.database.sql("insert into items values (3, 'only in the second history')")
    if passed:
        write(items, 2)
    lsn = items.manifests[-1].cursors["_log"]["lsn"]
    now = own.sql(f"select pg_current_wal_lsn() > '{lsn}'")
    assert now == [[passed]]
    refused(items)


def test_a_server_set_back_while_a_long_backlog_was_read_is_refused(
    items: Capture, own: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor then ends at somebody else's transaction, and not at a message of ours."""
    from groundwork.sources import changes

    items.run()
    disk = Disk(own)
    disk.keep()
    for number in range(10, 40):
        items.database.sql(f"insert into items values ({number}, 'only in the first history')")
    monkeypatch.setattr(changes, "BATCH_ROWS", 10)
    items.run()
    disk.put_back()
    for number in range(10, 45):
        items.database.sql(f"insert into items values ({number}, 'only in the secnd history')")
    write(items, 1)
    refused(items)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_server_that_crashed_and_lost_our_acknowledgement_is_read_on(
    items: Capture, own: Postgres, monkeypatch: pytest.MonkeyPatch, *, acknowledged: bool
) -> None:
    from groundwork.sources.wire import Connection

    items.run()
    items.database.sql("insert into items values (2, 'second')")
    if not acknowledged:
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "acknowledge", lambda *_, **__: None)
            items.run()
    else:
        items.run()
    own.kill()
    own.start()
    confirmed, lsn = (
        own.sql("select confirmed_flush_lsn::text from pg_replication_slots")[0][0],
        items.manifests[-1].cursors["_log"]["lsn"],
    )
    assert confirmed < lsn
    items.database.sql("insert into items values (3, 'third')")
    items.run()
    items.assert_equal_to_the_source()
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+@\d+", items.manifests[-1].cursors["_log"]["commit"])
