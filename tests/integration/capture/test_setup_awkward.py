# ruff: noqa: E501 (statements and messages read better in one line)
"""The printed set-up beside other consumers, owners, odd names, filters and lists; nothing of others changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.capture import ROLE, Capture, Database, needs
from tests.integration.capture.test_setup import printed, statements

Captures = Callable[..., Capture]

KEYED, BARE = "create table t (id int primary key, v int)", "create table t (id int, v int)"
INDEXED = "create table t (id int not null, v int); create unique index by_id on t (id); alter table t replica identity using index by_id"
ROWS = "create table t_0 partition of t for values from (0) to (50)"
FOREIGN = "create foreign data wrapper none; create server nowhere foreign data wrapper none"
CHANGES = (
    "insert into {0} ({1}, v) values (1, 1), (2, 2)",
    "update {0} set v = v + 1 where {1} < 50",
    "update {0} set {1} = {1} + 10 where {1} < 50",
    "delete from {0} where {1} < 50",
)


@dataclass(frozen=True)
class Case:
    made: str
    key: tuple[str, ...] = ("id",)
    published: bool = True
    """Whether the set-up publishes the stream `t`, or it is published already."""
    table: str = "public.t"
    written: str = "t"
    """The table's name in SQL."""
    column: str = "id"
    version: int = 14
    reason: str = ""
    """What the comment says of a stream that is left out."""
    unchanged: bool = False
    """Whether the replica identity of `t` stays."""
    slot: bool = False
    """Whether another consumer has a logical slot."""
    further: tuple[str, ...] = field(default=())
    """Other tables that the application changes."""


CASES = {
    "a foreign table": Case(
        f"{FOREIGN}; create table real (id int, v int); create foreign table t (id int, v int) server nowhere",
        published=False,
        written="real",
        reason="is a foreign table",
    ),
    "a foreign partition": Case(
        f"create table t (id int not null, v int) partition by range (id); {ROWS}; {FOREIGN}; create foreign table far partition of t for values from (50) to (99) server nowhere",
        published=False,
        key=(),
        reason="is a foreign table",
    ),
    "an unlogged table": Case(
        "create unlogged table t (id int primary key, v int)", published=False, reason="unlogged"
    ),
    "quotes in names": Case(
        'create table "say ""t""" (id int, v int)', key=(), table='public.say "t"', written='"say ""t"""'
    ),
    "an apostrophe and a backslash": Case(
        r"""create table "it's \ t" (id int, v int)""",
        key=(),
        table=r"public.it's \ t",
        written=r'''"it's \ t"''',
    ),
    "dollar signs": Case(
        'create table "$$ $_1$" (id int, v int) partition by range (id); create table "p $$" partition of "$$ $_1$" for values from (0) to (50)',
        key=(),
        table="public.$$ $_1$",
        written='"$$ $_1$"',
    ),
    "upper case and spaces": Case(
        'create schema "My Sales"; create table "My Sales"."Order Lines" ("Line Id" int primary key, v int)',
        key=("Line Id",),
        table="My Sales.Order Lines",
        written='"My Sales"."Order Lines"',
        column='"Line Id"',
    ),
    "a dot in the name": Case(
        'create table "a.b" (id int, v int)', key=(), table="public.a.b", written='"a.b"'
    ),
    "letters of other languages": Case(
        'create schema "日本"; create table "日本"."größe é" ("ключ" int, v int)',
        key=(),
        table="日本.größe é",
        written='"日本"."größe é"',
        column='"ключ"',
    ),
    "a line break": Case(
        'create table "a\nb" (id int, v int)', key=(), table="public.a\nb", written='"a\nb"'
    ),
    "a percent sign": Case(
        'create table "100% %I" (id int, v int) partition by range (id); create table "p %s" partition of "100% %I" for values from (0) to (50)',
        key=(),
        table="public.100% %I",
        written='"100% %I"',
    ),
    "a key word": Case('create table "user" (id int, v int)', key=(), table="public.user", written='"user"'),
    "a filter on the key": Case(
        f"{KEYED}; create publication groundwork for table t where (id > 1) with (publish_via_partition_root)",
        version=15,
    ),
    "a filter on another column": Case(
        f"{KEYED}; create publication groundwork for table t where (v > 1) with (publish = 'insert, truncate', publish_via_partition_root)",
        version=15,
    ),
    "a column list with the key": Case(
        "create table t (id int primary key, v int, w int); create publication groundwork for table t (id, v) with (publish_via_partition_root)",
        version=15,
    ),
    "a column list of an index": Case(
        f"{INDEXED}; create publication groundwork for table t (id) with (publish_via_partition_root)",
        version=15,
        unchanged=True,
    ),
    "a publication of all tables": Case(
        f"{KEYED}; alter table other replica identity full; create publication groundwork for all tables with (publish_via_partition_root)"
    ),
    "a publication of a schema": Case(
        f"{KEYED}; alter table other replica identity full; create publication groundwork for tables in schema public with (publish_via_partition_root)",
        version=15,
    ),
    "a publication of another schema": Case(
        f"create schema far; create table far.x (id int primary key, v int); {KEYED}; create publication groundwork for tables in schema far with (publish_via_partition_root)",
        version=15,
        further=("far.x",),
    ),
    "several publications": Case(
        f"{KEYED}; create publication a for table t; create publication b for table t with (publish = 'insert'); create publication c for all tables with (publish = 'insert, truncate')",
        unchanged=True,
    ),
    "another publication with a column list": Case(
        "create table t (id int primary key, v int, w int); create publication theirs for table t (id, v)",
        version=15,
        unchanged=True,
    ),
    "another publication with a filter": Case(
        f"{KEYED}; create publication theirs for table t where (id > 5)", version=15, unchanged=True
    ),
    "another publication of whole rows": Case(
        f"{BARE}; alter table t replica identity full; create publication theirs for table t",
        key=(),
        unchanged=True,
    ),
    "another consumer reads by an index": Case(
        f"{INDEXED}; create publication theirs for table t", unchanged=True
    ),
    "another consumer reads by an index, and we by row": Case(
        f"{INDEXED}; create publication theirs for table t",
        key=(),
        published=False,
        unchanged=True,
        reason="replica identity",
    ),
    "another consumer's slot": Case(
        KEYED, key=(), published=False, unchanged=True, slot=True, reason="slot theirs"
    ),
    "another consumer's inserts of a bare table": Case(
        f"{BARE}; create publication theirs for table t with (publish = 'insert')", key=()
    ),
    "another consumer's root": Case(
        f"create table t (id int primary key, v int) partition by range (id); {ROWS}; create publication theirs for table t with (publish_via_partition_root)",
        unchanged=True,
    ),
    "another consumer's partition": Case(
        f"create table t (id int, v int) partition by range (id); {ROWS}; create table t_1 partition of t for values from (50) to (99); alter table t_0 add primary key (id); create publication theirs for table t_0",
        key=(),
        published=False,
        reason="t_0",
    ),
    "a stranger's table in our publication": Case(
        f"{BARE}; create table stranger (id int primary key, v int); create publication groundwork for table stranger with (publish_via_partition_root)",
        key=(),
        further=("stranger",),
    ),
    "inherited tables": Case(
        "create table t (id int primary key, v int); create table child (extra text) inherits (t); create table grandchild () inherits (child)",
        further=("child", "grandchild"),
    ),
    "a child of a bare table": Case(
        "create table root (id int, v int); create table t (primary key (id)) inherits (root)",
        further=("root",),
    ),
    "a detached partition": Case(
        f"create table t (id int, v int) partition by range (id); {ROWS}; create table old partition of t for values from (50) to (99); alter table t detach partition old",
        key=(),
        further=("old",),
    ),
    "a default partition without a key": Case(
        "create table t (id int, v int) partition by list (id); create table t_d partition of t default",
        key=(),
    ),
    "an identity index of each partition": Case(
        f"create table t (id int not null, v int) partition by range (id); {ROWS}; create unique index by_t on t (id); alter table t_0 replica identity using index t_0_id_idx; alter table t replica identity using index by_t",
        unchanged=True,
    ),
}

_STATE = """
select 'publication ' || p.pubname, p.pubowner::text || p.puballtables || p.pubinsert || p.pubupdate || p.pubdelete || p.pubtruncate || p.pubviaroot
from pg_publication p where pubname <> 'groundwork'
union all select 'shown ' || pubname || ' ' || schemaname || '.' || tablename, coalesce(to_jsonb(t) ->> 'attnames', '') || coalesce(to_jsonb(t) ->> 'rowfilter', '')
from pg_publication_tables t where pubname <> 'groundwork'
union all select 'slot ' || slot_name, confirmed_flush_lsn::text from pg_replication_slots where database = current_database() and slot_name = 'theirs'
union all select 'grants ' || c.oid::regclass::text, pg_get_userbyid(c.relowner) from pg_class c where c.relnamespace <> 11 and relkind in ('r', 'p', 'f')
order by 1
"""

_IDENTITY = """
select c.oid::regclass::text, c.relreplident from pg_class c
where c.oid in (select relid from pg_partition_tree(cast(:table as regclass))) order by 1
"""

_OURS = "select schemaname || '.' || tablename, coalesce(to_jsonb(t) ->> 'rowfilter', ''), to_jsonb(t) ->> 'attnames' from pg_publication_tables t where pubname = 'groundwork' order by 1"


@pytest.fixture
def theirs(database: Database) -> Iterator[Callable[[], None]]:
    """Another consumer's slot."""
    yield lambda: database.sql("select pg_create_logical_replication_slot('theirs', 'pgoutput')") and None
    database.sql(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'theirs'"
    )


def application(database: Database, case: Case) -> None:
    """As a role that may change rows, and owns nothing."""
    with database.connection() as connection:
        connection.run("set role pg_write_all_data; set search_path = public")
        for table, column in [
            (case.written, case.column),
            ("other", "id"),
            *((name, "id") for name in case.further),
        ]:
            for change in CHANGES:
                connection.run(change.format(table, column))


@pytest.mark.parametrize("name", CASES)
def test_the_application_works_and_nothing_of_others_changes(
    database: Database, capture: Captures, tmp_path: Path, theirs: Callable[[], None], name: str
) -> None:
    case = CASES[name]
    needs(database.server, case.version, name)
    database.sql(
        f"create table other (id int, v int); {case.made}; grant all on all tables in schema public to pg_write_all_data"
    )
    for (schema,) in database.sql("select nspname from pg_namespace where nspname !~ '^(pg_|information)'"):
        database.sql(
            f'grant all on schema "{schema}" to pg_write_all_data; grant all on all tables in schema "{schema}" to pg_write_all_data'
        )
    if case.slot:
        theirs()
    source = capture(t=(case.table, list(case.key)), other=("public.other", []))
    state, identity, ours = (
        database.sql(_STATE),
        database.sql(_IDENTITY, table=case.written),
        database.sql(_OURS),
    )
    application(database, case)
    script = printed(source, tmp_path)
    assert ("-- not published: stream t (" in script) == (not case.published)
    assert case.reason in "".join(line for line in script.splitlines() if line.startswith("-- not published"))
    for statement in statements(script):
        database.sql(statement)
        application(database, case)
    assert database.sql(_STATE) == state
    if case.unchanged:
        assert database.sql(_IDENTITY, table=case.written) == identity
    assert all(shown in database.sql(_OURS) for shown in ours)
    assert "own changes" not in source.troubles()
    assert statements(printed(source, tmp_path)) == []
    if not case.published:
        del source.streams["t"]
    strangers = database.sql(
        "select format('%I.%I', schemaname, tablename) from pg_publication_tables where pubname = 'groundwork'"
    )
    database.sql("".join(f"grant select on {table} to {ROLE};" for (table,) in strangers) or "select 1")
    source.run().insist()
    application(database, case)
    database.sql(CHANGES[0].format("other", "id"))
    report: Any = source.run()
    report.insist()
    if "filter" not in name and "column list" not in name:
        source.assert_equal_to_the_source()


def test_the_set_up_of_another_owners_tables_runs_as_that_owner(
    database: Database, capture: Captures, tmp_path: Path
) -> None:
    owner = f"owner_{database.name}"
    database.sql(
        f"create role {owner} login; grant create on schema public to {owner}; grant create on database {database.name} to {owner}"
    )
    try:
        database.sql(
            f"set role {owner}; create table t (id int, v int); create table other (id int, v int); reset role"
        )
        source = capture(t=("public.t", []), other=("public.other", []))
        script = printed(source, tmp_path)
        assert f'a superuser, or a member of "{owner}"' in script
        case = Case("")
        database.sql("grant all on t, other to pg_write_all_data")
        for statement in statements(script):
            # Rights are the owner's to give too.
            database.sql(f"set role {owner}; {statement}")
            application(database, case)
        source.run().insist()
        source.assert_equal_to_the_source()
    finally:
        database.sql(
            f"drop publication if exists groundwork; drop owned by {owner} cascade; drop role {owner}"
        )
