# ruff: noqa: E501 (statements and messages read better in one line)
"""Each statement that a message suggests does what the message says, and nothing besides."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pg8000.native
import pytest

from demo.postgres import Postgres
from groundwork.discovery.tables import discover_postgres
from groundwork.errors import GroundworkError
from groundwork.sources import statements
from tests.capture import PASSWORD, Capture, Database, needs
from tests.integration.capture.test_setup import printed
from tests.versions.servers import chosen

Captures = Callable[..., Capture]
STATE = {
    "publications": "select oid, pubname, pubowner, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot from pg_publication",
    "published": "select pubname, schemaname, tablename, to_jsonb(t) ->> 'attnames', to_jsonb(t) ->> 'rowfilter' from pg_publication_tables t",
    "tables": "select oid::regclass::text, relreplident, relpersistence, relacl::text, relowner from pg_class where relnamespace <> 'pg_catalog'::regnamespace and relkind in ('r', 'p')",
    "columns": "select attrelid::regclass::text, attname, attacl::text from pg_attribute where attacl is not null",
    "schemas": "select nspname, nspacl::text from pg_namespace where nspname !~ '^pg_'",
    "database": "select datname, datacl::text from pg_database where datname = current_database()",
    "roles": "select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls from pg_roles where rolname ~ '^odd '",
    "settings": "select name, setting from pg_file_settings where sourcefile ~ 'postgresql.auto.conf'",
}


class World:
    """A database, and what a statement changed in it."""

    def __init__(self, database: Database, role: str) -> None:
        self.database, self.role = database, role

    def state(self) -> dict[str, set[tuple[Any, ...]]]:
        return {
            part: {tuple(map(str, row)) for row in self.database.sql(query)} for part, query in STATE.items()
        }

    def changed(self, statement: str) -> dict[str, tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]]:
        """Per part of the database: what is gone, and what is new."""
        before = self.state()
        with self.database.connection() as connection:
            for one in filter(None, map(str.strip, re.split(r";(?=\s|$)", statement))):
                connection.run(one)
        after = self.state()
        return {
            part: (before[part] - after[part], after[part] - before[part])
            for part in STATE
            if before[part] != after[part]
        }


@pytest.fixture
def world(database: Database) -> World:
    database.sql(
        'create schema "Odd ""s"; create table "Odd ""s"."t;1" ("Id" int primary key, v int, secret text);'
        "create table plain (id int primary key, v int); create publication theirs for table plain;"
        'create publication "odd ""p" for table plain'
    )
    return World(database, f'odd "{uuid.uuid4().hex[:8]}')


T = '"Odd ""s"."t;1"'
P = 'odd "p'


def test_a_table_is_added_and_taken_out_and_nothing_happens_to_the_others(world: World) -> None:
    assert list(world.changed(statements.add_tables(P, T))) == ["published"]
    gone, new = world.changed(statements.drop_table(P, T))["published"]
    assert ([row[:3] for row in gone], new) == ([(P, 'Odd "s', "t;1")], set())


def test_a_publication_is_made_and_its_options_are_set(world: World) -> None:
    changed = world.changed(
        statements.create_publication('new "p', f"{T}, only plain", "publish_via_partition_root = true")
    )
    assert set(changed) == {"publications", "published"}
    assert {row[2] for row in changed["published"][1]} == {"t;1", "plain"}
    changed = world.changed(statements.set_publication('new "p', "publish = 'insert, truncate'"))
    assert list(changed) == ["publications"]
    assert [row[1] for row in changed["publications"][0]] == ['new "p']


def test_a_table_is_published_with_other_columns_and_its_filter_stays(world: World) -> None:
    needs(world.database.server, 15, "column lists")
    world.database.sql(f'alter publication "odd ""p" add table {T} (v) where ("Id" > 5)')
    changed = world.changed(statements.publish_again(P, T, ["Id", "v"], '("Id" > 5)'))
    assert list(changed) == ["published"]
    ((*_, columns, row_filter),) = changed["published"][1]
    assert (columns, row_filter) == ('["Id", "v"]', '("Id" > 5)')
    ((*_, columns, row_filter),) = world.changed(statements.publish_again(P, T, [], '("Id" > 5)'))[
        "published"
    ][1]
    assert (columns, row_filter) == ('["Id", "v", "secret"]', '("Id" > 5)')


@pytest.mark.parametrize("identity", ["full", "default"])
def test_one_tables_replica_identity_changes(world: World, identity: str) -> None:
    world.database.sql(f"alter table {T} replica identity nothing")
    changed = world.changed(statements.replica_identity(T, identity))
    assert list(changed) == ["tables"]
    assert [row[1] for row in changed["tables"][1]] == [identity[0]]


def test_an_unlogged_table_is_logged_and_keeps_its_rows(world: World) -> None:
    world.database.sql(
        'create unlogged table "Odd ""s".u (id int primary key); insert into "Odd ""s".u values (1), (2)'
    )
    changed = world.changed(statements.set_logged('"Odd ""s".u'))
    assert list(changed) == ["tables"]
    assert [row[2] for row in changed["tables"][1]] == ["p"]
    assert world.database.sql('select count(*) from "Odd ""s".u') == [[2]]


def test_a_role_gets_each_right_and_no_other(world: World) -> None:
    role, database = world.role, world.database
    signed_in = pg8000.native.Connection
    try:
        changed = world.changed(statements.create_role(role).replace("…", PASSWORD))
        assert list(changed) == ["roles"]
        assert changed["roles"][1] == {(role, "False", "True", "False", "False", "True", "True", "False")}
        database.sql(
            f'alter role "{role.replace(chr(34), chr(34) * 2)}" noreplication; revoke connect on database "{database.name}" from public'
        )
        changed = world.changed(statements.let_read_the_log(role))
        assert [row[6] for row in changed["roles"][1]] == ["True"] and list(changed) == ["roles"]
        assert list(world.changed(statements.let_connect(role, database.name))) == ["database"]

        def reads(query: str) -> bool:
            place = {"host": "127.0.0.1", "port": database.server.port, "database": database.name}
            with signed_in(role, password=PASSWORD, ssl_context=False, **place) as connection:
                try:
                    connection.run(query)
                except pg8000.native.DatabaseError as error:
                    assert error.args[0]["C"] == "42501"
                    return False
                return True

        assert not reads(f'select "Id" from {T}')
        assert list(world.changed(statements.let_use(role, 'Odd "s'))) == ["schemas"]
        assert list(world.changed(statements.let_select(role, T, ["Id", "v"]))) == ["columns"]
        assert (
            reads(f'select "Id", v from {T}')
            and not reads(f"select secret from {T}")
            and not reads("select * from public.plain")
        )
        assert list(world.changed(statements.let_select(role, f"{T}, plain"))) == ["tables"]
        assert (
            reads(f"select secret from {T}")
            and reads("select * from public.plain")
            and not reads("delete from public.plain")
        )
        database.sql("alter table plain enable row level security; create policy none on plain using (false)")
        assert not reads("set row_security = off; select * from public.plain")
        changed = world.changed(statements.bypass_row_security(role))
        assert [row[7] for row in changed["roles"][1]] == ["True"] and list(changed) == ["roles"]
        assert reads("set row_security = off; select * from public.plain")
    finally:
        name = f'"{role.replace(chr(34), chr(34) * 2)}"'
        database.sql(f"drop owned by {name} cascade; drop role {name}")


SETTINGS = {
    "wal_level": ("'logical'", "replica", True),
    "max_replication_slots": ("9", "3", True),
    "max_wal_senders": ("9", "3", True),
    "max_slot_wal_keep_size": ("'20GB'", "-1", False),
    "hot_standby_feedback": ("on", "off", False),
}


def test_settings_of_a_server_count_after_what_the_message_says(tmp_path: Path) -> None:
    """A reload or a restart; each setting alone changes."""
    with Postgres(tmp_path, durable=False, settings={}, programs=chosen()) as server:
        # The tests' server gets these on its command line, which would win: ask the file.
        database = Database(server, "postgres")
        for name, (value, _, restart) in SETTINGS.items():
            changed = World(database, "").changed(statements.set_setting(name, value))
            assert list(changed) == ["settings"]
            assert changed["settings"][1] == {(name, value.strip("'"))}
            database.sql(statements.reload_settings())
            context = database.sql("select context from pg_settings where name = :n", n=name)[0][0]
            assert (context == "postmaster") == restart
        shown = database.sql(
            "select current_setting('max_slot_wal_keep_size'), current_setting('hot_standby_feedback')"
        )
        assert shown == [["20GB", "on"]]


def test_the_runbooks_query_names_what_holds_the_log(database: Database) -> None:
    runbook = (Path(__file__).parents[3] / "docs" / "runbooks.md").read_text()
    query = re.search(r"```sql\n(select xact_start.*?)```", runbook, re.DOTALL)
    assert query
    with database.connection() as holding, database.connection() as preparing:
        holding.run("begin; create table held (id int)")
        preparing.run("begin; create table later (id int); prepare transaction 'forgotten'")
        try:
            found = database.sql(query[1])
        finally:
            preparing.run("rollback prepared 'forgotten'")
        pid = holding.run("select pg_backend_pid()")[0][0]
    assert [row[1] for row in found] == [f"session {pid}", "prepared transaction forgotten"]


def suggested(message: str) -> list[str]:
    """The statements after "run" in a message."""
    return re.findall(r"\b(?:grant|alter|create) [^;]*;", message)


def test_what_discover_suggests_lets_it_draft(world: World, database: Database) -> None:
    role = world.role.replace('"', "")
    database.sql(f"create role \"{role}\" login password '{PASSWORD}'")
    url = database.url(user=role)
    try:
        with pytest.raises(GroundworkError, match=r"no schema 'odd \"s'. Did you mean 'Odd \"s'"):
            discover_postgres(url, "shop", "shop-url", 'odd "s')
        for _ in range(2):  # the schema, then the table
            with pytest.raises(GroundworkError) as refused:
                discover_postgres(url, "shop", "shop-url", 'Odd "s')
            (statement,) = suggested(str(refused.value).replace('"t;1"', '"t\x00"'))
            database.sql(statement.replace("\x00", ";1"))
        assert "t;1" in discover_postgres(url, "shop", "shop-url", 'Odd "s')
    finally:
        database.sql(f'drop owned by "{role}" cascade; drop role "{role}"')


def test_a_column_list_is_respected_by_the_rights_that_are_suggested(
    database: Database, capture: Captures, tmp_path: Path
) -> None:
    needs(database.server, 15, "column lists")
    database.sql(
        "create table t (id int primary key, v int, secret text);"
        "create publication groundwork for table t (id) where (id > 0) with (publish_via_partition_root)"
    )
    source = capture(t=("public.t", ["id"]))
    (found,) = [line for line in source.troubles().splitlines() if "may not read" in line]
    (statement,) = suggested(found)
    assert statement == 'grant select ("id") on "public"."t" to "groundwork";'
    assert statement in printed(source, tmp_path)
    database.sql(statement)
    assert source.troubles() == ""
    source.run().insist()
