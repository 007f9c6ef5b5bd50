# ruff: noqa: E501 (statements read better in one line)
"""History is read with the settings it was written under: key, columns, and how values print."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.postgres import Postgres
from groundwork.errors import GroundworkError
from tests.capture import Capture, Database

Captures = Callable[..., Capture]

COLUMNS = (
    "a int, label mood, moods mood[], pair pair, marked marked, role regrole, target regclass, grants aclitem[],"
    " spread span, kind mood_domain, more text"
)
PREPARED = (
    "create type mood as enum ('sad', 'ok'); create type pair as (x int, y text); create domain mood_domain as mood;"
    "create domain marked as pair; create type span as range (subtype = mood_domain); create table target (id int);"
    f"create table items ({COLUMNS}); alter table items replica identity full;"
    "insert into items select i, 'ok', '{{ok,sad}}', row(i, 'p')::pair, row(i, 'm')::pair, '{role}', 'target', '{{{role}=r/{role}}}',"
    " '[ok,ok]', 'ok', 'row ' || i from generate_series(1, 6) i"
)
CAUSES = {
    "a column is dropped": "alter table items drop column more",
    "a label is renamed": "alter type mood rename value 'ok' to 'fine'",
    "a label is renamed to and fro": "alter type mood rename value 'ok' to 'fine'; {delete}; alter type mood rename value 'fine' to 'ok'",
    "a label is added, used and renamed": "alter type mood add value 'glad'; insert into items (a, label) values (10, 'glad'); alter type mood rename value 'glad' to 'merry'; delete from items where a = 10",
    "a composite type gets an attribute": "alter type pair add attribute z int",
    "a composite type loses an attribute": "alter type pair drop attribute y",
    "a role is renamed": "alter role {role} rename to {role}_2",
    "a table that a row names is renamed": "alter table target rename to other",
    "a table that a row names goes to another schema": "create schema s2; alter table target set schema s2",
    "a schema that a row's table is in is renamed": "create schema s3; alter table target set schema s3; alter schema s3 rename to s4",
    "a table that a row names is dropped": "drop table target",
    "values are rewritten in their type": "alter table items alter column a type int using a + 100",
    "values are rewritten to and fro": "alter table items alter column a type text; {delete}; alter table items alter column a type int using a::int",
    "a column is renamed": "alter table items rename column more to most",
    "columns swap names": "alter table items add column again text; update items set again = 'x'; alter table items rename column more to m; alter table items rename column again to more",
}


@pytest.fixture
def role(server: Postgres, database: Database) -> Iterator[str]:
    name = f"owner_{database.name}"
    database.sql(f"create role {name}")
    yield name
    database.sql("drop table if exists items")
    database.sql(f"drop role if exists {name}")
    database.sql(f"drop role if exists {name}_2")


def copies(source: Capture) -> list[dict[str, Any]]:
    return [e for manifest in source.manifests for e in manifest.events if e.get("copied_again")]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("key", [[], ["id"]], ids=["keyless", "keyed"])
def test_whatever_changes_the_text_of_rows_copies_the_table_again(
    database: Database, capture: Captures, role: str, cause: str, key: list[str]
) -> None:
    database.sql(PREPARED.format(role=role))
    if key:
        database.sql("alter table items add column id serial primary key")
    database.publish("items")
    source = capture(items=("public.items", key))
    source.run()
    source.assert_equal_to_the_source()
    for statement in (
        CAUSES[cause].format(role=role, delete="delete from items where a::text = '2'").split("; ")
    ):
        database.sql(statement)
    database.sql(
        "update items set a = 77 where a::text in ('1', '101'); delete from items where a::text in ('3', '103')"
    )
    source.run()
    source.assert_equal_to_the_source()
    if not (key and cause in ("a column is dropped", "a label is added, used and renamed")):
        assert len(copies(source)) == 1
    database.sql("delete from items where a::text in ('4', '104')")
    assert source.run().operations == {"delete": 1}
    source.assert_equal_to_the_source()


HARMLESS = {
    "an index": "create index on items (a)",
    "a default": "alter table items alter column more set default 'x'",
    "not null": "alter table items alter column a set not null",
    "vacuum full": "vacuum full items",
    "analyze": "analyze",
    "another table": "create table something (id int)",
    "a temporary table": "create temporary table passing (id int)",
    "another role's password": "alter role {role} password 'new'",
    "a renamed attribute": "alter type pair rename attribute x to xx",
    "a renamed type": "alter type mood rename to feeling",
    "a collation": "create collation german (provider = libc, locale = 'C')",
    "a rule of a domain": "alter domain mood_domain add constraint few check (value <> 'sad') not valid",
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_changes_no_text_copies_nothing(
    database: Database, capture: Captures, role: str, change: str
) -> None:
    database.sql(PREPARED.format(role=role))
    database.publish("items")
    source = capture(items=("public.items", []))
    source.run()
    database.sql(HARMLESS[change].format(role=role))
    database.sql("update items set a = 77 where a = 1; delete from items where a = 3")
    assert source.run().operations == {"insert": 1, "delete": 2}
    source.assert_equal_to_the_source()
    assert copies(source) == []


def test_another_version_of_an_extension_copies_again(database: Database, capture: Captures) -> None:
    available = {name for (name,) in database.sql("select name from pg_available_extensions")}
    if "hstore" not in available:
        pytest.skip("this PostgreSQL comes without the extension hstore")
    database.sql(
        "create extension hstore version '1.4'; create table items (a int, h hstore); alter table items replica identity full; insert into items values (1, 'a=>1')"
    )
    database.publish("items")
    source = capture(items=("public.items", []))
    source.run()
    database.sql("alter extension hstore update")
    source.run()
    assert [event["event"] for event in copies(source)] == ["printed_otherwise"]
    source.assert_equal_to_the_source()


def keyed(key: list[str]) -> dict[str, tuple[str, list[str]]]:
    return {"items": ("public.items", key)}


@pytest.mark.parametrize(
    "before, now",
    [(["a"], ["a", "b"]), (["a", "b"], ["a"]), (["a"], ["b"]), (["a"], []), ([], ["a"]), (["a", "b"], [])],
)
@pytest.mark.parametrize("order", ["both before the run", "source first", "catalog first"])
def test_a_changed_key_copies_the_table_again(
    database: Database, capture: Captures, before: list[str], now: list[str], order: str
) -> None:
    def identify(key: list[str]) -> None:
        database.sql(
            "alter table items drop constraint if exists items_pkey; alter table items alter a drop not null; alter table items alter b drop not null"
        )
        if key:
            database.sql(
                f"alter table items add primary key ({', '.join(key)}); alter table items replica identity default"
            )
        else:
            database.sql("alter table items replica identity full")

    database.sql(
        "create table items (a int, b int, c text); insert into items select i, i, 'row' from generate_series(1, 9) i"
    )
    identify(before)
    database.publish("items")
    source = capture(**keyed(before))
    source.run()
    database.sql("update items set b = 101 where a = 1; delete from items where a = 2")
    if order == "source first":
        identify(now)
        run_or_refuse(source)
    if order == "catalog first":
        source.streams = keyed(now)
        run_or_refuse(source)
    if order != "source first":
        identify(now)
    database.sql(
        "update items set b = 103 where a = 3; delete from items where a = 4; update items set a = 50 where a = 5"
    )
    source.streams = keyed(now)
    run_or_refuse(source)
    source.run()
    source.assert_equal_to_the_source()
    database.sql("update items set a = 60 where a = 6; delete from items where a = 7")
    source.run()
    source.assert_equal_to_the_source()


def run_or_refuse(source: Capture) -> None:
    """A run that may find that key and table do not fit each other yet."""
    with contextlib.suppress(GroundworkError):
        source.run()
