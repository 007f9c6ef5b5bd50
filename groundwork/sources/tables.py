"""What a PostgreSQL offers us: the published tables, and whether all we need is in place."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from groundwork.catalog import PostgresSource, PostgresStream
from groundwork.errors import CatalogError, SourceRefused
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


def published(connection: Connection, entry: PostgresSource) -> dict[str, Table]:
    """The catalog's streams as tables, by stream.

    A snapshot reads the columns and rows that the publication shows, so that it and the log agree about
    generated columns, column lists and row filters.

    Raises:
        SourceRefused: when the publication, or a table in it, is missing.
        CatalogError: when a column has a name that landing needs for itself.
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
    found = connection.run(
        f"select t.schemaname, t.tablename, {filters}, a.attname, cast(a.atttypid as bigint)"
        " from pg_publication_tables t"
        " join pg_namespace n on n.nspname = t.schemaname"
        " join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        f" {lists} where t.pubname = :name order by t.schemaname, t.tablename, a.attnum",
        name=publication,
    )
    offered: dict[str, tuple[str, str, str, dict[str, int]]] = {}
    for schema, name, row_filter, column, kind in found:
        table = offered.setdefault(f"{schema}.{name}", (schema, name, row_filter or "", {}))
        table[3][column] = int(kind)
    return {
        stream: _table(entry, stream, described, offered, version)
        for stream, described in entry.streams.items()
    }


def _table(
    entry: PostgresSource, stream: str, described: PostgresStream,
    offered: dict[str, tuple[str, str, str, dict[str, int]]], version: int,
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
    schema, name, row_filter, columns = offered[described.table]
    for column in columns:
        if column.startswith(RESERVED):
            raise CatalogError(
                where, f"column '{column}' begins with an underscore, which landing keeps for itself",
                fix="leave it out of the publication's column list",
            )  # fmt: skip
    for column in described.columns:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise CatalogError(
                f"{where}.columns.{column}", f"is not a published column of {described.table}",
                fix=f"did you mean '{close[0]}'?" if close else "remove it, or publish it",
            )  # fmt: skip
    return Table(stream, schema, name, columns, row_filter)


def publication_statement(entry: PostgresSource, version: int, verb: str = "create") -> str:
    """The SQL that publishes what the catalog asks for."""
    tables = ", ".join(
        ".".join(map(quoted, stream.table.split(".", 1))) for stream in entry.streams.values()
    )
    name = quoted(entry.connection.publication)
    if verb == "alter":
        return f"alter publication {name} set table {tables};"
    options = "publish_via_partition_root = true"
    if version >= 180000:
        options += ", publish_generated_columns = stored"
    return f"create publication {name} for table {tables} with ({options});"
