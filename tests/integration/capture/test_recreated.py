"""A table that is dropped and made anew under its name keeps the history of the one before."""

from __future__ import annotations

from collections.abc import Callable

from tests.capture import Capture, Database

MADE = "create table items (id bigint primary key, t text);"
ANEW = f"drop table items; {MADE} alter publication groundwork add table items;"


def test_what_happened_before_a_table_was_made_anew_lands_too(
    database: Database, capture: Callable[..., Capture]
) -> None:
    database.sql(f"{MADE} insert into items values (1, 'first')")
    database.publish("items")
    items = capture(items=("public.items", ["id"]))
    items.run()
    database.sql(
        "insert into items values (2, 'of the first table'); update items set t = 'seen' where id = 1"
    )
    database.sql(f"{ANEW} insert into items values (2, 'of the second table')")
    database.sql("delete from items where id = 2")
    database.sql(f"{ANEW} insert into items values (3, 'of the third table')")
    database.let_read()
    items.run()
    items.assert_equal_to_the_source()
    log = [
        (r["_operation"], r["id"]) for r in items.landed("items") if not r["_sequence"].endswith("/00000000")
    ]
    assert log == [("insert", "2"), ("update", "1"), ("insert", "2"), ("delete", "2"), ("insert", "3")]
