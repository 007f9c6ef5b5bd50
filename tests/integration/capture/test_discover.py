# ruff: noqa: E501 (statements and values read better in one line)
"""From discover to dbt build without an edit: check, the printed set-up, extract and load accept every draft.

One dbt build costs seconds, so many schemas share it. `GROUNDWORK_TEST_SCHEMAS` is the number of drawn ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from groundwork.bucket import open_bucket
from groundwork.catalog import PostgresSource, load_catalog
from groundwork.catalog.column_types import column_type
from groundwork.discovery.tables import discover_postgres
from groundwork.doctor import preparation
from groundwork.errors import CatalogError, SourceError
from groundwork.escaping import yaml_comment
from groundwork.extract import extract, open_source
from groundwork.load import load
from groundwork.render import render
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import ROLE, Capture, Database, needs
from tests.drawn_schemas import TYPES, Drawn, drawn, quoted
from tests.integration.capture.test_setup import statements
from tests.integration.test_dbt_base_models import make_project
from tests.landing import Dbt, Landing

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("GROUNDWORK_TEST_SCHEMAS", "8"))
SEED = int(os.environ.get("GROUNDWORK_SEED", "20261129"))
TOGETHER = 50
"""Schemas in one dbt build."""


@dataclass
class Chain:
    """All steps from a database to its base models, for one schema after another."""

    database: Database
    directory: Path
    sources: dict[str, Drawn] = field(default_factory=dict)
    drafts: dict[str, str] = field(default_factory=dict)

    @property
    def catalog(self) -> Path:
        return self.directory / "catalog"

    def draft(self, source: str, schema: str) -> PostgresSource:
        """Discover, and read the draft as `check` does."""
        text = discover_postgres(self.database.url(), source, "lab", schema)
        self.catalog.mkdir(exist_ok=True)
        (self.catalog / f"{source}.yml").write_text(text, encoding="utf-8")
        self.drafts[source] = text
        entry = load_catalog(self.catalog)[source]
        assert isinstance(entry, PostgresSource)
        return entry

    def prepare(self, entry: PostgresSource) -> None:
        """Run what doctor prints."""
        printed = preparation(entry, Settings(home=self.directory), lambda _: self.database.url())
        assert "-- not published" not in printed
        for statement in statements(printed):
            self.database.sql(statement)

    def extract(self, entry: PostgresSource) -> None:
        bucket = open_bucket((self.directory / "bucket").as_uri())
        extract(entry, open_source(entry, lambda _: self.database.url(), bucket), bucket).insist()

    def land(self, entry: PostgresSource) -> None:
        bucket = open_bucket((self.directory / "bucket").as_uri())
        with open_duckdb(self.directory / "warehouse.duckdb", who="test") as warehouse:
            load(entry, bucket, warehouse)

    def build(self) -> Landing:
        """Render and build all that was drafted; every model and test is well."""
        catalog = load_catalog(self.catalog)
        make_project(self.directory)
        render(catalog, self.directory)
        landing = Landing(self.directory / "warehouse.duckdb", catalog)
        dbt = Dbt(landing.file, self.directory / "target", self.directory / "dbt")
        dbt("build", "--quiet")
        assert set(Counter(dbt.results().values())) <= {"success", "pass"}
        return landing

    def through(self, drawn_: Drawn) -> None:
        """One schema from discover to load, with an application that writes before, between and after."""
        for statement in drawn_.made:
            self.database.sql(statement)
        tables = [table for table, columns in drawn_.columns.items() if columns]
        for n in (1, 2):
            self.database.sql(";".join(drawn_.insert(table, n) for table in tables) or "select 1")
        self.let_read(drawn_.name)
        self.sources[drawn_.name] = drawn_
        try:
            entry = self.draft(drawn_.name, drawn_.name)
        except SourceError as error:  # a schema of views
            assert all(f"{table}: " in str(error) for table in drawn_.columns)
            del self.sources[drawn_.name]
            return
        self.assert_all_is_named(drawn_, entry)
        self.prepare(entry)
        self.write(drawn_, tables, 3)
        self.extract(entry)
        self.write(drawn_, tables, 4)
        self.extract(entry)
        self.land(entry)
        self.database.sql("drop publication groundwork; drop event trigger if exists groundwork_partitions")
        self.database.sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()"
        )

    def let_read(self, schema: str) -> None:
        self.database.sql(
            f"grant usage on schema {quoted(schema)} to {ROLE}; grant select on all tables in schema {quoted(schema)} to {ROLE}"
        )

    def write(self, drawn_: Drawn, tables: list[str], n: int) -> None:
        """What the application does: none of it fails."""
        for table in tables:
            named, column = drawn_.named(table), quoted(next(iter(drawn_.columns[table])))
            self.database.sql(drawn_.insert(table, n))
            self.database.sql(f"update {named} set {column} = {column}")
            self.database.sql(f"delete from {named} where ctid = (select min(ctid) from {named})")

    def assert_all_is_named(self, drawn_: Drawn, entry: PostgresSource) -> None:
        """What the draft does not declare stands in its comments."""
        streams = {stream.table.removeprefix(f"{drawn_.name}."): stream for stream in entry.streams.values()}
        comments = [line for line in self.drafts[drawn_.name].splitlines() if line.startswith("# ")]
        for table, columns in drawn_.columns.items():
            if table not in streams:
                assert any(line.startswith(f"# left out: {yaml_comment(table)}: ") for line in comments), (
                    table
                )
                continue
            for column in set(columns) - set(streams[table].columns):
                assert any(f"left out: column {yaml_comment(repr(column))}: " in line for line in comments), (
                    column
                )

    def assert_equal_to_the_source(self, landing: Landing) -> None:
        """Each base model has as many live rows as its table, and every value fits its type."""
        for source, entry in landing.catalog.items():
            for name, stream in entry.streams.items():
                table = stream.table.removeprefix(f"{source}.")
                ((there,),) = self.database.sql(f"select count(*) from {self.sources[source].named(table)}")
                live, unfit = landing.query(
                    "select count(*), count(_cast_failures) from staging."
                    f"base_{source}__{name} where _operation not in ('delete', 'truncate')"
                )[0]
                assert (live, unfit) == (there, 0), f"{source}.{name} ({table})"


@pytest.fixture
def chain(database: Database, tmp_path: Path) -> Chain:
    database.sql(TYPES)
    return Chain(database, tmp_path)


@pytest.mark.timeout(1800)  # fifty schemas on a busy machine
@pytest.mark.parametrize("group", range(-(-COUNT // TOGETHER)))
def test_every_draft_of_drawn_schemas_works_unedited(chain: Chain, group: int) -> None:
    version = chain.database.server.major_version
    schemas = drawn(SEED, COUNT, version)[group * TOGETHER : (group + 1) * TOGETHER]
    for schema in schemas:
        chain.database.sql(f"create schema {schema.name}")
        chain.through(schema)
    chain.assert_equal_to_the_source(chain.build())
    streams = sum(len(load_catalog(chain.catalog)[s].streams) for s in chain.sources)
    print(f"{len(schemas)} schemas, {sum(len(s.columns) for s in schemas)} relations, {streams} streams")


# table: (columns and more, statements after it; the draft's stream, key and types) or the reason why it is left out
LISTED: dict[str, tuple[str, str, tuple[str, list[str], dict[str, str]] | str]] = {
    "included": ("a int, b int, c text, primary key (b, a) include (c)", "", ("included", ["b", "a"], {"a": "integer", "b": "integer", "c": "text"})),
    "stored": ("id int primary key, g int generated always as (id * 2) stored", "", ("stored", ["id"], {"id": "integer"})),
    "_migrations": ("id int primary key", "", ("migrations_2", ["id"], {"id": "integer"})),
    "migrations": ("id int primary key", "", ("migrations", ["id"], {"id": "integer"})),
    "with space": ("id int primary key", "", ("with_space", ["id"], {"id": "integer"})),
    "a.b": ("id int primary key", "", ("a_b", ["id"], {"id": "integer"})),
    "a": ("id int primary key", "", ("a", ["id"], {"id": "integer"})),
    "long_name_" * 6: ("id int primary key", "", (("long_name_" * 6)[:41], ["id"], {"id": "integer"})),
    "long_name_" * 6 + "abc": ("id int primary key", "", ("long_name_long_name_long_name_long_name_2", ["id"], {"id": "integer"})),
    "ordered": ("id int primary key, _order int", "", ("ordered", ["id"], {"id": "integer", "_order": "integer"})),
    "reserved": ("id int primary key, _file int", "", "landing has a column '_file' of its own"),
    "alike": ('id int primary key, "ID" int', "", "columns 'id' and 'ID' differ in upper and lower case only"),
    "domains": ("id public.price primary key, d public.deep, s public.short", "", ("domains", ["id"], {"id": "decimal(7,2)", "d": "decimal(4,1)", "s": "text"})),
    "named_date": ('d public."date", real date', "", ("named_date", [], {"d": "text", "real": "date"})),
    "quote": ('id int primary key, "a""b" int', "", ("quote", ["id"], {"id": "integer"})),
    "quote_in_key": ('"a""b" int primary key, c int', "", ("quote_in_key", [], {"c": "integer"})),
    "deferrable_key": ("id int primary key deferrable, v int", "", ("deferrable_key", [], {"id": "integer", "v": "integer"})),
    "by_index": ("id int primary key, code text not null unique", "alter table {} replica identity using index by_index_code_key", ("by_index", ["code"], {"id": "integer", "code": "text"})),
    "fast": ("id int primary key", "alter table {} set unlogged", "it is unlogged"),
    "secured": ("id int primary key", "alter table {} enable row level security", "row-level security would hide rows"),
    "hidden": ("id int primary key", "revoke all on {} from groundwork", "this role may not read it"),
    "empty": ("", "", "it has no column that can be read"),
}  # fmt: skip
NUMERICS = {
    "numeric(5,-2)": "decimal(7,0)", "numeric(3,5)": "decimal(5,5)", "numeric(50,10)": "text", "numeric(1000,500)": "text", "numeric(38,37)": "decimal(38,37)",
    "numeric(38,38)": "text", "numeric(37,37)": "decimal(37,37)", "numeric(1,-37)": "decimal(38,0)", "numeric(1,-38)": "text", "numeric(1,1000)": "text",
    "numeric(3,-1000)": "text", "numeric(38)": "decimal(38,0)", "numeric(1,37)": "decimal(37,37)", "numeric(1)": "decimal(1,0)", "numeric": "text",
}  # fmt: skip


ROWS = [
    "included values (1, 2, 'x'), (2, 2, 'x')", "_migrations values (1)", '"a.b" values (1), (2)', "domains values (1.25, 2.5, 'x')", "alike values (1, 2)",
    "named_date values (null, '2024-02-29')", "quote_in_key values (1, 1), (2, 1)", "deferrable_key values (1, 1)", "by_index values (1, 'x')", "tree values (1, 1)",
]  # fmt: skip
ELSEWHERE = """
create schema elsewhere; create table elsewhere.root (id int primary key) partition by list (id);
create table listed.leaf partition of elsewhere.root default;
create table listed.tree (id int primary key, v int) partition by list (id); create table listed.tree_1 partition of listed.tree default;
create view listed.seen as select 1 as a; create materialized view listed.kept as select 1 as a;
create foreign data wrapper far; create server far foreign data wrapper far; create foreign table listed.distant (id int) server far
"""
OUT = {"seen": "a view has no log", "kept": "a materialized view", "leaf": "it is a partition of elsewhere.root", "distant": "a foreign table"}  # fmt: skip


def test_listed_tables_are_drafted_with_the_right_key_and_types_or_left_out_with_the_reason(
    chain: Chain,
) -> None:
    database, schema = chain.database, Drawn("listed")
    database.sql("create schema listed")
    for table, (body, _, _) in LISTED.items():
        database.sql(f"create table {schema.named(table)} ({body})")
    database.sql(ELSEWHERE)
    for row in ROWS:
        database.sql(f"insert into listed.{row}")
    chain.let_read("listed")
    for table, (_, after, _) in LISTED.items():
        database.sql(after.format(schema.named(table)) or "select 1")
    entry = chain.draft("listed", "listed")
    drafted = {
        stream.table.removeprefix("listed."): (
            name, stream.primary_key, {column: known.type for column, known in stream.columns.items()},
        )
        for name, stream in entry.streams.items()
    }  # fmt: skip
    expected = {table: stream for table, (_, _, stream) in LISTED.items() if not isinstance(stream, str)}
    expected["tree"] = ("tree", ["id"], {"id": "integer", "v": "integer"})
    if database.publishes_generated:
        expected["stored"][2]["g"] = "integer"
    assert drafted == expected
    left_out = OUT | {table: why for table, (_, _, why) in LISTED.items() if isinstance(why, str)}
    for table, why in left_out.items():
        assert f"# left out: {table}: {why}" in chain.drafts["listed"]
    assert "tree_1" not in chain.drafts["listed"]
    chain.sources["listed"] = schema
    chain.prepare(entry)
    chain.extract(entry)
    chain.land(entry)
    chain.assert_equal_to_the_source(chain.build())


def test_every_numeric_is_a_decimal_that_holds_it_or_text(chain: Chain) -> None:
    needs(chain.database.server, 15, "negative scales")
    columns = {f"c{number}": kind for number, kind in enumerate(NUMERICS)}
    chain.database.sql(f"create table t ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
    chain.database.sql(
        f"insert into t values ({', '.join(map(largest, NUMERICS))}), ({', '.join('-' + largest(kind) for kind in NUMERICS)})"
    )
    chain.let_read("public")
    entry = chain.draft("money", "public")
    assert {columns[name]: column.type for name, column in entry.streams["t"].columns.items()} == NUMERICS
    chain.prepare(entry)
    chain.extract(entry)
    chain.land(entry)
    listed = ", ".join(f"cast({name} as varchar)" for name in columns)
    built = chain.build().query(f"select _cast_failures, {listed} from staging.base_money__t")
    assert len(built) == 2
    for unfit, *texts in built:
        same = " and ".join(f"{name} = '{text}'" for name, text in zip(columns, texts, strict=True))
        assert not unfit
        assert chain.database.sql(f"select count(*) from t where {same}") == [[1]]


def largest(kind: str) -> str:
    """The largest value of a numeric type; of one without a precision, a value with an end."""
    precision, scale, *_ = (
        [*map(int, kind.removeprefix("numeric").strip("()").split(",")), 0] if "(" in kind else (9, 2)
    )
    return f"cast('{'9' * precision}e{-scale}' as numeric)"


@pytest.mark.parametrize(
    "written",
    ["decimal(39,2)", "decimal(38,38)", "decimal(3,5)", "decimal(5,-2)", "decimal(0,0)", "decimal(400,10)"],
)
def test_check_refuses_a_decimal_that_no_warehouse_can_build(written: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be built: decimal\(p,s\) has p from 1 to 38"):
        column_type(written)


def test_a_draft_declares_what_the_publications_column_list_shows(chain: Chain) -> None:
    needs(chain.database.server, 15, "column lists")
    chain.database.sql(
        "create table t (id int primary key, _file int, v int); create publication groundwork for table t (id, v) with (publish_via_partition_root)"
    )
    chain.let_read("public")
    entry = chain.draft("shop", "public")
    assert list(entry.streams["t"].columns) == ["id", "v"]
    assert (
        "# t: left out: column '_file': the publication's column list leaves it out" in chain.drafts["shop"]
    )
    chain.prepare(entry)
    chain.extract(entry)


def test_two_tables_whose_names_read_the_same_are_told_apart_or_left_out(chain: Chain) -> None:
    chain.database.sql(
        'create schema "a.b"; create schema a; create table a."b.c" (id int primary key); create table "a.b".c (id int primary key); create table a.d (id int primary key)'
    )
    chain.let_read("a")
    entry = chain.draft("shop", "a")
    assert list(entry.streams) == ["d"]
    assert '# left out: b.c: it may be "a"."b.c" and "a.b"."c"' in chain.drafts["shop"]


def test_a_second_draft_of_a_source_that_runs_is_the_first(chain: Chain) -> None:
    chain.database.sql(
        "create table t (id int primary key deferrable, v int); create table u (id int primary key)"
    )
    chain.let_read("public")
    entry = chain.draft("shop", "public")
    chain.prepare(entry)
    chain.extract(entry)
    ours = [name for (name,) in chain.database.sql("select slot_name from pg_replication_slots")]
    assert discover_postgres(chain.database.url(), "shop", "lab", slots=ours) == chain.drafts["shop"]


def test_a_schema_without_any_stream_and_a_reserved_source_are_refused_with_the_reasons(chain: Chain) -> None:
    with pytest.raises(SourceError, match=r"schema 'public' has no table. Name another schema"):
        chain.draft("shop", "public")
    chain.database.sql("create view v as select 1 as a; create table t (id int)")
    with pytest.raises(
        SourceError, match=r"no table that can be read: t: this role may not read it.*; v: a view has no log"
    ):
        chain.draft("shop", "public")
    with pytest.raises(CatalogError, match="'ledger' is reserved"):
        chain.draft("ledger", "public")


def test_a_line_break_in_a_name_ends_no_comment_of_the_set_up(
    database: Database, capture: Callable[..., Capture], tmp_path: Path
) -> None:
    name = "t\rdrop table other; --\u2028\n"
    database.sql(
        f"create unlogged table {quoted(name)} (id int primary key); create table other (id int primary key)"
    )
    source = capture(t=(f"public.{name}", ["id"]), other=("public.other", ["id"]))
    printed = preparation(source.entry, Settings(home=tmp_path), source.resolve)
    assert "-- not published: stream t (public.t\\x0ddrop table other; --" in printed
    assert not any("drop table" in line for line in printed.splitlines() if not line.startswith("--"))
    for statement in statements(printed):
        database.sql(statement)
    assert database.sql("select count(*) from other") == [[0]]
