# ruff: noqa: E501 (statements and messages read better in one line)
"""The printed set-up on awkward schemas: the application's own statements work before, during and after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pg8000.native
import pytest

from groundwork.doctor import preparation
from groundwork.settings import Settings
from tests.capture import ROLE, Capture, Database, needs

Captures = Callable[..., Capture]
ROWS = "for values from ({}) to ({})"


def partitions(count: int, key: str = "") -> str:
    return "".join(
        f"create table t_{n} partition of t{key} {ROWS.format(n * 10, n * 10 + 10)};" for n in range(count)
    )


# name: (tables, the catalog's key of t, whether t is published, a later partition)
SCHEMAS = {
    "a key": ("create table t (id int primary key, v int)", ["id"], True),
    "no key": ("create table t (id int, v int)", [], True),
    "identity nothing": ("create table t (id int primary key, v int); alter table t replica identity nothing", ["id"], True),
    "identity nothing without a key": ("create table t (id int, v int); alter table t replica identity nothing", [], True),
    "a deferrable key": ("create table t (id int primary key deferrable, v int)", [], True),
    "an identity index": (
        "create table t (id int not null, v int); create unique index by_id on t (id); alter table t replica identity using index by_id", ["id"], True,
    ),
    "an identity index that the catalog does not name": (
        "create table t (id int not null, v int); create unique index by_id on t (id); alter table t replica identity using index by_id", [], False,
    ),
    "an identity index that was dropped": (
        "create table t (id int not null, v int); create unique index by_id on t (id); alter table t replica identity using index by_id; drop index by_id", [], True,
    ),
    "partitions with a key": (f"create table t (id int primary key, v int) partition by range (id); {partitions(3)}", ["id"], True),
    "partitions, some with a key": (
        f"create table t (id int, v int) partition by range (id); {partitions(3)} alter table t_1 add primary key (id); alter table t_2 replica identity nothing", [], True,
    ),
    "partitions of partitions": (
        "create table t (id int, v int) partition by range (id); create table t_0 partition of t for values from (0) to (50) partition by range (id);"
        "create table t_00 partition of t_0 for values from (0) to (5); create table t_01 partition of t_0 for values from (5) to (50)", [], True,
    ),
    "365 partitions": (f"create table t (id int, v int) partition by range (id); {partitions(365)}", [], True),
    "inheritance": ("create table t (id int primary key, v int); create table child () inherits (t)", ["id"], True),
    "generated columns": ("create table t (id int, v int, g int generated always as (v * 2) stored)", [], True),
    "unlogged": ("create unlogged table t (id int primary key, v int)", ["id"], False),
    "an unlogged partition": (
        "create table t (id int primary key, v int) partition by range (id); create unlogged table t_0 partition of t for values from (0) to (50)", ["id"], False,
    ),
    "a view": ("create table real (id int primary key, v int); create view t as select * from real", ["id"], False),
    "published by another consumer": ("create table t (id int primary key, v int); create publication theirs for table t", [], False),
    "all tables published by another consumer": ("create table t (id int primary key, v int); alter table other replica identity full; create publication theirs for all tables", ["id"], True),
}  # fmt: skip


def statements(script: str) -> list[str]:
    """The statements of a script, one by one, as psql would send them."""
    found, open_ = [], ""
    for line in script.splitlines():
        if line.startswith("--") and not open_:
            continue
        open_ += line + "\n"
        body = re.search(r"(?:^do| as) (\$\w*\$)", open_)
        if line.endswith(";") and (body is None or open_.count(body[1]) == 2):
            found.append(open_)
            open_ = ""
    assert not open_
    return found


def application(database: Database, low: int = 1) -> None:
    """What the application does all the time."""
    for table in ("t", "other"):
        database.sql(
            f"insert into {table} (id, v) values ({low}, 1), ({low + 1}, 2); update {table} set v = v + 1; delete from {table}"
        )


def printed(source: Capture, tmp_path: Path) -> str:
    return preparation(source.entry, Settings(home=tmp_path), source.resolve)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_application_works_before_during_and_after_the_set_up(
    database: Database, capture: Captures, tmp_path: Path, name: str
) -> None:
    made, key, published = SCHEMAS[name]
    database.sql(f"create table other (id int, v int); {made}")
    source = capture(t=("public.t", key), other=("public.other", []))
    script = printed(source, tmp_path)
    assert ("-- not published: stream t (public.t): " in script) == (not published)
    application(database)
    for statement in statements(script):
        database.sql(statement)
        application(database)
    shown = database.sql("select tablename from pg_publication_tables where pubname = 'groundwork'")
    assert sorted(table for (table,) in shown) == sorted(["other", *(["t"] if published else [])])
    # What it printed is accepted by the next check, and nothing is left to print.
    assert "own changes" not in source.troubles()
    assert statements(printed(source, tmp_path)) == []
    if not published:
        del source.streams["t"]
    source.run().insist()
    application(database)
    source.run().insist()
    source.assert_equal_to_the_source()


def test_the_danger_is_found_before_there_is_a_publication(database: Database, capture: Captures) -> None:
    database.sql(f"create table t (id int, v int) partition by range (id); {partitions(12)}")
    source = capture(t=("public.t", []))
    (finding,) = [f for f in source.looked_at() if "own changes" in f.what and f.problem]
    assert '"public"."t" is not published yet; public.t_0, ' in finding.problem
    assert "and 7 more would then lack an identity" in finding.problem
    assert "doctor --sql" in finding.problem


def test_a_partition_that_is_made_later_gets_an_identity(
    database: Database, capture: Captures, tmp_path: Path
) -> None:
    database.sql(
        "create table other (id int, v int); create table t (id int, v int) partition by range (id); create table t_0 partition of t for values from (0) to (100)"
    )
    source = capture(t=("public.t", []), other=("public.other", []))
    guard = [line for line in statements(printed(source, tmp_path)) if "event trigger" in line]
    assert guard
    for statement in statements(printed(source, tmp_path)):
        database.sql(statement)
    source.run()
    database.sql("create table t_1 partition of t for values from (100) to (200)")
    database.sql("create table t_2 (id int, v int)")
    database.sql("alter table t attach partition t_2 for values from (200) to (300)")
    for low in (1, 101, 201):
        application(database, low)
    source.run().insist()
    source.assert_equal_to_the_source()
    # Without the trigger the check warns.
    database.sql("drop event trigger groundwork_partitions")
    assert any("a new partition of" in finding.warning for finding in source.looked_at())


def test_nothing_is_published_when_a_statement_before_failed(
    database: Database, capture: Captures, tmp_path: Path
) -> None:
    database.sql("create table other (id int, v int); create table t (id int, v int)")
    source = capture(t=("public.t", []), other=("public.other", []))
    *_, last = statements(printed(source, tmp_path))
    with pytest.raises(pg8000.native.DatabaseError, match="without a replica identity"):
        database.sql(last)
    application(database)
    assert database.sql("select 1 from pg_publication") == []


def test_a_stream_that_is_added_leaves_the_publication_of_others_as_it_is(
    database: Database, capture: Captures, tmp_path: Path
) -> None:
    needs(database.server, 15, "row filters")
    database.sql(
        "create table other (id int, v int); create table t (id int primary key, v int); create table theirs (id int primary key, v int);"
        "create publication groundwork for table theirs where (id > 5) with (publish_via_partition_root)"
    )
    source = capture(t=("public.t", ["id"]), other=("public.other", []))
    for statement in statements(printed(source, tmp_path)):
        database.sql(statement)
        application(database)
    shown = database.sql("select tablename, rowfilter from pg_publication_tables order by 1")
    assert shown == [["other", None], ["t", None], ["theirs", "(id > 5)"]]
    database.sql(f"grant select on theirs to {ROLE}")
    source.run().insist()


def test_all_streams_are_named_when_none_can_be_read(database: Database, capture: Captures) -> None:
    database.sql("create table t (id int primary key, v int); create publication groundwork")
    source = capture(t=("public.t", ["id"]), gone=("public.gone", ["id"]))
    with pytest.raises(
        Exception,
        match=r"no stream can be read: stream t: .*doctor --sql.*; stream gone: .*There is no such table",
    ):
        source.run()
