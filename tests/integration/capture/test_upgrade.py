# ruff: noqa: E501, RUF043 (statements and messages read better in one line)
"""From one major version of PostgreSQL to the next: `pg_upgrade`, or dump and restore."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from demo.service import ServiceError, free_port
from groundwork import catalog
from groundwork.errors import SlotLost
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.versions.servers import chosen

SETTINGS = {"max_prepared_transactions": "10"}


class Upgraded(Capture):
    """A source whose catalog may say which cluster it was before."""

    upgraded_from = ""

    @property
    def entry(self) -> catalog.PostgresSource:
        entry = super().entry
        changed = entry.connection.model_copy(update={"upgraded_from": self.upgraded_from})
        return entry.model_copy(update={"connection": changed})

    def move_to(self, server: Postgres) -> None:
        self.database = Database(server, self.database.name)
        self.url = self.database.url()


def complete() -> Path | None:
    """This run's PostgreSQL, if it has the programs that `pg_upgrade` asks of the old one; else the wheel's."""
    programs = chosen()
    return programs if programs and (programs / "pg_controldata").exists() else None


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Postgres]:
    with Postgres(tmp_path / "old", durable=False, settings=SETTINGS, programs=complete()) as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        yield running


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Postgres]:
    """A server of 18 that has not been started yet."""
    server = Postgres(tmp_path / "new", durable=False, settings=SETTINGS)
    try:
        yield server
    finally:
        server.stop()


def filled(server: Postgres, directory: Path) -> Upgraded:
    database = Database(server, "shop")
    server.sql("create database shop")
    database.sql(
        "create table items (id int primary key, t text, gone int, kind text);"
        "insert into items select i, 'item ' || i, 1, repeat(md5(i::text), 300) from generate_series(1, 50) i;"
        "alter table items drop column gone;"
        "create table moves (id int, at date, primary key (id, at)) partition by range (at);"
        "create table moves_1 partition of moves for values from ('2026-01-01') to ('2027-01-01');"
        "insert into moves values (1, '2026-03-01')"
    )
    database.publish("items", "moves")
    source = Upgraded(
        database, directory, items=("public.items", ["id"]), moves=("public.moves", ["id", "at"])
    )
    source.run()
    database.sql("update items set t = 'changed' where id < 10; insert into moves values (2, '2026-04-01')")
    source.run()
    return source


def upgrade(old: Postgres, new: Postgres, *words: str) -> None:
    """Both stand still; what the new one is made of is the old one's."""
    if not new.data.exists():
        new.directory.mkdir()
        shutil.copy(old.directory / "password", new.directory / "password")
        new.prepare()
        if old.major_version < 18:  # made without checksums, which pg_upgrade does not add
            new.run_program("pg_checksums", "--disable", "--no-sync", f"--pgdata={new.data}")
    sockets = Path(tempfile.mkdtemp(prefix="upgrade-"))
    new.own(sockets)
    options = " ".join(
        f"-c {name}={old.settings[name]}"
        for name in ("wal_level", "max_replication_slots", "max_prepared_transactions", "fsync")
    )
    try:
        new.run_program(
            "pg_upgrade", f"--old-bindir={old.programs}", f"--new-bindir={new.programs}",
            f"--old-datadir={old.data}", f"--new-datadir={new.data}", f"--socketdir={sockets}",
            "--username=postgres", f"--old-port={free_port()}", f"--new-port={free_port()}",
            f"--old-options={options}", f"--new-options={options}", "--no-sync", *words,
            environment={"PGPASSWORD": old.password},
        )  # fmt: skip
    finally:
        shutil.rmtree(sockets)


def test_after_pg_upgrade_with_its_slot_a_source_is_read_on(
    old: Postgres, new: Postgres, tmp_path: Path
) -> None:
    source = filled(old, tmp_path)
    # The run before has left a message of its own in the log: it must be acknowledged too.
    source.run()
    source.database.sql("select pg_logical_emit_message(true, 'groundwork', 'checkpoint')")
    assert source.run().rows == {}
    before = source.manifests[-1]
    old.stop()
    upgrade(old, new)
    new.start()
    source.move_to(new)
    source.database.sql("insert into items values (101, 'on the new server', null)")
    source.database.sql("update moves set at = '2026-05-01' where id = 1; delete from items where id = 20")
    if old.major_version < 17:  # pg_upgrade leaves slots behind
        refreshed_after_refusal(source, "another database cluster than the one read so far")
        return
    with pytest.raises(
        SlotLost, match=r"another database cluster.*write `upgraded_from: \"\d+\"` in the catalog"
    ):
        source.run()
    source.upgraded_from = before.cursors["_log"]["system"]
    report = source.run()
    assert report.operations == {"insert": 1, "delete": 2, "update": 1}
    source.assert_equal_to_the_source()
    assert [e["event"] for m in source.manifests for e in m.events] == ["cluster_upgraded"]
    source.database.sql("alter table items add column extra text default 'filled'; delete from moves")
    source.run()  # the catalog need not be changed back
    source.assert_equal_to_the_source()


def test_pg_upgrade_itself_refuses_what_was_not_read_yet(
    old: Postgres, new: Postgres, tmp_path: Path
) -> None:
    """That is why the slot's position after it continues ours."""
    if old.major_version < 17:
        pytest.skip("pg_upgrade knows logical slots from 17 on")
    source = filled(old, tmp_path)
    source.database.sql("delete from items where id = 1")
    old.stop()
    with pytest.raises(ServiceError, match="pg_upgrade failed"):
        upgrade(old, new, "--check")
    old.start()
    source.run()
    old.stop()
    upgrade(old, new, "--check")


def test_another_cluster_is_never_taken_for_an_upgraded_one(
    old: Postgres, new: Postgres, tmp_path: Path
) -> None:
    source = filled(old, tmp_path)
    new.start()
    new.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
    new.sql("create database shop")
    source.move_to(new)
    source.database.sql(
        "create table items (id int primary key); create table moves (id int, at date, primary key (id, at))"
    )
    source.database.publish("items", "moves")
    with pytest.raises(SlotLost, match="another database cluster"):
        source.run()
    source.upgraded_from = "7000000000000000000"  # of yet another
    with pytest.raises(SlotLost, match="another database cluster"):
        source.run()
    source.upgraded_from = source.manifests[-1].cursors["_log"]["system"]
    # An empty cluster of this version may end before or after the WAL that was read.
    with pytest.raises(SlotLost, match="slot .* is gone|history went back"):
        source.run()


def test_a_dump_restored_in_18_is_read_by_a_full_refresh(new: Postgres, tmp_path: Path) -> None:
    with Postgres(tmp_path / "before", durable=False, programs=chosen()) as before:
        before.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        source = filled(before, tmp_path)
        dump = tmp_path / "shop.sql"
        dump.touch()
        dump.chmod(0o666)
        new.start()
        new.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        new.sql("create database shop")
        new.run_program("pg_dump", f"--dbname={before.url('shop')}", f"--file={dump}")
    new.run_program("psql", f"--dbname={new.url('shop')}", "--set=ON_ERROR_STOP=1", f"--file={dump}")
    source.move_to(new)
    source.database.sql("insert into items values (101, 'on the new server', null)")
    refreshed_after_refusal(source, "another database cluster than the one read so far")


def refreshed_after_refusal(source: Upgraded, message: str) -> None:
    """The way out of a lost slot: what is read then counts as newer, whatever the log's positions are."""
    last = max(row["_sequence"] for row in source.landed("items"))
    with pytest.raises(SlotLost, match=f"{message}.*full-refresh"):
        source.run()
    source.run(full_refresh=True)
    source.assert_equal_to_the_source()
    source.database.sql("update items set t = 'changed again' where id = 2; delete from moves where id = 2")
    source.run()
    source.assert_equal_to_the_source()
    fresh = [row["_sequence"] for row in source.landed("items") if row["t"] == "changed again"]
    assert len(fresh) == 1
    assert fresh[0] > last
