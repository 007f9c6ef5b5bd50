# ruff: noqa: E501 (statements and messages read better in one line)
"""What identifies a record, what the publication shows and since when, and names of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from groundwork.errors import CatalogError, SlotLost, SourceRefused
from tests.capture import Capture, Database, needs

Captures = Callable[..., Capture]


def events(source: Capture) -> list[str]:
    return [event["event"] for manifest in source.manifests for event in manifest.events]


# -- replica identity ---------------------------------------------------------------------------------------

IDENTITIES = {
    "default": "alter table people replica identity default",
    "full": "alter table people replica identity full",
    "index": "alter table people replica identity using index by_email",
}


@pytest.mark.parametrize(
    ("identity", "key"),
    [("default", ["id"]), ("full", ["id"]), ("full", ["email"]), ("full", ["id", "email"]), ("full", []), ("index", ["email"])],
)  # fmt: skip
def test_each_replica_identity_through_every_kind_of_change(
    database: Database, capture: Captures, identity: str, key: list[str]
) -> None:
    database.sql(
        "create table people (id int primary key, email text not null, story text); create unique index by_email on people (email);"
        f"{IDENTITIES[identity]};"
        "insert into people select i, 'p' || i || '@x', repeat(md5(i::text), 400) from generate_series(1, 20) i"
    )
    database.publish("people")
    source = capture(people=("public.people", key))
    source.run()
    source.assert_equal_to_the_source()
    for change in (
        "insert into people values (100, 'new@x', null), (101, 'two@x', 'short')",
        "update people set story = 'changed' where id = 3",
        "update people set story = story || '!' where id = 4",
        "update people set id = id + 500 where id in (5, 6)",
        "update people set email = 'moved' || id where id in (7, 8)",
        "update people set id = id + 700, email = 'both' || id, story = null where id in (9, 505)",
        "delete from people where id in (3, 7, 100); insert into people values (3, 'again@x', 'again')",
        "insert into people values (900, 'a@x', 'x'); update people set story = 'y' where id = 900; delete from people where id = 900",
    ):
        database.sql(change)
    source.run()
    source.assert_equal_to_the_source()
    database.sql("update people set story = 'end' where id % 2 = 0; delete from people where id % 3 = 0")
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize("key", [["id"], []])
def test_without_a_replica_identity_inserts_and_truncations_arrive(
    database: Database, capture: Captures, key: list[str]
) -> None:
    database.sql(
        "create table people (id int primary key, name text); alter table people replica identity nothing; insert into people values (1, 'a')"
    )
    database.publish("people")
    source = capture(people=("public.people", key))
    source.run()
    for forbidden in ("update people set name = 'x'", "delete from people"):
        with pytest.raises(Exception, match="does not have a replica identity"):
            database.sql(forbidden)
    database.sql("insert into people values (2, 'b'), (3, 'c')")
    source.run()
    source.assert_equal_to_the_source()
    database.sql("truncate people; insert into people values (4, 'd')")
    source.run()
    source.assert_equal_to_the_source()


# -- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint",
    [
        "alter table seats add primary key (id) deferrable",
        "alter table seats add unique (id) deferrable initially deferred; alter table seats alter id set not null",
        "create unique index on seats (id)",  # nulls
        "alter table seats alter id set not null; create unique index on seats (id) where id > 0",
        "alter table seats alter id set not null; create unique index on seats ((id + 0))",
        "alter table seats alter id set not null; create unique index on seats (id, who)",
        "alter table seats alter id set not null; create index on seats (id)",
    ],
)
def test_a_key_that_two_records_may_share_is_refused_with_the_way_out(
    database: Database, capture: Captures, constraint: str
) -> None:
    database.sql(
        f"create table seats (id int, who text); {constraint}; alter table seats replica identity full"
    )
    database.publish("seats")
    with pytest.raises(
        CatalogError,
        match=r"streams.seats.primary_key: two records of public.seats may share \(id\)\. .*not deferrable.*or leave primary_key empty",
    ):
        capture(seats=("public.seats", ["id"])).run()


def test_keys_that_swap_in_one_statement_are_followed_row_by_row(
    database: Database, capture: Captures
) -> None:
    database.sql(
        "create table seats (id int primary key deferrable, who text, story text); alter table seats replica identity full;"
        "insert into seats select i, 'w' || i, repeat(md5(i::text), 300) from generate_series(1, 10) i"
    )
    database.publish("seats")
    source = capture(seats=("public.seats", []))
    source.run()
    database.sql("update seats set id = case id when 1 then 2 when 2 then 1 end where id in (1, 2)")
    database.sql("update seats set id = 11 - id")
    database.sql(
        "update seats set id = id % 10 + 1; update seats set who = 'x' where id = 5; delete from seats where id = 6"
    )
    source.run()
    source.assert_equal_to_the_source()


def test_a_key_may_hold_more_columns_than_the_unique_index(database: Database, capture: Captures) -> None:
    database.sql(
        "create table t (id int primary key, tenant int not null, v text); alter table t replica identity full; insert into t values (1, 1, 'a')"
    )
    database.publish("t")
    source = capture(t=("public.t", ["tenant", "id"]))
    source.run()
    database.sql(
        "update t set tenant = 2 where id = 1; insert into t values (2, 2, 'b'); delete from t where id = 2"
    )
    source.run()
    source.assert_equal_to_the_source()


# -- the publication ----------------------------------------------------------------------------------------


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create table items (id int primary key, name text); insert into items select i, 'n' || i from generate_series(1, 20) i;"
        "create table other (id int primary key)"
    )
    database.publish("items")
    source = capture(items=("public.items", ["id"]))
    source.run()
    return source


@pytest.mark.parametrize("missing", ["insert", "update", "delete", "truncate"])
def test_a_publication_that_keeps_a_kind_of_change_from_us_is_refused(items: Capture, missing: str) -> None:
    kinds = ", ".join(kind for kind in ("insert", "update", "delete", "truncate") if kind != missing)
    items.database.sql(f"alter publication groundwork set (publish = '{kinds}')")
    with pytest.raises(
        SourceRefused,
        match=f"does not publish {missing}. .*Run the statements that `python -m groundwork doctor --sql` prints",
    ):
        items.run()


def test_kinds_of_change_that_were_not_published_for_a_while_mean_to_copy_again(items: Capture) -> None:
    items.database.sql("alter publication groundwork set (publish = 'insert')")
    items.database.sql(
        "delete from items where id < 5; update items set name = 'x' where id = 6; insert into items values (50, 'y')"
    )
    items.database.sql("alter publication groundwork set (publish = 'insert, update, delete, truncate')")
    items.database.sql("delete from items where id = 7")
    items.run()
    items.assert_equal_to_the_source()
    assert events(items) == ["publication_changed"]
    assert items.run().operations == {}


def test_a_row_filter_that_was_there_for_a_while_means_to_copy_again(items: Capture) -> None:
    needs(items.database.server, 15, "row filters")
    items.database.sql("alter publication groundwork set table items where (id > 10)")
    items.database.sql("update items set name = 'x' where id < 5; insert into items values (0, 'y')")
    items.database.sql("alter publication groundwork set table items")
    items.run()
    items.assert_equal_to_the_source()
    assert events(items) == ["published_anew"]


def test_a_column_list_that_was_there_for_a_while_means_to_copy_again(items: Capture) -> None:
    needs(items.database.server, 15, "column lists")
    items.database.sql("alter publication groundwork set table items (id)")
    items.database.sql("update items set name = 'x' where id < 5; insert into items values (30, 'y')")
    items.database.sql("alter publication groundwork set table items")
    items.run()
    items.assert_equal_to_the_source()
    assert events(items) == ["published_anew"]


@pytest.mark.parametrize(
    "change",
    [
        "alter publication groundwork add table other",
        "alter publication groundwork set table items, other",
        "alter publication groundwork add table other; alter publication groundwork drop table other",
        "alter publication groundwork add tables in schema elsewhere",
        "comment on publication groundwork is 'ours'",
        "alter table items alter name set storage external; create index on items (name); analyze items",
        "vacuum full items",
    ],
)
def test_changes_that_are_not_about_a_table_do_not_copy_it(items: Capture, change: str) -> None:
    if "in schema" in change:
        needs(items.database.server, 15, "publications of schemas")
    items.database.sql("create schema elsewhere; create table elsewhere.t (id int primary key)")
    for statement in change.split("; "):
        items.database.sql(statement)
    items.database.sql("insert into items values (60, 'z')")
    assert items.run().operations == {"insert": 1}
    items.assert_equal_to_the_source()
    assert events(items) == []


def test_a_schema_that_was_not_published_for_a_while_means_to_copy_again(
    database: Database, capture: Captures
) -> None:
    needs(database.server, 15, "publications of schemas")
    database.sql("create schema eu; create table eu.t (id int primary key); insert into eu.t values (1), (2)")
    database.sql("create publication groundwork for tables in schema eu")
    database.let_read()
    source = capture(t=("eu.t", ["id"]))
    source.run()
    database.sql("alter publication groundwork drop tables in schema eu")
    database.sql("delete from eu.t where id = 1")
    database.sql("alter publication groundwork add tables in schema eu")
    source.run()
    source.assert_equal_to_the_source()
    assert events(source) == ["published_anew"]


def test_a_publication_for_all_tables_that_is_made_anew_means_to_copy_again(
    database: Database, capture: Captures
) -> None:
    database.sql(
        "create table t (id int primary key); insert into t values (1), (2); create publication groundwork for all tables"
    )
    database.let_read()
    source = capture(t=("public.t", ["id"]))
    source.run()
    database.sql("drop publication groundwork")
    database.sql("delete from t where id = 1")
    database.sql("create publication groundwork for all tables")
    if database.server.major_version < 18:  # then PostgreSQL cannot decode what was written without it
        with pytest.raises(SlotLost, match=r"publication 'groundwork' was gone for a while.*full-refresh"):
            source.run()
        source.run(full_refresh=True)
        source.assert_equal_to_the_source()
        return
    source.run()
    source.assert_equal_to_the_source()
    assert events(source) == ["publication_changed"]


def test_a_row_filter_shows_a_row_that_comes_and_goes(database: Database, capture: Captures) -> None:
    """PostgreSQL tells an update that leaves the filter as a delete, one that enters it as an insert."""
    needs(database.server, 15, "row filters")
    database.sql(
        "create table people (id int, state text, name text, primary key (id, state));"
        "insert into people select i, case when i % 2 = 0 then 'on' else 'off' end, 'n' from generate_series(1, 10) i;"
        "create publication groundwork for table people where (state = 'on')"
    )
    database.let_read()
    source = capture(people=("public.people", ["id", "state"]))
    source.run()
    database.sql(
        "update people set state = 'off' where id in (2, 4); update people set state = 'on' where id in (1, 3);"
        "update people set name = 'x' where id in (5, 6); delete from people where id in (7, 8)"
    )
    source.run()
    truth = database.sql("select id::text, state, name from people where state = 'on' order by people.id")
    there = [[r["id"], r["state"], r["name"]] for r in source.reconstructed("people")]
    assert sorted(there, key=lambda row: int(row[0])) == truth


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("create unlogged table t (id int primary key)", "It is unlogged, .* set logged"),
        ("create view t as select 1 as id", "It is no table: a view"),
    ],
)
def test_what_has_no_log_is_refused_with_the_reason(
    database: Database, capture: Captures, made: str, message: str
) -> None:
    database.sql(f"create table other (id int primary key); {made}")
    database.publish("other")
    with pytest.raises(SourceRefused, match=f"'public.t' is not in publication 'groundwork'. {message}"):
        capture(t=("public.t", ["id"])).run()


# -- names --------------------------------------------------------------------------------------------------

NAMES = [
    "Mixed Case", 'a "quoted" name', "select", "$dollar$", "ümläut 💥", "n" * 63, "tab\tname", "it's", "per%cent:colon", "semi;colon--",
    "back\\slash", "with.dot",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(database: Database, capture: Captures, name: str) -> None:
    """As schema, table and column, in the copy, the log, a key, a partition and a truncation."""
    q = '"' + name.replace('"', '""') + '"'
    key = name if '"' not in name else "id"  # the catalog takes no quote in a column that it names
    k = f'"{key}"'
    schema = q if "." not in name else '"plain"'
    database.sql(
        f"create schema {schema}; create table {schema}.{q} ({k} int primary key, v text) partition by range ({k});"
        f'create table {schema}."leaf" partition of {schema}.{q} for values from (0) to (100);'
        f"alter table {schema}.{q} replica identity full; insert into {schema}.{q} values (1, 'a'), (2, 'b')"
    )
    database.sql(
        f"create publication groundwork for table {schema}.{q} with (publish_via_partition_root);"
        f"grant usage on schema {schema} to groundwork; grant select on {schema}.{q} to groundwork"
    )
    source = capture(t=(f"{name if schema == q else 'plain'}.{name}", [key]))

    def assert_equal() -> None:
        truth = database.sql(f"select {k}::text, v from {schema}.{q} order by {k}")
        assert sorted([r[key], r["v"]] for r in source.reconstructed("t")) == truth

    source.run()
    assert_equal()
    database.sql(
        f"insert into {schema}.{q} values (3, 'c'); update {schema}.{q} set {k} = 9 where {k} = 1; delete from {schema}.{q} where {k} = 2"
    )
    database.sql(f"create table {schema}.added (like {schema}.{q} including all); insert into {schema}.added values (200, 'd');"
                 f"alter table {schema}.{q} attach partition {schema}.added for values from (100) to (300)")  # fmt: skip
    report = source.run()
    assert report.operations["snapshot"] == 1
    assert_equal()
    database.sql(f"truncate {schema}.{q}; insert into {schema}.{q} values (4, 'e')")
    source.run()
    assert_equal()


def test_slots_of_sources_with_long_names_stay_apart() -> None:
    from groundwork.sources.slot import slot_name

    names: list[Any] = [slot_name("s" * 60 + end, "file:///bucket") for end in ("a", "b")]
    assert len({*names}) == 2
    assert all(len(name) <= 63 for name in names)
