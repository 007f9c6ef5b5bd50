# ruff: noqa: E501 (statements read better in one line)
"""A delete or update that meets no live row in landing is counted, and stays an error until the table is copied."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from groundwork.errors import ChangesUnmatched
from tests.capture import Capture, Database

Captures = Callable[..., Capture]


@pytest.fixture(params=[[], ["id"]], ids=["keyless", "keyed"])
def items(request: pytest.FixtureRequest, database: Database, capture: Captures) -> Capture:
    key: list[str] = request.param
    database.sql(
        f"create table items (id int{' primary key' if key else ''}, name text); alter table items replica identity full;"
        "insert into items select i, 'item' from generate_series(1, 9) i; insert into items select 20 + i, 'same' from generate_series(1, 3) i"
    )
    database.publish("items")
    source = capture(items=("public.items", key))
    source.run()
    return source


def lose(source: Capture, condition: str) -> None:
    """Take rows out of landing: history that is gone, whatever the reason."""
    with duckdb.connect(str(source.file)) as connection:
        connection.execute(f"delete from landing.shop__items where {condition}")


def test_changes_of_rows_that_landing_lacks_are_counted_until_the_table_is_copied(
    items: Capture, database: Database
) -> None:
    lose(items, "id in ('3', '4')")
    database.sql(
        "delete from items where id = 3; update items set name = 'x' where id in (4, 5); insert into items values (30, 'y')"
    )
    items.extract()
    with pytest.raises(
        ChangesUnmatched,
        match=r"stream items: 2 deletes or updates met no live row .*full-refresh shop --stream items",
    ):
        items.load()
    with pytest.raises(
        ChangesUnmatched, match="stream items: 2 deletes"
    ):  # nothing is new, and it is not mended
        items.load()
    database.sql("delete from items where id = 5")
    items.extract()
    with pytest.raises(ChangesUnmatched, match="stream items: 2 deletes"):
        items.load()
    items.extract(refresh=["items"])
    items.load()
    there = {(row["id"], row["name"]) for row in items.reconstructed("items")}
    assert there == {(row["id"], row["name"]) for row in database.rows("public.items")}
    database.sql("delete from items where id = 6")
    items.run()


def test_a_load_that_was_killed_before_it_looked_is_made_up_for(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql("delete from items where id = 1")
    items.run()
    lose(items, "id = '3'")
    database.sql("delete from items where id = 3")
    items.extract()
    with monkeypatch.context() as patched:
        patched.setattr("groundwork.unmatched.look", lambda *_: {})
        items.load()
    database.sql("insert into items values (31, 'later')")
    items.extract()
    with pytest.raises(ChangesUnmatched, match="stream items: 1 deletes"):
        items.load()


def test_changes_of_rows_that_are_there_are_no_error(items: Capture, database: Database) -> None:
    database.sql(
        "update items set id = 100 + id where id < 4; update items set id = 3 where id = 101; delete from items where id = 102;"
        "insert into items values (50, 'new'); update items set name = 'b' where id = 50; delete from items where id = 50;"
        "insert into items values (50, 'again'); begin; delete from items where id = 50; insert into items values (50, 'c'); commit;"
        "update items set name = 'same' where id > 20 and id < 30; delete from items where id = 22"
    )
    items.run()
    items.assert_equal_to_the_source()
    database.sql(
        "truncate items; insert into items values (1, 'first'); update items set id = 2; delete from items"
    )
    items.run()
    items.assert_equal_to_the_source()
