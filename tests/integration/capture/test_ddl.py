# ruff: noqa: E501 (statements and messages read better in one line)
"""Tables that change their shape between and within transactions: nothing is lost, nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from groundwork.errors import SourceRefused
from groundwork.sources import postgres
from tests.capture import Capture, Database

Captures = Callable[..., Capture]


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create type mood as enum ('sad', 'ok'); create domain score as int check (value >= 0);"
        "create table items (id bigint primary key, name varchar(20), amount numeric(10,2), mood mood, score score, count int, story text);"
        "insert into items select i, 'item ' || i, i * 1.5, 'ok', i, i, repeat(md5(i::text), 300) from generate_series(1, 20) i"
    )
    database.publish("items")
    source = capture(items=("public.items", ["id"]))
    source.run()
    return source


def events(source: Capture) -> list[dict[str, Any]]:
    return [event for manifest in source.manifests for event in manifest.events]


CHANGES = {
    "a column is added": ("alter table items add column extra text", False),
    "with a default": ("alter table items add column extra int default 7", True),
    "with a volatile default": ("alter table items add column extra uuid default gen_random_uuid()", True),
    "generated": ("alter table items add column extra numeric generated always as (amount * 2) stored", True),
    "not null with a default": ("alter table items add column extra timestamptz not null default now()", True),
    "a column is dropped": ("alter table items drop column amount", False),
    "dropped and added under its name": ("alter table items drop column name; alter table items add column name text", True),
    "dropped and added with a default": ("alter table items drop column name; alter table items add column name text default 'x'", True),
    "a column is renamed": ("alter table items rename column name to title", True),
    "two columns swap names":
        ("alter table items rename column amount to x; alter table items rename column count to amount; alter table items rename column x to count", True),
    "int to bigint": ("alter table items alter column count type bigint", True),
    "varchar to text": ("alter table items alter column name type text", True),
    "a longer varchar": ("alter table items alter column name type varchar(40)", True),
    "another scale": ("alter table items alter column amount type numeric(20,6)", True),
    "rewritten values": ("alter table items alter column name type text using upper(name)", True),
    "rewritten values of one type": ("alter table items alter column count type int using count + 1000", True),
    "a label of an enum is renamed": ("alter type mood rename value 'ok' to 'fine'", True),
    "a label of an enum is renamed to and fro": ("alter type mood rename value 'ok' to 'fine'; alter type mood rename value 'fine' to 'ok'", True),
    "an enum gets a value": ("alter type mood add value 'glad'", False),
    "a domain gets a rule": ("alter domain score add constraint small check (value < 100000)", False),
    "a default changes": ("alter table items alter column name set default 'other'", False),
    "nulls are allowed no more": ("alter table items alter column name set not null", False),
    "another storage": ("alter table items alter column story set storage external", False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("full", [False, True], ids=["default", "full"])
def test_a_change_of_shape_between_rows(
    items: Capture, database: Database, change: str, *, full: bool
) -> None:
    statement, copied_again = CHANGES[change]
    copied_again = copied_again and (change != "generated" or database.publishes_generated)
    if full:
        database.sql("alter table items replica identity full")
        items.run()
    database.sql(
        "insert into items (id, name, story) values (50, 'before', 'short'); update items set score = 5 where id = 3"
    )
    database.sql(statement)
    database.sql("insert into items (id, story) values (51, 'after')" if "no more" not in change
                 else "insert into items (id, name) values (51, 'after')")  # fmt: skip
    database.sql(
        "update items set score = 6 where id in (2, 50); update items set id = 52 where id = 4; delete from items where id = 5"
    )
    items.run()
    items.assert_equal_to_the_source()
    database.sql("update items set score = 7 where id in (1, 51); delete from items where id = 6")
    assert items.run().operations == {"update": 2, "delete": 1}
    items.assert_equal_to_the_source()
    assert [event["copied_again"] for event in events(items) if event["copied_again"]] == [
        True
    ] * copied_again


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_shape_that_changes_in_the_middle_of_a_transaction(
    items: Capture, database: Database, end: str
) -> None:
    with database.connection() as connection:
        for statement in (
            "begin", "insert into items (id, name) values (60, 'one'), (61, 'two')", "update items set name = 'x' where id = 1",
            "alter table items add column extra text", "insert into items (id, extra) values (62, 'three')",
            "alter table items drop column amount", "update items set extra = 'y' where id in (2, 60)",
            "savepoint s", "alter table items add column gone int default 1", "insert into items (id, gone) values (63, 1)", "rollback to s",
            "alter table items rename column count to counted", "insert into items (id, counted) values (64, 4)",
            "delete from items where id in (3, 61)", end,
        ):  # fmt: skip
            connection.run(statement)
    database.sql("update items set name = 'after' where id = 7")
    items.run()
    items.assert_equal_to_the_source()
    assert items.run().operations == {}


def test_a_table_dropped_and_made_anew_within_a_transaction(items: Capture, database: Database) -> None:
    database.sql(
        "begin; insert into items (id) values (70); drop table items; create table items (id bigint primary key, other text);"
        "insert into items values (1, 'new'); alter publication groundwork add table items; insert into items values (2, 'new'); commit"
    )
    database.let_read()
    items.run()
    items.assert_equal_to_the_source()
    assert [event["event"] for event in events(items)] == ["table_recreated"]


def test_a_table_made_anew_with_other_columns_in_another_order(items: Capture, database: Database) -> None:
    database.sql("update items set name = 'last words' where id = 1")
    database.sql(
        "create table fresh (story text, amount numeric(10,2), name text, id bigint primary key); insert into fresh select story, amount, name, id from items;"
        "drop table items; alter table fresh rename to items; alter publication groundwork add table items"
    )
    database.let_read()
    database.sql("update items set name = 'first words' where id = 2")
    items.run()
    items.assert_equal_to_the_source()


def test_a_table_is_made_anew_while_we_read(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = postgres.published, []

    def published(*arguments: Any) -> Any:
        found = original(*arguments)
        if not calls:
            database.sql(
                "insert into items (id) values (80); drop table items; create table items (id bigint primary key, name int);"
                "insert into items values (1, 1); alter publication groundwork add table items"
            )
            database.let_read()
            database.sql("insert into items values (2, 2)")
        calls.append(1)
        return found

    monkeypatch.setattr(postgres, "published", published)
    items.run()
    items.assert_equal_to_the_source()


def test_rows_written_under_another_name_are_not_lost(items: Capture, database: Database) -> None:
    """The log names tables as they were called at the time."""
    database.sql("insert into items (id, name) values (90, 'under the old name')")
    database.sql(
        "alter table items rename to articles; create schema shop; alter table articles set schema shop"
    )
    database.sql(
        "insert into shop.articles (id, name) values (91, 'under a third'); update shop.articles set name = 'x' where id = 1"
    )
    database.let_read()
    with pytest.raises(SourceRefused, match=r"'public.items' is not in publication"):
        items.run()
    items.streams = {"items": ("shop.articles", ["id"])}
    items.run()
    items.assert_equal_to_the_source()
    assert events(items) == []


def test_a_table_that_has_its_name_back_lost_nothing_meanwhile(items: Capture, database: Database) -> None:
    database.sql("alter table items rename to away")
    database.sql(
        "insert into away (id, name) values (90, 'meanwhile'); delete from away where id < 5; truncate away"
    )
    database.sql("insert into away (id, name) values (91, 'meanwhile')")
    database.sql("alter table away rename to items")
    items.run()
    items.assert_equal_to_the_source()
    assert events(items) == []


def test_tables_that_swap_their_names_swap_their_rows(items: Capture, database: Database) -> None:
    database.sql(
        "create table others (id bigint primary key, name text); insert into others values (1, 'of the others');"
        "alter publication groundwork add table others"
    )
    database.let_read()
    items.streams["others"] = ("public.others", ["id"])
    items.run()
    items.assert_equal_to_the_source()
    database.sql(
        "insert into items (id, name) values (100, 'before'); insert into others values (100, 'before')"
    )
    database.sql(
        "alter table items rename to x; alter table others rename to items; alter table x rename to others"
    )
    database.sql(
        "insert into items (id, name) values (101, 'after'); delete from others where id < 3; update items set name = 'y' where id = 1"
    )
    items.run()
    items.assert_equal_to_the_source()
    assert sorted(event["event"] for event in events(items)) == ["table_recreated", "table_recreated"]
    database.sql("delete from items; delete from others where id > 10")
    items.run()
    items.assert_equal_to_the_source()


def test_another_table_takes_the_name(items: Capture, database: Database) -> None:
    database.sql(
        "insert into items (id) values (110); alter table items rename to old; create table items (id bigint primary key, name text, extra int);"
        "insert into items values (1, 'new', 1); alter publication groundwork add table items"
    )
    database.let_read()
    database.sql(
        "insert into old (id) values (111); update items set extra = 2; delete from old where id < 5"
    )
    items.run()
    items.assert_equal_to_the_source()
    database.sql("truncate old; insert into items values (2, 'new', 2)")
    items.run()
    items.assert_equal_to_the_source()


def test_generated_columns_are_the_same_in_copy_and_log_on_every_version(
    database: Database, capture: Captures
) -> None:
    """Before PostgreSQL 18 the log never holds them, so the copy leaves them out too."""
    database.sql(
        "create table lines (id int primary key, q int, total int generated always as (q * 2) stored); insert into lines (id, q) values (1, 2)"
    )
    database.publish("lines")
    source = capture(lines=("public.lines", ["id"]))
    source.run()
    database.sql("insert into lines (id, q) values (2, 3); update lines set q = 5 where id = 1")
    source.run()
    there = sorted((row["id"], row.get("total")) for row in source.reconstructed("lines"))
    expected = ("10", "6") if database.server.major_version >= 18 else (None, None)
    assert there == [("1", expected[0]), ("2", expected[1])]
    assert events(source) == []


def test_generated_columns_that_are_published_later_are_copied(database: Database, capture: Captures) -> None:
    if database.server.major_version < 18:
        pytest.skip("no generated column is ever published")
    database.sql(
        "create table lines (id int primary key, q int, total int generated always as (q * 2) stored); insert into lines (id, q) values (1, 2);"
        "create publication groundwork for table lines"
    )
    database.let_read()
    source = capture(lines=("public.lines", ["id"]))
    source.run()
    assert "total" not in source.landed("lines")[0]
    database.sql("alter publication groundwork set (publish_generated_columns = stored)")
    database.sql("insert into lines (id, q) values (2, 3)")
    source.run()
    source.assert_equal_to_the_source()
