# ruff: noqa: E501 (statements and messages read better in one line)
"""Each kind of change at the source: afterwards landing tells the same story as the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demo.postgres import Postgres
from groundwork.errors import CatalogError, SlotLost, SourceRefused
from groundwork.sources import changes, incoming, postgres
from tests.capture import Capture, Database, needs

Captures = Callable[..., Capture]
LONG = (
    "select string_agg(md5(i::text || {seed}), '') from generate_series(1, 400) i"  # 12,800 letters, TOASTed
)


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create table items (id bigint primary key, name text, amount numeric(10,2), story text);"
        f"insert into items select i, 'item ' || i, i * 1.5, ({LONG.format(seed='i')}) from generate_series(1, 20) i"
    )
    database.publish("items")
    source = capture(items=("public.items", ["id"]))
    source.run()
    source.assert_equal_to_the_source()
    return source


def operations(capture: Capture, stream: str = "items") -> list[str]:
    return [row["_operation"] for row in capture.landed(stream) if row["_operation"] != "snapshot"][1:]


def test_insert_update_and_delete_arrive(items: Capture, database: Database) -> None:
    database.sql("insert into items values (100, 'new', 1, null), (101, null, null, '')")
    database.sql("update items set name = 'changed' where id = 3")
    database.sql("delete from items where id in (4, 5)")
    report = items.run()
    items.assert_equal_to_the_source()
    assert report.operations == {"insert": 2, "update": 1, "delete": 2}


def test_an_idle_run_commits_nothing(items: Capture) -> None:
    before = len(items.manifests)
    report = items.run()
    assert (report.batches, report.rows) == ([], {})
    assert len(items.manifests) == before


def test_an_unchanged_long_value_is_named_and_not_nulled(items: Capture, database: Database) -> None:
    database.sql("update items set amount = 0 where id < 5")
    items.run()
    landed = [row for row in items.landed("items") if row["_operation"] == "update"]
    assert [(row["story"], row["_unchanged"]) for row in landed] == [(None, '["story"]')] * 4
    items.assert_equal_to_the_source()


def test_under_full_identity_an_unchanged_long_value_is_there(items: Capture, database: Database) -> None:
    database.sql("alter table items replica identity full")
    database.sql("update items set amount = 0 where id < 5")
    database.sql("update items set id = id + 1000 where id < 3")
    items.run()
    landed = [row for row in items.landed("items") if row["_operation"] == "update"]
    assert len(landed) == 6
    assert all(len(row["story"]) == 12_800 and row["_unchanged"] is None for row in landed)
    items.assert_equal_to_the_source()


def test_a_changed_key_removes_the_old_record(items: Capture, database: Database) -> None:
    database.sql("update items set id = id + 500, story = 'short' where id <= 3")
    items.run()
    items.assert_equal_to_the_source()
    assert operations(items) == ["delete", "update"] * 3


def test_a_changed_key_keeps_a_long_value_that_the_log_does_not_repeat(
    items: Capture, database: Database
) -> None:
    database.sql(
        "update items set id = id + 500 where id <= 3; insert into items values (1, 'other', 1, 'short')"
    )
    items.run()
    items.assert_equal_to_the_source()
    landed = [row for row in items.landed("items") if row["_unchanged"]]
    assert [(row["_operation"], row["story"]) for row in landed] == [("update", None)] * 3


def test_a_key_born_changed_and_gone_in_one_transaction_leaves_nothing(
    items: Capture, database: Database
) -> None:
    database.sql(
        "insert into items values (7000, 'x', 1, 'y'); update items set name = 'z' where id = 7000;"
        "delete from items where id = 7000; insert into items values (7001, 'a', 1, 'b');"
        "delete from items where id = 7001; insert into items values (7001, 'again', 2, 'c')"
    )
    items.run()
    items.assert_equal_to_the_source()
    assert operations(items) == ["insert", "update", "delete", "insert", "delete", "insert"]


def test_a_truncation_ends_all_records_before_it_and_none_after(items: Capture, database: Database) -> None:
    database.sql(
        "insert into items values (900, 'before', 1, ''); truncate items; insert into items values (901, 'after', 1, '')"
    )
    items.run()
    items.assert_equal_to_the_source()
    assert operations(items) == ["insert", "truncate", "insert"]


def test_a_truncation_alone_is_a_batch(items: Capture, database: Database) -> None:
    database.sql("truncate items")
    items.run()
    items.assert_equal_to_the_source()
    assert items.reconstructed("items") == []


def test_a_cascading_truncation_of_several_tables_reaches_each(database: Database, capture: Captures) -> None:
    database.sql(
        "create table parent (id int primary key); create table child (id int primary key, parent int references parent);"
        "create table other (id int primary key);"
        "insert into parent values (1), (2); insert into child values (1, 1), (2, 2); insert into other values (1)"
    )
    database.publish("parent", "child", "other")
    source = capture(**{t: (f"public.{t}", ["id"]) for t in ("parent", "child", "other")})
    source.run()
    database.sql(
        "insert into parent values (3); truncate parent, other cascade; insert into parent values (4);"
        "insert into child values (9, 4); truncate other; insert into other values (5)"
    )
    source.run()
    source.assert_equal_to_the_source()


def test_rolled_back_savepoints_and_transactions_are_absent(items: Capture, database: Database) -> None:
    with database.connection() as connection:
        for statement in (
            "begin", "insert into items values (200, 'kept', 1, '')", "savepoint a",
            "insert into items values (201, 'gone', 1, '')", "savepoint b",
            "update items set name = 'gone' where id = 1", "rollback to a",
            "insert into items values (202, 'kept too', 1, '')", "commit",
            "begin", "delete from items", "rollback",
        ):  # fmt: skip
            connection.run(statement)
    items.run()
    items.assert_equal_to_the_source()
    assert operations(items) == ["insert", "insert"]


def test_empty_transactions_and_foreign_messages_stop_nothing(items: Capture, database: Database) -> None:
    database.sql("create table unpublished (id int)")
    for _ in range(20):
        database.sql("insert into unpublished values (1)")
        database.sql("select pg_logical_emit_message(true, 'somebody', 'else')")
        database.sql("select pg_logical_emit_message(false, 'groundwork', 'not ours')")
    database.sql(
        "select pg_logical_emit_message(false, '', ''), pg_logical_emit_message(true, 'groundwork', '')"
    )
    database.sql("delete from items where id = 1")
    report = items.run()
    assert report.rows == {"items": 1}
    items.assert_equal_to_the_source()


def test_prepared_transactions_arrive_when_they_are_committed(items: Capture, database: Database) -> None:
    database.sql("begin; insert into items values (300, 'later', 1, ''); prepare transaction 'p'")
    database.sql("begin; insert into items values (301, 'never', 1, ''); prepare transaction 'q'")
    assert items.run().rows == {}
    database.sql("insert into items values (302, 'between', 1, '')")
    assert items.run().operations == {"insert": 1}
    database.sql("commit prepared 'p'")
    database.sql("rollback prepared 'q'")
    assert items.run().operations == {"insert": 1}
    items.assert_equal_to_the_source()


def test_a_message_asks_for_an_acknowledgement_though_nothing_is_new(
    items: Capture, database: Database
) -> None:
    """Before an upgrade the slot must have nothing left to read, not even our own message of an idle run."""
    assert items.run().batches == []
    database.sql("select pg_logical_emit_message(true, 'groundwork', 'checkpoint')")
    assert len(items.run().batches) == 1
    confirmed = database.sql(
        "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = :s", s=items.slot()
    )
    assert confirmed == [[items.manifests[-1].cursors["_log"]["lsn"]]]
    assert items.run().batches == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a column is added", "alter table items add column extra text"),
        ("with a default", "alter table items add column extra text default 'filled'"),
        ("with a default that is dropped again",
         "alter table items add column extra text default 'filled'; alter table items alter extra drop default"),
        ("with a default that differs per row", "alter table items add column extra uuid default gen_random_uuid()"),
        ("computed", "alter table items add column extra numeric generated always as (amount * 2) stored"),
        ("an identity", "alter table items add column extra bigint generated always as identity"),
        ("a column is dropped", "alter table items drop column amount"),
        ("a column is renamed", "alter table items rename column name to title"),
        ("two columns change names",
         "alter table items rename column name to x; alter table items rename column story to name;"
         "alter table items rename column x to story"),
        ("a type is widened", "alter table items alter column amount type numeric(20,6)"),
        ("a type is changed", "alter table items alter column amount type text using 'value ' || amount"),
        ("a column is made anew", "alter table items drop column name; alter table items add column name text"),
        ("columns change order",
         "alter table items add column n2 text; update items set n2 = name; alter table items drop column name;"
         "alter table items rename column n2 to name"),
    ],
)  # fmt: skip
def test_the_shape_changes_in_mid_stream(items: Capture, database: Database, name: str, change: str) -> None:
    database.sql("insert into items (id, story) values (50, 'before')")
    database.sql(change)
    database.sql("insert into items (id, story) values (51, 'after')")
    database.sql("update items set story = 'changed' where id = 2")
    items.run()
    items.assert_equal_to_the_source()
    database.sql("update items set story = 'changed again' where id in (1, 51)")
    items.run()
    items.assert_equal_to_the_source()
    events = [event for manifest in items.manifests for event in manifest.events]
    seen = name != "computed" or database.publishes_generated
    # A column that the server does not publish is not seen; that its rows were written again is.
    assert [event["event"] for event in events] == ["columns_changed" if seen else "table_rewritten"]


def test_a_shape_that_changes_while_we_read_is_seen_in_the_same_run(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = postgres.published
    calls = []

    def published(*arguments: Any) -> Any:
        found = original(*arguments)
        if not calls:
            database.sql("alter table items add column extra text default 'filled'")
            database.sql("insert into items (id) values (70)")
        calls.append(1)
        return found

    monkeypatch.setattr(postgres, "published", published)
    items.run()
    items.assert_equal_to_the_source()
    assert len(calls) == 2


def test_landing_never_loses_a_column(items: Capture, database: Database) -> None:
    database.sql("alter table items drop column amount")
    database.sql("insert into items values (50, 'x', 'y')")
    items.run()
    with items.warehouse() as warehouse:
        assert "amount" in warehouse.columns("landing", "shop__items")


def test_a_table_without_a_key_is_followed_under_full_identity(database: Database, capture: Captures) -> None:
    database.sql(
        "create table views (at timestamptz, path text, story text); alter table views replica identity full;"
        f"insert into views select now(), 'p' || i % 3, ({LONG.format(seed='i')}) from generate_series(1, 9) i;"
        "insert into views select * from views"
    )
    database.publish("views")
    source = capture(views=("public.views", []))
    source.run()
    source.assert_equal_to_the_source()
    database.sql("insert into views values (null, null, null), (null, null, null)")
    database.sql("delete from views where ctid in (select min(ctid) from views group by path)")
    database.sql("update views set path = 'moved' where path = 'p1'")
    source.run()
    source.assert_equal_to_the_source()
    assert set(operations(source, "views")) == {"insert", "delete"}


def test_an_index_can_identify_the_rows(database: Database, capture: Captures) -> None:
    database.sql(
        "create table people (id int primary key, email text not null, name text);"
        "create unique index by_email on people (email) include (name);"
        "alter table people replica identity using index by_email;"
        "insert into people values (1, 'a@x', 'A'), (2, 'b@x', 'B')"
    )
    database.publish("people")
    source = capture(people=("public.people", ["email"]))
    source.run()
    database.sql("update people set email = 'c@x' where id = 1; update people set id = 7 where id = 2")
    database.sql("insert into people values (3, 'd@x', 'D'); delete from people where id = 7")
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize("key", [["id"], []])
def test_a_key_that_the_log_does_not_carry_is_refused(
    database: Database, capture: Captures, key: list[str]
) -> None:
    database.sql(
        "create table people (id int primary key, email text not null); create unique index by_email on people (email);"
        "alter table people replica identity using index by_email"
    )
    database.publish("people")
    with pytest.raises(
        CatalogError, match=r"shop.streams.people.primary_key: .*replica identity is \(email\)"
    ):
        capture(people=("public.people", key)).run()


def test_an_identity_that_changes_in_mid_stream_is_refused_before_a_delete_is_lost(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql(
        "alter table items alter name set not null; create unique index by_name on items (name);"
        "alter table items replica identity using index by_name"
    )
    database.sql("delete from items where id = 1")
    database.sql("alter table items replica identity default")
    with pytest.raises(SourceRefused, match=r"public.items: an update or delete does not name its record"):
        items.run()
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()


def test_a_stored_generated_column_is_the_same_in_snapshot_and_log(
    database: Database, capture: Captures
) -> None:
    database.sql(
        "create table lines (id int primary key, q int, p numeric, total numeric generated always as (q * p) stored);"
        "insert into lines (id, q, p) values (1, 2, 3.50)"
    )
    database.publish("lines")
    source = capture(lines=("public.lines", ["id"]))
    source.run()
    database.sql("insert into lines (id, q, p) values (2, 3, 0.10); update lines set q = 9 where id = 1")
    source.run()
    source.assert_equal_to_the_source()
    landed = [row for row in source.landed("lines") if row["id"]]
    assert len(landed) == 3
    assert {row.get("total") is not None for row in landed} == {database.publishes_generated}


def test_a_partitioned_table_is_one_stream_whatever_its_leaves_look_like(
    database: Database, capture: Captures
) -> None:
    database.sql(
        "create table moves (id int, at date, note text, primary key (id, at)) partition by range (at);"
        "create table moves_1 partition of moves for values from ('2026-01-01') to ('2026-07-01');"
        "create table moves_2 (note text, gone int, at date not null, id int not null);"
        "alter table moves_2 drop column gone;"
        "alter table moves attach partition moves_2 for values from ('2026-07-01') to ('2027-01-01');"
        "insert into moves values (1, '2026-02-01', 'a'), (2, '2026-08-01', 'b')"
    )
    database.publish("moves")
    source = capture(moves=("public.moves", ["id", "at"]))
    source.run()
    database.sql("insert into moves values (3, '2026-03-01', 'c'), (4, '2026-09-01', 'd')")
    database.sql("update moves set at = '2026-10-01' where id = 1; delete from moves where id = 2")
    database.sql("create table moves_3 partition of moves for values from ('2027-01-01') to ('2028-01-01')")
    database.sql("insert into moves values (5, '2027-03-01', null)")
    source.run()
    source.assert_equal_to_the_source()
    database.sql("truncate moves; insert into moves values (6, '2026-03-01', 'x')")
    source.run()
    source.assert_equal_to_the_source()


def test_odd_names_are_names(database: Database, capture: Captures) -> None:
    long = "n" * 63
    database.sql(
        'create schema "Sales.EU"; create table "Sales.EU"."Order" '
        '("Id" int primary key, "select" text, "a ""quoted"" name" text, "ümläut 💥" text, "tab\tname" text,'
        f' "per%cent:colon" text, "{long}" text, "$1" text);'
        "insert into \"Sales.EU\".\"Order\" values (1, 's', 'q', 'ü', 't', '%', 'l', '$')"
    )
    database.publish('"Sales.EU"."Order"')
    source = capture(orders=("Sales.EU.Order", ["Id"]))
    source.run()
    source.assert_equal_to_the_source()
    database.sql(
        'insert into "Sales.EU"."Order" select "Id" + 1, "select", null, \'x\' from "Sales.EU"."Order"'
    )
    database.sql('update "Sales.EU"."Order" set "select" = \'where\', "Id" = 5 where "Id" = 1')
    source.run()
    source.assert_equal_to_the_source()


def test_tables_of_one_name_in_two_schemas_are_two_streams(database: Database, capture: Captures) -> None:
    database.sql(
        "create schema eu; create schema us; create table eu.t (id int primary key); create table us.t (id int primary key)"
    )
    database.publish("eu.t", "us.t")
    source = capture(eu=("eu.t", ["id"]), us=("us.t", ["id"]))
    source.run()
    database.sql(
        "insert into eu.t values (1), (2); insert into us.t values (3); truncate us.t; insert into us.t values (4)"
    )
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ('"Name" text', "columns 'name' and 'Name' differ in upper and lower case only"),
        ("_operation text", "column '_operation' has a name that landing gives"),
    ],
)
def test_columns_that_landing_cannot_hold_are_refused(
    database: Database, capture: Captures, column: str, message: str
) -> None:
    database.sql("create table people (id int primary key, name text)")
    database.publish("people")
    source = capture(people=("public.people", ["id"]))
    source.run()
    database.sql(f"alter table people add column {column}; insert into people values (1, 'a', 'b')")
    with pytest.raises(CatalogError, match=message):
        source.run()
    source.load()
    assert source.reconstructed("people") == []


def test_a_stream_added_later_gets_its_history_and_the_others_go_on(
    items: Capture, database: Database
) -> None:
    database.sql(
        "create table notes (id int primary key, t text); alter publication groundwork add table notes;"
        "insert into notes values (1, 'old'), (2, 'older')"
    )
    database.let_read()
    items.run()
    database.sql("update notes set t = 'changed' where id = 1; insert into items values (60, 'x', 1, '')")
    items.streams["notes"] = ("public.notes", ["id"])
    database.sql("delete from notes where id = 2; insert into notes values (3, 'new')")
    report = items.run()
    assert report.operations["snapshot"] == 2
    items.assert_equal_to_the_source()
    database.sql("delete from notes where id = 3")
    items.run()
    items.assert_equal_to_the_source()


def test_a_stream_that_was_left_out_for_a_while_begins_anew(items: Capture, database: Database) -> None:
    database.sql(
        "create table notes (id int primary key); insert into notes values (1);"
        "alter publication groundwork add table notes"
    )
    database.let_read()
    items.streams["notes"] = ("public.notes", ["id"])
    items.run()
    notes = items.streams.pop("notes")
    database.sql("delete from notes; insert into notes values (2); insert into items values (60, 'x', 1, '')")
    items.run()
    items.streams["notes"] = notes
    items.run()
    items.assert_equal_to_the_source()


def test_a_table_made_anew_under_its_name_begins_anew(items: Capture, database: Database) -> None:
    database.sql(
        "drop table items; create table items (id bigint primary key, name text);"
        "insert into items values (1, 'another'); alter publication groundwork add table items"
    )
    database.let_read()
    items.run()
    items.assert_equal_to_the_source()
    assert [e["event"] for m in items.manifests for e in m.events] == ["table_recreated"]


def test_a_table_that_was_not_published_for_a_while_begins_anew(items: Capture, database: Database) -> None:
    database.sql("alter publication groundwork drop table items")
    database.sql("delete from items where id < 10")
    database.sql("alter publication groundwork add table items")
    items.run()
    items.assert_equal_to_the_source()


def test_a_publication_made_anew_begins_anew(items: Capture, database: Database) -> None:
    database.sql("drop publication groundwork")
    database.sql("delete from items where id < 10")
    database.publish("items")
    database.sql("delete from items where id = 11")
    if database.server.major_version < 18:  # then PostgreSQL cannot decode what was written without it
        with pytest.raises(SlotLost, match=r"publication 'groundwork' was gone for a while.*full-refresh"):
            items.run()
        items.run(full_refresh=True)
    else:
        items.run()
    items.assert_equal_to_the_source()
    database.sql("delete from items where id = 12")
    items.run()
    items.assert_equal_to_the_source()


def test_only_published_columns_and_rows_are_read(database: Database, capture: Captures) -> None:
    needs(database.server, 15, "column lists and row filters")
    database.sql(
        "create table people (id int primary key, name text, secret text);"
        "insert into people select i, 'n' || i, 's' from generate_series(1, 10) i;"
        "create publication groundwork for table people (id, name) where (id > 5)"
    )
    database.let_read()
    source = capture(people=("public.people", ["id"]))
    source.run()
    database.sql(
        "insert into people values (11, 'new', 's'), (0, 'hidden', 's');"
        "update people set id = -6 where id = 6; update people set id = 12 where id = 1; delete from people where id = 7"
    )
    source.run()
    truth = database.sql("select id::text, name from people where id > 5 order by people.id")
    there = sorted(([r["id"], r["name"]] for r in source.reconstructed("people")), key=lambda r: int(r[0]))
    assert there == truth
    assert "secret" not in source.landed("people")[0]


def test_transactions_stay_whole_across_batches(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BATCH_ROWS", 50)
    monkeypatch.setattr(incoming, "CHUNK", 4096)
    for size in (1, 49, 120, 3, 60, 1, 1):
        database.sql(
            f"insert into items select 1000 + max(id) + i, 'x', {size}, '' from items, generate_series(1, {size}) i group by i"
        )
    report = items.run()
    items.assert_equal_to_the_source()
    assert len(report.batches) > 1
    batches: dict[str, set[str]] = {}
    for row in items.landed("items"):
        batches.setdefault(row["_sequence"][:16], set()).add(row["_batch_id"])
    assert all(len(found) == 1 for found in batches.values())


def test_many_small_buffers_give_the_same_as_one(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "CHUNK", 4096)
    monkeypatch.setattr(changes, "BATCH_ROWS", 50)
    for number in range(8):
        database.sql(
            f"insert into items select 1000 * {number + 1} + i, repeat('x', i), i, repeat('y', 5000) from generate_series(1, 20) i"
        )
        database.sql(f"update items set id = id + 500 where id > 1000 and id % 1000 = {number}")
    report = items.run()
    assert len(report.batches) > 2
    items.assert_equal_to_the_source()
    items.run(full_refresh=True)
    items.assert_equal_to_the_source()


def test_whole_tables_are_read_anew_each_time(database: Database, capture: Captures) -> None:
    database.sql(
        "create table notes (id int primary key, t text); insert into notes values (1, 'a'), (2, 'b')"
    )
    database.publish("notes")
    source = capture(notes=("public.notes", ["id"]))
    whole = source.entry.model_copy(
        update={
            "streams": {
                "notes": source.entry.streams["notes"].model_copy(update={"replication": "full_table"})
            }
        }
    )
    from groundwork.extract import extract, open_source

    for change in ("delete from notes where id = 1", "insert into notes values (3, 'c')"):
        extract(whole, open_source(whole, source.resolve, source.bucket), source.bucket)
        database.sql(change)
    extract(whole, open_source(whole, source.resolve, source.bucket), source.bucket)
    source.load()
    source.assert_equal_to_the_source()
    assert (
        database.server.sql("select 1 from pg_replication_slots where database = :d", d=database.name) == []
    )
    database.sql("delete from notes where id = 2")
    source.run()  # from now on by the log
    source.assert_equal_to_the_source()
    with pytest.raises(CatalogError, match="cannot become 'full_table'"):
        extract(whole, open_source(whole, source.resolve, source.bucket), source.bucket)


def test_the_slot_follows_the_manifest_in_the_same_run(items: Capture, database: Database) -> None:
    database.sql("delete from items where id = 1")
    items.run()
    confirmed = database.server.sql(
        "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = :s", s=items.slot()
    )
    assert confirmed == [[items.manifests[-1].cursors["_log"]["lsn"]]]


def test_the_slot_moves_while_another_database_of_the_server_is_busy(
    items: Capture, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "HEARTBEAT_BYTES", 1 << 20)
    before = items.manifests[-1].cursors["_log"]["lsn"]
    server.sql("create table noise as select repeat('x', 1000) from generate_series(1, 3000)")
    server.sql("drop table noise")
    report = items.run()
    assert (report.rows, len(report.batches)) == ({}, 1)
    assert items.manifests[-1].cursors["_log"]["lsn"] != before


def test_an_idle_sources_slot_still_moves(
    items: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "HEARTBEAT_BYTES", 1 << 20)
    before = items.manifests[-1].cursors["_log"]["lsn"]
    database.sql(
        "create table quiet (t text); insert into quiet select repeat('x', 1000) from generate_series(1, 3000)"
    )
    report = items.run()
    assert report.rows == {}
    assert len(report.batches) == 1
    assert items.manifests[-1].cursors["_log"]["lsn"] != before
    items.assert_ledger_is_whole()
