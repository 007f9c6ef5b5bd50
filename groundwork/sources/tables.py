"""What a PostgreSQL offers us: the published tables, and whether all we need is in place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from groundwork.catalog import PostgresSource, PostgresStream
from groundwork.errors import CatalogError, GroundworkError, SourceRefused
from groundwork.sources.wire import Connection, quoted

RESERVED = "_"
"""Columns that begin with it are ours in landing."""


@dataclass(frozen=True)
class Table:
    """A table as the publication shows it."""

    stream: str
    schema: str
    name: str
    columns: dict[str, int]
    """Published columns and the OID of their type."""
    row_filter: str = ""
    oid: int = 0
    """Changes when the table is dropped and made anew."""
    shape: dict[str, list[int]] = field(default_factory=dict)
    """Per column: OID and modifier of its type, and its number, which is never used twice."""
    filled: frozenset[str] = frozenset()
    """Columns that were not null in all rows when they were added (a default, an identity, generated)."""
    identity: str = "d"
    """Replica identity: ``d`` primary key, ``i`` an index, ``f`` the full row, ``n`` none."""
    identified_by: tuple[str, ...] = ()
    """Columns of that key or index."""
    member: int = 0
    """Changes when the table is taken out of the publication and put in again; 0 for all tables."""

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    def copy_statement(self) -> str:
        """The statement that copies what the publication would show of it."""
        columns = ", ".join(map(quoted, self.columns))
        query = f"select {columns} from {quoted(self.schema)}.{quoted(self.name)}"
        if self.row_filter:
            query += f" where {self.row_filter}"
        return f"COPY ({query}) TO STDOUT"


_TABLES = """
select t.schemaname, t.tablename, {filters}, a.attname, cast(a.atttypid as bigint), a.atttypmod, a.attnum,
    a.atthasdef or a.atthasmissing or a.attgenerated <> '' or a.attidentity <> '',
    cast(c.oid as bigint), cast(c.relreplident as text),
    (
        select cast(array_agg(k.attname) as text[]) from pg_index i
        join pg_attribute k on k.attrelid = c.oid
            and array_position(cast(i.indkey as int2[]), k.attnum) < i.indnkeyatts  -- counts from 0
        where i.indrelid = c.oid
            and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end
    ),
    (
        select cast(r.oid as bigint) from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where p.pubname = t.pubname and r.prrelid = c.oid
    )
from pg_publication_tables t
join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped {lists}
where t.pubname = :name
order by t.schemaname, t.tablename, a.attnum
"""


def published(
    connection: Connection, entry: PostgresSource, known: Collection[str] = ()
) -> tuple[dict[str, Table], dict[str, GroundworkError]]:
    """The catalog's streams as tables, by stream; and what is wrong with the others, by stream.

    A snapshot reads the columns and rows that the publication shows, so that it and the log agree about
    generated columns, column lists and row filters.

    Args:
        connection: an ordinary connection.
        entry: the catalog's entry.
        known: streams that have been read before: a column that is gone there since is no mistake.

    One bad table says nothing of the others, so its error (`SourceRefused`: it is not in the publication;
    `CatalogError`: it and the catalog do not fit) is returned and not raised.

    Raises:
        SourceRefused: when the database cannot be read at all, or has no such publication.
    """
    where, publication = f"source '{entry.source}'", entry.connection.publication
    version = int(connection.run("select current_setting('server_version_num')")[0][0])
    if connection.parameter("server_encoding") == "SQL_ASCII":
        raise SourceRefused(
            where, "the database has no encoding (SQL_ASCII)",
            why="its bytes need not be text", fix="convert the database to UTF8",
        )  # fmt: skip
    if not connection.run("select 1 from pg_publication where pubname = :name", name=publication):
        raise SourceRefused(
            where, f"there is no publication '{publication}'",
            fix="create it: " + publication_statement(entry, version),
        )  # fmt: skip
    filters = "t.rowfilter" if version >= 150000 else "null"
    lists = "and a.attname = any(t.attnames)" if version >= 150000 else "and a.attgenerated = ''"
    found = connection.run(_TABLES.format(filters=filters, lists=lists), name=publication)
    offered: dict[str, list[list[Any]]] = {}
    for row in found:
        offered.setdefault(f"{row[0]}.{row[1]}", []).append(row)
    tables: dict[str, Table] = {}
    bad: dict[str, GroundworkError] = {}
    for stream, described in entry.streams.items():
        try:
            tables[stream] = _table(entry, stream, described, offered, version, stream in known)
        except GroundworkError as error:
            bad[stream] = error
    return tables, bad


def _table(
    entry: PostgresSource, stream: str, described: PostgresStream,
    offered: dict[str, list[list[Any]]], version: int, known: bool,
) -> Table:  # fmt: skip
    where = f"catalog: {entry.source}.streams.{stream}"
    if described.table not in offered:
        close = difflib.get_close_matches(described.table, offered, n=1)
        raise SourceRefused(
            f"{where}.table",
            f"'{described.table}' is not in publication '{entry.connection.publication}'",
            fix=f"did you mean '{close[0]}'?" if close
            else "add it: " + publication_statement(entry, version, verb="alter"),
        )  # fmt: skip
    rows = offered[described.table]
    schema, name, row_filter = rows[0][:3]
    oid, identity, identified_by, member = rows[0][8:]
    columns = {row[3]: int(row[4]) for row in rows}
    check_names(where, columns)
    for column in described.primary_key if known else described.columns:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise CatalogError(
                f"{where}.columns.{column}", f"is not a published column of {described.table}",
                fix=f"did you mean '{close[0]}'?" if close else "remove it, or publish it",
            )  # fmt: skip
    table = Table(
        stream, schema, name, columns, row_filter or "", int(oid),
        {row[3]: [int(row[4]), int(row[5]), int(row[6])] for row in rows},
        frozenset(row[3] for row in rows if row[7]), identity, tuple(identified_by or ()),
        int(member or 0),
    )  # fmt: skip
    if described.replication == "log_based":
        _check_identity(where, table, described.primary_key)
    return table


def check_names(where: str, columns: Iterable[str]) -> None:
    """Refuse columns that landing cannot hold beside each other.

    Raises:
        CatalogError: for a name that is ours, or two that differ in upper and lower case only.
    """
    fix = "leave it out of the publication's column list, or rename it"
    seen: dict[str, str] = {}
    for column in columns:
        if column.startswith(RESERVED):
            raise CatalogError(
                where, f"column '{column}' begins with an underscore, which landing keeps for itself", fix=fix
            )  # fmt: skip
        other = seen.setdefault(column.lower(), column)
        if other != column:
            raise CatalogError(
                where, f"columns '{other}' and '{column}' differ in upper and lower case only",
                why="a warehouse cannot tell them apart", fix=fix,
            )  # fmt: skip


def _check_identity(where: str, table: Table, key: list[str]) -> None:
    """Hold the catalog's key against what the log will say of a removed record."""
    # Without any identity PostgreSQL itself refuses updates and deletes: nothing can be missed.
    if table.identity == "f" or not table.identified_by or (key and set(key) <= set(table.identified_by)):
        return
    full = f"alter table {quoted(table.schema)}.{quoted(table.name)} replica identity full;"
    raise CatalogError(
        f"{where}.primary_key", f"({', '.join(key)}) is not what {table.full_name}'s log identifies rows by",
        why=f"its replica identity is ({', '.join(table.identified_by)})",
        fix=f"use that as primary_key, or run: {full}",
    )  # fmt: skip


def publication_statement(entry: PostgresSource, version: int, verb: str = "create") -> str:
    """The SQL that publishes what the catalog asks for."""
    tables = ", ".join(".".join(map(quoted, stream.table.split(".", 1))) for stream in entry.streams.values())
    name = quoted(entry.connection.publication)
    if verb == "alter":
        return f"alter publication {name} set table {tables};"
    options = "publish_via_partition_root = true"
    if version >= 180000:
        options += ", publish_generated_columns = stored"
    return f"create publication {name} for table {tables} with ({options});"
