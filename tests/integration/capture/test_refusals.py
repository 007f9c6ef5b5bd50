# ruff: noqa: E501 (statements and messages read better in one line)
"""A run names a published table exactly when PostgreSQL refuses the application's UPDATE or DELETE of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pg8000.native
import pytest

from groundwork.errors import UpdatesRefused
from groundwork.sources import refusals
from groundwork.sources.address import Address
from groundwork.sources.wire import Connection, quoted
from tests.capture import Capture, Database, needs

Captures = Callable[..., Capture]
TABLES = {
    "bare": "create table bare (id int, v int)",
    "keyed": "create table keyed (id int primary key, v int, w int)",
    "late": "create table late (id int primary key deferrable, v int)",
    "whole": "create table whole (id int, v int); alter table whole replica identity full",
    "nothing": "create table nothing (id int primary key, v int); alter table nothing replica identity nothing",
    "indexed": "create table indexed (id int not null, v int, w int); create unique index by_id on indexed (id); alter table indexed replica identity using index by_id",
    "lost": "create table lost (id int not null, v int); create unique index by_lost on lost (id); alter table lost replica identity using index by_lost; drop index by_lost",
    "covering": "create table covering (id int, v int, primary key (id) include (v))",
    "made": "create table made (id int primary key, v int, g int generated always as (v * 2) stored); alter table made replica identity full",
    "made_key": "create table made_key (v int, id int generated always as (v * 2) stored primary key)",
    "split": "create table split (id int, v int) partition by range (id); create table split_0 partition of split for values from (0) to (5); create table split_1 partition of split for values from (5) to (50);"
    "alter table split_0 replica identity full",
    "split_key": "create table split_key (id int primary key, v int) partition by range (id); create table split_key_0 partition of split_key for values from (0) to (50);"
    "alter table split_key_0 replica identity nothing",
    "parent": "create table parent (id int primary key, v int); create table child () inherits (parent)",
    "unlogged": "create unlogged table unlogged (id int, v int)",
    '"Odd ""$1 é"': 'create table "Odd ""$1 é" ("Id" int, v int)',
}
SHOWN = {"t.v": 15, "where": 15, "schema": 15, "(id": 15, "(v": 15, "generated": 18}
CHANGES = {"UPDATE": "update {} set v = v + 1", "DELETE": "delete from {}"}

# What is published, and how, besides the stream's own table.
PUBLICATIONS = {
    "every table": [
        'table bare, keyed, late, whole, nothing, indexed, lost, covering, made, split, split_key, parent, "Odd ""$1 é" with (publish_via_partition_root)'
    ],
    "each partition": ["table split, split_key"],
    "inserts only": ["table bare, late, split with (publish = 'insert')"],
    "updates only": ["table bare, late, split with (publish = 'update')"],
    "deletes only": ["table bare, nothing, lost with (publish = 'delete')"],
    "inserts by us and deletes by another": [
        "table bare, keyed with (publish = 'insert, truncate')",
        "table bare with (publish = 'delete')",
    ],
    "updates by us and deletes by another": [
        "table bare with (publish = 'update')",
        "table bare, nothing with (publish = 'delete')",
    ],
    "all tables": ["all tables"],
    "all tables, through roots": ["all tables with (publish_via_partition_root)"],
    "all tables, inserts only": ["all tables with (publish = 'insert')", "table bare, split"],
    "a schema": ["tables in schema public"],
    "a schema, through roots": ["tables in schema public with (publish_via_partition_root)"],
    "columns with the identity": ["table keyed (id, v), indexed (id), covering (id)"],
    "columns without it": ["table keyed (v), indexed (v, w), covering (v)"],
    "columns of whole rows": ["table whole (id, v), made (id, v)"],
    "columns by another": ["table keyed, whole", "table keyed (v), whole (id)"],
    "columns by another, inserts only": [
        "table keyed, whole",
        "table keyed (v), whole (id) with (publish = 'insert')",
    ],
    "filters on the identity": [
        "table keyed where (id > 5), indexed where (id between 1 and 9), whole where (v > 0)"
    ],
    "filters on other columns": [
        "table keyed where (v > 5), indexed where (id > 0 or w is null), covering where (v = 1)"
    ],
    "filters with columns": ["table keyed (id, v) where (v > 5), indexed (id, w) where (id > 5)"],
    "filters that only name a column": ["table keyed (id, v) where (id > length('v w'))"],
    "filters by another": ["table keyed", "table keyed where (v > 5)"],
    "a filter of the root": [
        "table split where (v > 0), split_key where (v > 0) with (publish_via_partition_root)"
    ],
    "columns of the root": ["table split (id), split_key (v) with (publish_via_partition_root)"],
    "columns of the root, and a partition": [
        "table split_key (v), split_key_0 (id) with (publish_via_partition_root)"
    ],
    "a partition alone": ["table split_0, split_1"],
    "generated columns": ["table made, made_key with (publish_generated_columns = stored)"],
    "generated columns left out": ["table made, made_key with (publish_generated_columns = none)"],
    "generated columns as the version has it": ["table made, made_key"],
    "a generated key in a list": ["table made_key (id, v) with (publish_generated_columns = none)"],
    "nothing of it": ["table covering, whole"],
}


def needed(publications: list[str]) -> int:
    """The version that these publications need."""
    text = " ".join(publications)
    return max((version for word, version in SHOWN.items() if word in text), default=14)


def refused(database: Database) -> dict[str, set[str]]:
    """By table: the statements that PostgreSQL refuses because of a publication."""
    tables = database.sql(
        "select format('%I', relname) from pg_class where relkind in ('r', 'p') and relnamespace = cast('public' as regnamespace)"
    )
    found: dict[str, set[str]] = {}
    with database.connection() as connection:
        for (table,) in tables:
            # Of a parent, not its children: they are tables with rows and publications of their own.
            leaves = connection.run(
                f"select count(*) from pg_partition_tree(cast('{table}' as regclass)) where not isleaf"
            )[0][0]
            for command, statement in CHANGES.items():
                connection.run("begin")
                try:
                    connection.run(statement.format(table if leaves else f"only {table}"))
                except pg8000.native.DatabaseError as error:
                    said = error.args[0]
                    assert re.match(r"cannot (update|delete from) table", said["M"]), said
                    if not leaves:
                        found.setdefault(table, set()).add(command)
                connection.run("rollback")
    return found


@pytest.mark.parametrize("name", PUBLICATIONS)
def test_a_run_names_a_table_exactly_when_the_server_refuses(database: Database, name: str) -> None:
    publications = PUBLICATIONS[name]
    needs(database.server, needed(publications), name)
    database.sql(";".join(TABLES.values()))
    database.sql(
        "create table ours (id int primary key, v int); insert into bare values (1, 1); insert into parent values (1, 1)"
    )
    for number, published in enumerate(publications):
        database.sql(f"create publication {'groundwork' if not number else 'theirs'} for {published}")
    shown = database.sql(
        "select tablename from pg_publication_tables where pubname = 'groundwork' and tablename = 'ours'"
    )
    if not shown:
        database.sql("alter publication groundwork add table ours")
    database.let_read()
    ours = {table for (table,) in database.sql(SHOWN_PARTS)}
    witness = {table: commands for table, commands in refused(database).items() if table in ours}
    with Connection(Address.parse(database.url(), "here"), "here") as sql:
        version = int(sql.run("select current_setting('server_version_num')")[0][0])
        found = refusals.refused(sql, "groundwork", version)
    assert {sql_name(one.part.name): set(one.commands) for one in found} == witness
    harmless = name in HARMLESS or (database.server.major_version < 18 and "as the version" in name)
    assert bool(witness) != harmless


@pytest.mark.parametrize(
    "name", ["each partition", "columns by another", "inserts by another", "nothing of it"]
)
def test_a_run_reads_everything_and_then_fails_for_the_application(
    database: Database, capture: Captures, name: str
) -> None:
    publications = PUBLICATIONS.get(name, ["table keyed", "table keyed, bare with (publish = 'insert')"])
    needs(database.server, needed(publications), name)
    database.sql(";".join(TABLES.values()))
    database.sql("create table ours (id int primary key, v int); insert into ours values (1, 1)")
    for number, published in enumerate(publications):
        tables = published if number else published.replace("table ", "table ours, ")
        database.sql(f"create publication {'theirs' if number else 'groundwork'} for {tables}")
    database.let_read()
    source = capture(ours=("public.ours", ["id"]))
    report = source.run()
    source.assert_equal_to_the_source()
    if name in ("inserts by another", "nothing of it"):
        report.insist()
        return
    with pytest.raises(UpdatesRefused, match=r"own UPDATE and DELETE fail: .*groundwork doctor` and follow"):
        report.insist()
    database.sql("drop publication if exists theirs; alter publication groundwork set table ours")
    source.run().insist()


def sql_name(name: str) -> str:
    """As ``format('%I')`` writes it."""
    return name if re.fullmatch("[a-z_0-9]+", name) else quoted(name)


HARMLESS = {
    "inserts only",
    "columns with the identity",
    "columns by another, inserts only",
    "filters on the identity",
    "filters that only name a column",
    "generated columns",
    "a generated key in a list",
    "nothing of it",
}

SHOWN_PARTS = """
with recursive parts(oid) as (
    select c.oid from pg_publication_tables t join pg_class c on c.relname = t.tablename
    where t.pubname = 'groundwork' and c.relnamespace = cast('public' as regnamespace)
    union select i.inhrelid from parts p join pg_inherits i on i.inhparent = p.oid
    join pg_class c on c.oid = p.oid and c.relkind = 'p'
)
select format('%I', c.relname) from parts join pg_class c using (oid)
"""
