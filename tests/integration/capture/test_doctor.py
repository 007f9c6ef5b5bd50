# ruff: noqa: E501 (statements and messages read better in one line)
"""Doctor prints the least rights, which are enough, and finds what is missing or could hurt the source."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from groundwork.catalog import PostgresSource
from groundwork.doctor import examine, preparation
from groundwork.errors import SourceError, SourceUnreachable
from groundwork.settings import Settings
from groundwork.sources import examination
from tests.capture import PASSWORD, ROLE, Capture, Database, needs
from tests.versions.servers import chosen

Captures = Callable[..., Capture]
numbers = itertools.count(1)


@pytest.fixture
def shop(database: Database, capture: Captures) -> Capture:
    database.sql(
        'create schema "Sales.EU"; create table "Sales.EU"."Order" ("Id" int primary key, total numeric generated always as ("Id" * 2) stored);'
        "create table views (at timestamptz, path text);"
        "create table moves (id int, at date, primary key (id, at)) partition by range (at);"
        "create table moves_1 partition of moves for values from ('2026-01-01') to ('2027-01-01');"
        "insert into \"Sales.EU\".\"Order\" values (1), (2); insert into views values (now(), '/'); insert into moves values (1, '2026-02-02')"
    )
    return capture(views=("public.views", []), moves=("public.moves", ["id", "at"]))


@pytest.fixture
def fresh(shop: Capture) -> Iterator[str]:
    """A role that is not there yet, in the connection URL."""
    role = f"fresh_{next(numbers)}"
    shop.url = shop.database.url(user=role)
    yield role
    if shop.database.sql("select 1 from pg_roles where rolname = :r", r=role):
        shop.database.sql(f"drop owned by {role}; drop role {role}")


def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def printed(source: Capture, tmp_path: Path, entry: PostgresSource | None = None) -> str:
    owner = source.database.url(user="postgres", password=source.database.server.password)
    return preparation(entry or source.entry, settings(tmp_path), source.resolve, owner)


def test_the_printed_statements_are_all_the_rights_that_reading_needs(
    shop: Capture, fresh: str, tmp_path: Path
) -> None:
    script = printed(shop, tmp_path)
    assert PASSWORD not in script
    assert f'create role "{fresh}" with login replication' in script
    assert 'alter table "public"."views" replica identity full;' in script
    shop.database.sql(script.replace("…", PASSWORD))
    assert shop.troubles() == ""
    for change in (
        "select 1", "insert into views values (now(), 'x'); delete from views where path = '/'; update moves set at = at + 1",
        "alter table views add column extra text default 'filled'; truncate moves",
    ):  # fmt: skip
        if "views" in change:
            shop.database.sql("alter table moves_1 set (fillfactor = 90)")
        shop.database.sql(change)
        shop.run()
        shop.assert_equal_to_the_source()
    shop.run(full_refresh=True)
    shop.assert_equal_to_the_source()
    attributes = shop.database.sql(
        "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolcanlogin from pg_roles where rolname = :r", r=fresh
    )  # fmt: skip
    assert attributes == [[False, False, False, False, True, True]]


def test_the_statements_name_what_the_server_and_the_catalog_say(
    shop: Capture, fresh: str, tmp_path: Path
) -> None:
    shop.streams["orders"] = ("Sales.EU.Order", ["Id"])
    script = printed(shop, tmp_path)
    assert re.search(r"the first run makes groundwork_shop_[0-9a-f]{8},", script)
    assert f'grant connect on database "{shop.database.name}" to "{fresh}";' in script
    # The role is not there: nothing but the role is printed without another role to look with.
    alone = preparation(shop.entry, settings(tmp_path), shop.resolve)
    assert f'create role "{fresh}" with login replication' in alone and "publication" not in alone
    version = shop.database.server.major_version
    assert f"(PostgreSQL {version})" in printed(shop, tmp_path)
    assert ("publish_generated_columns" in printed(shop, tmp_path)) == (version >= 18)


def test_all_is_well_is_said_of_each_thing(shop: Capture) -> None:
    shop.database.sql("alter table views replica identity full")
    shop.database.publish("views", "moves")
    shop.run()
    found = shop.looked_at()
    assert [f.what.removeprefix("source shop: ") for f in found] == [
        "connection", "server", "room for the log", "role", "publication and tables", "the application's own changes", "slot",
    ]  # fmt: skip
    assert [f.sign for f in found] == ["✓", "✓", "!", "✓", "✓", "✓", "✓"]
    assert "max_slot_wal_keep_size is -1" in found[2].warning


@pytest.mark.parametrize(
    ("made", "published", "told", "mended"),
    [
        ("create table log (t text)", "log", r'table "public"."log" has no replica identity', "alter table log replica identity full"),
        ("create table log (id int primary key deferrable)", "log", "has no replica identity", "alter table log replica identity full"),
        ("create table log (id int primary key); alter table log replica identity nothing", "log", "has no replica identity",
         "alter table log replica identity default"),
        ("create table log (id int, at date) partition by range (at); create table log_1 partition of log for values from (minvalue) to (maxvalue);"
         "alter table log replica identity full", "log", 'table "public"."log_1" has no replica identity', "alter table log_1 replica identity full"),
        ("create table log (id int primary key, t text)", "log (t)", "column list lacks id of its replica identity",
         "alter publication groundwork set table views, moves, log (id, t)"),
        ("create table log (id int primary key, t text); alter table log replica identity full", "log (id)",
         "has a column list, and its replica identity is full, which allows none", "alter publication groundwork set table views, moves, log"),
        ("create table log (id int primary key, t text, u text)", "log where (t = 'u' and id > 0)", r"row filter reads t, not in its replica identity",
         "alter table log replica identity full"),
    ],
)  # fmt: skip
def test_a_publication_that_makes_the_applications_own_update_fail_is_found(
    shop: Capture, made: str, published: str, told: str, mended: str
) -> None:
    """Also on a table that is no stream; PostgreSQL is the witness."""
    if "(" in published:
        needs(shop.database.server, 15, "column lists and row filters")
    shop.database.sql(f"alter table views replica identity full; {made}")
    column = "t" if made == "create table log (t text)" else "id"
    shop.database.sql(
        "insert into log (id, at) values (1, '2026-01-01')"
        if "log_1" in made
        else f"insert into log ({column}) values (1)"
    )
    shop.database.publish("views", "moves", published)
    change = f"update log set {column} = {column}"
    with pytest.raises(Exception, match=r"cannot update table"):
        shop.database.sql(change)
    assert re.search(f"own changes: .*{told}.*own UPDATE and DELETE on it fail", shop.troubles())
    shop.database.sql(mended)
    shop.database.sql(change)
    assert "own changes" not in shop.troubles()


def test_row_level_security_is_found_and_never_filters_in_silence(shop: Capture) -> None:
    shop.database.sql(
        "alter table views replica identity full; alter table views enable row level security; create policy p on views using (path = 'x')"
    )
    shop.database.publish("views", "moves")
    assert f'row-level security would hide rows of "public"."views" from role "{ROLE}"' in shop.troubles()
    del shop.streams["moves"]
    with pytest.raises(SourceError, match=r"row-level security policy"):
        shop.extract()
    shop.database.sql(f"alter role {ROLE} bypassrls")
    try:
        assert shop.troubles() == ""
        shop.run()
        shop.assert_equal_to_the_source()
    finally:
        shop.database.sql(f"alter role {ROLE} nobypassrls")


def test_rights_that_are_missing_are_named_with_the_statement_that_grants_them(
    shop: Capture, fresh: str
) -> None:
    shop.streams = {"orders": ("Sales.EU.Order", ["Id"]), "views": ("public.views", [])}
    shop.database.sql(
        f"alter table views replica identity full; create role {fresh} login password '{PASSWORD}';"
        'create publication groundwork for table "Sales.EU"."Order", views;'
        f"grant select (path) on views to {fresh}"
    )
    found = shop.troubles()
    assert re.search(f'may not read the log.*alter role "{fresh}" replication', found)
    assert f'grant usage on schema "Sales.EU" to "{fresh}"' in found
    assert f'may not read "Sales.EU"."Order". Run: grant select on "Sales.EU"."Order" to "{fresh}"' in found
    assert (
        f'may not read columns at of "public"."views". Run: grant select on "public"."views" to "{fresh}"'
        in found
    )


def test_a_connection_that_nobody_verifies_is_doubtful(
    shop: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.database.publish("moves")
    monkeypatch.setattr(examination, "is_loopback", lambda host: False)
    first = shop.looked_at()[0]
    assert first.sign == "!"
    assert (
        "is not encrypted, and nobody checks whose server it is. The connection URL says sslmode=prefer"
        in first.warning
    )


def test_a_server_that_does_not_answer_is_one_finding(shop: Capture) -> None:
    shop.url = f"postgresql://u:{PASSWORD}@127.0.0.1:1/d"
    (finding,) = shop.looked_at()
    assert "no connection to 127.0.0.1:1" in finding.problem
    assert PASSWORD not in finding.problem
    with pytest.raises(SourceUnreachable):
        shop.run()


def test_a_slot_that_holds_much_back_is_doubtful(shop: Capture, tmp_path: Path) -> None:
    shop.database.sql("alter table views replica identity full")
    shop.database.publish("views", "moves")
    shop.run()
    entry = shop.entry
    policy = entry.connection.slot_lag.model_copy(update={"alert": 1})
    strict = entry.model_copy(update={"connection": entry.connection.model_copy(update={"slot_lag": policy})})
    shop.database.sql("insert into views select now(), 'x' from generate_series(1, 1000)")
    found = examine(settings(tmp_path), {"shop": strict}, lambda: shop.bucket, shop.resolve)
    (slot,) = (f for f in found if f.what == "source shop: slot")
    assert slot.sign == "!"
    assert re.search(r"slot 'groundwork_shop_.*' holds back .* of log", slot.warning)


def test_a_server_without_a_log_of_rows_and_without_room_is_found(tmp_path: Path) -> None:
    few = {"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "2"}
    with Postgres(tmp_path / "server", durable=False, settings=few, programs=chosen()) as server:
        server.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        server.sql("select pg_create_physical_replication_slot('somebody_elses')")
        server.sql("create database plain encoding 'SQL_ASCII' template template0 locale 'C'")
        server.sql("create table views (at timestamptz, path text)", database="plain")
        source = Capture(Database(server, "plain"), tmp_path, views=("public.views", []))
        found = source.troubles()
    assert "server: source 'shop': wal_level is 'replica'. The log then holds no rows" in found
    assert "alter system set wal_level = 'logical'; and restart the server" in found
    assert "the database has no encoding (SQL_ASCII)" in found
    assert "1 of 1 max_replication_slots are in use, and 2 more are needed" in found
    assert "alter system set max_replication_slots = 7; and restart the server" in found
    assert "max_wal_senders" not in found
