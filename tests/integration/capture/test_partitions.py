# ruff: noqa: E501 (statements and messages read better in one line)
"""Partitioned tables and inheritance: what is not in the log is seen, and landing tells the same story again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from groundwork.errors import CatalogError, SourceRefused
from groundwork.sources import postgres
from tests.capture import Capture, Database

Captures = Callable[..., Capture]

MOVES = (
    "create table moves (id int, at date, note text, primary key (id, at)) partition by range (at);"
    "create table moves_1 partition of moves for values from ('2026-01-01') to ('2026-02-01');"
    "create table moves_2 partition of moves for values from ('2026-02-01') to ('2026-03-01');"
    "create table moves_3 partition of moves for values from ('2026-03-01') to ('2026-04-01');"
    "insert into moves select i, date '2026-01-01' + i % 90, 'note ' || i from generate_series(1, 300) i"
)
JULY = "for values from ('2026-07-01') to ('2026-08-01')"


@pytest.fixture
def moves(database: Database, capture: Captures) -> Capture:
    database.sql(MOVES)
    database.publish("moves")
    source = capture(moves=("public.moves", ["id", "at"]))
    source.run()
    source.assert_equal_to_the_source()
    return source


def events(source: Capture) -> list[dict[str, Any]]:
    return [event for manifest in source.manifests for event in manifest.events]


def test_an_attached_table_brings_its_rows_and_no_others_are_copied(
    moves: Capture, database: Database
) -> None:
    database.sql(
        "create table old (gone text, note text, id int not null, at date not null); alter table old drop column gone;"
        "insert into old select 'old', i, '2026-07-05' from generate_series(1, 20) i;"
        f"alter table moves attach partition old {JULY};"
        "update moves set note = 'changed' where id < 5; delete from moves where id = 7 and at = '2026-07-05'"
    )
    report = moves.run()
    moves.assert_equal_to_the_source()
    assert report.operations["snapshot"] == 19
    assert "truncate" not in report.operations
    (event,) = events(moves)
    assert (event["event"], event["added"], event["copied"]) == (
        "partitions_changed",
        ["public.old"],
        ["public.old"],
    )
    assert not event["copied_again"]
    database.sql("update moves set note = 'changed again' where id < 3")
    assert moves.run().operations.keys() == {"update"}
    moves.assert_equal_to_the_source()


def test_a_new_partition_without_rows_costs_no_copy(moves: Capture, database: Database) -> None:
    database.sql(f"create table moves_7 partition of moves {JULY}")
    report = moves.run()
    assert report.operations == {}
    assert [(e["added"], e["copied_again"], e["copied"]) for e in events(moves)] == [
        (["public.moves_7"], False, [])
    ]
    database.sql("insert into moves values (1, '2026-07-07', 'new')")
    assert moves.run().operations == {"insert": 1}
    moves.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table moves detach partition moves_2", ("gone", ["public.moves_2"])),
        ("drop table moves_2", ("gone", ["public.moves_2"])),
        ("truncate moves_2", ("rewritten", ["public.moves_2"])),
        ("truncate moves_2; insert into moves values (1000, '2026-02-02', 'after')", ("rewritten", ["public.moves_2"])),
        ("vacuum full moves_2", ("rewritten", ["public.moves_2"])),
    ],
)  # fmt: skip
def test_rows_that_go_with_a_partition_go_from_landing(
    moves: Capture, database: Database, change: str, told: tuple[str, list[str]]
) -> None:
    database.sql("insert into moves values (900, '2026-02-10', 'before'), (901, '2026-01-10', 'kept')")
    database.sql(change)
    database.sql("update moves set note = 'after' where id < 20")
    report = moves.run()
    moves.assert_equal_to_the_source()
    assert report.operations["truncate"] == 1
    (event,) = events(moves)
    assert event["event"] == "partitions_changed"
    assert event["copied_again"]
    assert event[told[0]] == told[1]
    assert moves.run().operations == {}


def test_a_partition_that_was_detached_for_a_while_is_read_anew(moves: Capture, database: Database) -> None:
    database.sql("alter table moves detach partition moves_2")
    database.sql(
        "delete from moves_2 where id < 100; insert into moves_2 values (2000, '2026-02-03', 'meanwhile')"
    )
    database.sql(
        "alter table moves attach partition moves_2 for values from ('2026-02-01') to ('2026-03-01')"
    )
    moves.run()
    moves.assert_equal_to_the_source()
    assert events(moves)[0]["rewritten"] == ["public.moves_2"]


@pytest.mark.parametrize("end", ["drop table moves_7", "alter table moves detach partition moves_7"])
def test_a_partition_that_came_and_went_between_two_runs_leaves_nothing(
    moves: Capture, database: Database, end: str
) -> None:
    """Its rows are in the log, its end is not."""
    database.sql(f"create table moves_7 partition of moves {JULY}")
    database.sql("insert into moves values (1, '2026-07-07', 'short-lived'), (2, '2026-01-02', 'stays')")
    database.sql(end)
    moves.run()
    moves.assert_equal_to_the_source()
    (event,) = events(moves)
    assert len(event["gone"]) == 1
    assert event["copied_again"]
    assert moves.run().operations == {}
    assert len(events(moves)) == 1


def test_a_partition_emptied_before_its_first_look_leaves_nothing(moves: Capture, database: Database) -> None:
    database.sql(f"create table moves_7 partition of moves {JULY}")
    database.sql("insert into moves values (1, '2026-07-07', 'short-lived')")
    database.sql("truncate moves_7")
    database.sql("insert into moves values (2, '2026-07-07', 'stays')")
    moves.run()
    moves.assert_equal_to_the_source()
    assert events(moves)[0]["copied_again"]


def test_a_partition_that_is_attached_while_we_read_is_copied_in_the_same_run(
    moves: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = postgres.published, []

    def published(*arguments: Any) -> Any:
        found = original(*arguments)
        if not calls:
            database.sql(
                "create table old (like moves including all); insert into old select i, '2026-07-05', 'old' from generate_series(1, 20) i"
            )
            database.sql(
                f"alter table moves attach partition old {JULY}; update moves set note = 'x' where id = 1"
            )
        calls.append(1)
        return found

    monkeypatch.setattr(postgres, "published", published)
    moves.run()
    if database.server.major_version < 15:  # its log says nothing of the new partition: the next run sees it
        moves.run()
    assert len(calls) == 2
    moves.assert_equal_to_the_source()


def test_a_truncation_of_a_partition_while_we_read_is_seen_by_the_next_run(
    moves: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = postgres.published, []

    def published(*arguments: Any) -> Any:
        found = original(*arguments)
        if not calls:
            database.sql("truncate moves_1")
        calls.append(1)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(postgres, "published", published)
        moves.run()
    moves.run()
    moves.assert_equal_to_the_source()


def test_a_partition_below_a_partition_counts(database: Database, capture: Captures) -> None:
    database.sql(
        "create table sales (id int, region text, at date, primary key (id, region, at)) partition by list (region);"
        "create table sales_eu partition of sales for values in ('eu') partition by range (at);"
        "create table sales_eu_1 partition of sales_eu for values from ('2026-01-01') to ('2026-07-01');"
        "create table sales_us partition of sales for values in ('us');"
        "insert into sales values (1, 'eu', '2026-02-02'), (2, 'us', '2026-02-02')"
    )
    database.publish("sales")
    source = capture(sales=("public.sales", ["id", "region", "at"]))
    source.run()
    source.assert_equal_to_the_source()
    database.sql(
        "create table more (like sales including all); insert into more values (5, 'eu', '2026-08-01'), (6, 'eu', '2026-08-02');"
        "alter table sales_eu attach partition more for values from ('2026-07-01') to ('2027-01-01');"
        "insert into sales values (7, 'eu', '2026-08-08')"
    )
    # Up to 14 the log leaves out what the new partition gets as soon as it is one; the copy has it.
    told = {"insert": 1} if database.server.major_version >= 15 else {}
    assert source.run().operations == {"snapshot": 3} | told
    source.assert_equal_to_the_source()
    database.sql(
        "alter table sales detach partition sales_eu; insert into sales_us values (8, 'us', '2026-01-01')"
    )
    source.run()
    source.assert_equal_to_the_source()
    database.sql(
        "delete from sales_eu where id = 1; alter table sales attach partition sales_eu for values in ('eu')"
    )
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("by", "bound", "value"),
    [
        ("list (kind)", "in ('a b', null)", "'a b'"),
        ("list (kind)", "default", "'whatever'"),
        ("hash (kind)", "with (modulus 1, remainder 0)", "'whatever'"),
    ],
)
def test_every_kind_of_bound_can_be_copied_alone(
    database: Database, capture: Captures, by: str, bound: str, value: str
) -> None:
    clause = "default" if bound == "default" else f"for values {bound}"
    database.sql(
        f"create table notes (id int not null, kind text not null, unique (id, kind)) partition by {by};"
        "alter table notes replica identity full;"
        "create table part (id int not null, kind text not null); alter table part replica identity full;"
        f"insert into part values (1, {value}), (2, {value})"
    )
    database.publish("notes")
    source = capture(notes=("public.notes", ["id", "kind"]))
    source.run()
    database.sql(f"alter table notes attach partition part {clause}; insert into notes values (3, {value})")
    source.run()
    source.assert_equal_to_the_source()
    assert events(source)[0]["copied"] == ["public.part"]


def test_an_attached_table_without_a_key_means_to_copy_all(database: Database, capture: Captures) -> None:
    database.sql(
        "create table hits (at date, path text) partition by range (at);"
        "create table hits_1 partition of hits for values from ('2026-01-01') to ('2026-07-01');"
        "alter table hits replica identity full; alter table hits_1 replica identity full; insert into hits values ('2026-01-01', 'a'), ('2026-01-01', 'a')"
    )
    database.publish("hits")
    source = capture(hits=("public.hits", []))
    source.run()
    database.sql(
        "create table more (at date, path text); alter table more replica identity full; insert into more values ('2026-08-01', 'b');"
        "alter table hits attach partition more for values from ('2026-07-01') to ('2027-01-01');"
        "insert into hits values ('2026-08-01', 'b'); delete from hits where ctid = '(0,1)' and at = '2026-01-01'"
    )
    source.run()
    source.assert_equal_to_the_source()
    assert events(source)[0]["copied_again"]
    database.sql(
        "create table hits_3 partition of hits for values from ('2027-01-01') to ('2027-07-01'); alter table hits_3 replica identity full"
    )
    assert source.run().operations == {}
    database.sql("insert into hits values ('2027-01-01', 'c'); delete from hits where path = 'b'")
    assert source.run().operations == {"insert": 1, "delete": 2}
    source.assert_equal_to_the_source()


def test_the_right_to_read_the_root_is_enough_for_a_partition(moves: Capture, database: Database) -> None:
    database.sql(
        "create table old (like moves including all); insert into old values (1, '2026-07-05', 'old');"
        f"alter table moves attach partition old {JULY}; revoke all on old, moves_1, moves_2, moves_3 from groundwork"
    )
    assert moves.run().operations["snapshot"] == 1
    moves.assert_equal_to_the_source()


def test_a_row_that_moves_to_another_partition_stays_one_record(moves: Capture, database: Database) -> None:
    database.sql("update moves set at = at + 40 where id between 1 and 20 and at < '2026-02-01'")
    moves.run()
    moves.assert_equal_to_the_source()


def test_partitions_published_each_as_a_stream(database: Database, capture: Captures) -> None:
    database.sql(MOVES)
    database.publish("moves", options="publish_via_partition_root = false")
    source = capture(
        one=("public.moves_1", ["id", "at"]), two=("public.moves_2", ["id", "at"]), three=("public.moves_3", ["id", "at"])
    )  # fmt: skip
    source.run()
    source.assert_equal_to_the_source()
    database.sql(
        "truncate moves_2; insert into moves values (1000, '2026-02-02', 'new'); delete from moves where id = 5"
    )
    database.sql("update moves set at = at + 31 where at = '2026-01-05'")
    report = source.run()
    source.assert_equal_to_the_source()
    assert report.operations["truncate"] == 1
    assert events(source) == []
    database.sql("alter table moves detach partition moves_3; delete from moves_3 where id < 200")
    database.sql(
        "alter table moves attach partition moves_3 for values from ('2026-03-01') to ('2026-04-01')"
    )
    database.sql("insert into moves values (1001, '2026-03-02', 'new')")
    source.run()
    source.assert_equal_to_the_source()
    assert [(e["event"], e["stream"]) for e in events(source)] == [("published_anew", "three")]


def test_a_root_whose_publication_shows_the_partitions_is_refused_with_the_way_out(
    database: Database, capture: Captures
) -> None:
    database.sql(MOVES)
    database.publish("moves", options="publish_via_partition_root = false")
    source = capture(moves=("public.moves", ["id", "at"]))
    with pytest.raises(
        SourceRefused,
        match=r"shows each partition as a table of its own. Run the statements that .*doctor --sql.*, or make a stream of each",
    ):
        source.run()
    database.sql('alter publication "groundwork" set (publish_via_partition_root = true)')
    source.run()
    source.assert_equal_to_the_source()


def test_a_partition_whose_root_is_published_is_refused_with_the_way_out(
    database: Database, capture: Captures
) -> None:
    database.sql(MOVES)
    database.publish("moves")
    with pytest.raises(
        SourceRefused, match=r"partition of 'public.moves', which .* Let table be 'public.moves'"
    ):
        capture(moves=("public.moves_1", ["id", "at"])).run()


def test_a_partition_with_another_replica_identity_than_the_root_is_refused(
    database: Database, capture: Captures
) -> None:
    """The root's identity does not reach its partitions."""
    database.sql(
        "create table hits (id int not null, path text not null, at date, unique (id, at)) partition by range (at);"
        "create table hits_1 partition of hits for values from ('2026-01-01') to ('2026-07-01');"
        "alter table hits replica identity full; create unique index by_path on hits_1 (path); alter table hits_1 replica identity using index by_path"
    )
    database.publish("hits")
    with pytest.raises(
        CatalogError,
        match=r"public.hits_1's log identifies rows by. Its replica identity is \(path\)\. Run the statements that .*doctor --sql",
    ):
        capture(hits=("public.hits", [])).run()


def test_a_root_without_the_identity_that_its_partitions_have_is_refused(
    database: Database, capture: Captures
) -> None:
    """The server tells a partition's rows as the root's identity says."""
    database.sql(
        "create table hits (at date, path text) partition by range (at);"
        "create table hits_1 partition of hits for values from ('2026-01-01') to ('2026-07-01'); alter table hits_1 replica identity full"
    )
    database.publish("hits")
    source = capture(hits=("public.hits", []))
    with pytest.raises(
        CatalogError, match=r"public.hits's log identifies rows by. .*Run the statements that .*doctor --sql"
    ):
        source.run()
    database.sql(
        "alter table hits replica identity full; insert into hits values ('2026-01-01', 'a'), ('2026-01-02', 'b')"
    )
    source.run()
    database.sql("update hits set path = 'c' where path = 'a'; delete from hits where path = 'b'")
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize("published", [["parent"], ["child"], ["parent", "child"]])
def test_a_parents_rows_are_its_own_and_its_childrens_theirs(
    database: Database, capture: Captures, published: list[str]
) -> None:
    database.sql(
        "create table parent (id int primary key, t text); create table child (extra int, primary key (id)) inherits (parent);"
        "insert into parent values (1, 'p'), (2, 'p'); insert into child values (1, 'c', 1), (3, 'c', 3)"
    )
    database.publish(*(f"only {name}" for name in published))
    source = capture(**{name: (f"public.{name}", ["id"]) for name in published})

    def assert_equal() -> None:
        for name in published:
            truth = database.sql(f"select id::text, t from only {name} order by {name}.id")
            there = [[r["id"], r["t"]] for r in source.reconstructed(name)]
            assert sorted(there, key=lambda row: int(row[0])) == truth
        source.assert_ledger_is_whole()

    source.run()
    assert_equal()
    database.sql(
        "insert into parent values (5, 'p'); insert into child values (5, 'c', 5);"
        "update parent set t = t || '!' where id in (1, 3); delete from parent where id = 2; delete from parent where id = 3"
    )
    source.run()
    assert_equal()
    database.sql("truncate only parent; insert into parent values (9, 'p')")
    source.run()
    assert_equal()
