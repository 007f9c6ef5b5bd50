"""What a PostgreSQL offers us: the published tables, and whether all we need is in place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from groundwork.catalog import PostgresSource, PostgresStream
from groundwork.catalog.names import alike, is_reserved
from groundwork.errors import CatalogError, GroundworkError, SourceRefused
from groundwork.sources.keys import SETUP, check_key, check_logged, unique_keys
from groundwork.sources.partitions import Part, rows_of, trees
from groundwork.sources.printing import Printing, printings
from groundwork.sources.publication import Publication, find, marks, unoffered
from groundwork.sources.wire import Connection, quoted


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
    partitioned: bool = False
    parts: tuple[Part, ...] = ()
    """Itself and, when it is partitioned, its partitions."""
    key: tuple[str, ...] = ()
    """What the catalog says a record is known by; nothing when rows are followed as a whole."""
    versions: str = ""
    """Changes when the definition of a column does: the transactions that wrote them."""
    printing: Printing = field(default_factory=Printing)
    """What decides the text of its values, beside the rows."""
    publication: str = ""
    """Changes when the publication is made anew, or publishes other kinds of change."""
    shown: str = ""
    """Changes when the publication shows the table for another reason, or in another way."""

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    @property
    def file(self) -> int:
        """Changes when all its rows are written again; 0 of a partitioned table, whose parts have files."""
        return 0 if self.partitioned else next((part.file for part in self.parts), 0)

    def copy_statement(self, place: str = "") -> str:
        """The statement that copies what the publication would show of it.

        Args:
            place: a condition that picks a piece of it, see `groundwork.sources.copying`.
        """
        columns = ", ".join(map(quoted, self.columns))
        query = f"select {columns} from {self._itself}"
        if conditions := [f"({one})" for one in (self.row_filter, place) if one]:
            query += f" where {' and '.join(conditions)}"
        return f"COPY ({query}) TO STDOUT"

    def touch_statement(self) -> str:
        """The statement that takes the lock of a reader on it and on its partitions, and reads nothing."""
        return f"select 1 from {self._itself} limit 0"

    @property
    def _itself(self) -> str:
        # A table that others inherit from would show their rows too; the log does not.
        only = "" if self.partitioned else "only "
        return f"{only}{quoted(self.schema)}.{quoted(self.name)}"

    def part(self, uncopied: Mapping[str, str]) -> Table:
        """The table with no rows but those of some partitions, see `partitions.filled`."""
        conditions = [f"({self.row_filter})"] if self.row_filter else []
        return replace(self, row_filter=" and ".join([*conditions, f"({rows_of(uncopied)})"]))


_TABLES = """
select t.schemaname, t.tablename, {filters}, cast(c.oid as bigint), c.relkind = 'p',
    a.attname, cast(a.atttypid as bigint), a.atttypmod, a.attnum,
    a.atthasdef or a.atthasmissing or a.attgenerated <> '' or a.attidentity <> '', cast(a.xmin as text)
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
    where, name = f"source '{entry.source}'", entry.connection.publication
    version = int(connection.run("select current_setting('server_version_num')")[0][0])
    if connection.parameter("server_encoding") == "SQL_ASCII":
        raise SourceRefused(
            where, "the database has no encoding (SQL_ASCII)",
            why="its bytes need not be text", fix="convert the database to UTF8",
        )  # fmt: skip
    publication = find(connection, name)
    if publication is None:
        raise SourceRefused(
            where, f"there is no publication '{name}'",
            fix=SETUP,
        )  # fmt: skip
    publication.check(where)
    filters = "t.rowfilter" if version >= 150000 else "null"
    lists = "and a.attname = any(t.attnames)" if version >= 150000 else ""
    if version < 180000:  # the log has no generated columns, though 15 lists them among the published ones
        lists += " and a.attgenerated = ''"
    statement = _TABLES.format(filters=filters, lists=lists)
    while True:
        offered: dict[str, list[list[Any]]] = {}
        for row in connection.run(statement, name=name):
            offered.setdefault(f"{row[0]}.{row[1]}", []).append(row)
        oids = {int(rows[0][3]) for s in entry.streams.values() if (rows := offered.get(s.table))}
        facts = _Facts(
            publication, version, trees(connection, oids), unique_keys(connection, oids),
            marks(connection, publication, version, oids), _printings(connection, entry, offered),
        )  # fmt: skip
        # A table that was dropped between two of these statements is looked for again.
        if oids <= facts.trees.keys() & facts.shown.keys():
            break
    tables: dict[str, Table] = {}
    bad: dict[str, GroundworkError] = {}
    for stream, described in entry.streams.items():
        try:
            if described.table not in offered:
                raise _not_offered(connection, entry, stream, offered, facts)
            rows = _of_one_table(entry, stream, offered[described.table])
            tables[stream] = _table(entry, stream, described, rows, facts, stream in known)
        except GroundworkError as error:
            bad[stream] = error
    return tables, bad


@dataclass(frozen=True)
class _Facts:
    """What was found out about all tables at once, by their OIDs."""

    publication: Publication
    version: int
    trees: dict[int, tuple[Part, ...]]
    unique: dict[int, list[frozenset[str]]]
    shown: dict[int, str]
    printing: dict[str, Printing]


def _printings(
    connection: Connection, entry: PostgresSource, offered: Mapping[str, list[list[Any]]]
) -> dict[str, Printing]:
    """By stream, how the values of those tables are printed that the publication shows."""
    shown = {n: offered[s.table] for n, s in entry.streams.items() if s.table in offered}
    return printings(
        connection,
        {stream: [int(row[6]) for row in rows] for stream, rows in shown.items()},
        [stream for stream, described in entry.streams.items() if not described.primary_key],
    )


def _not_offered(
    connection: Connection, entry: PostgresSource, stream: str, offered: Collection[str], facts: _Facts
) -> GroundworkError:
    table, publication = entry.streams[stream].table, facts.publication
    why, fix = unoffered(connection, table, publication, offered)
    if not fix:
        close = difflib.get_close_matches(table, offered, n=1)
        why = "there is no such table"
        fix = f"did you mean '{close[0]}'?" if close else "correct its name in the catalog"
    return SourceRefused(
        f"catalog: {entry.source}.streams.{stream}.table",
        f"'{table}' is not in publication '{publication.name}'", why=why, fix=fix,
    )  # fmt: skip


def _of_one_table(entry: PostgresSource, stream: str, rows: list[list[Any]]) -> list[list[Any]]:
    """The rows of `_TABLES`, which are of one table.

    Raises:
        CatalogError: when two tables have names that read the same, because one holds a dot.
    """
    found = sorted({f"{quoted(row[0])}.{quoted(row[1])}" for row in rows})
    if len(found) > 1:
        raise CatalogError(
            f"catalog: {entry.source}.streams.{stream}.table",
            f"may be {' and '.join(found)}",
            fix="rename one of them, or leave the other out of the publication",
        )
    return rows


def _table(
    entry: PostgresSource, stream: str, described: PostgresStream, rows: list[list[Any]], facts: _Facts,
    known: bool,
) -> Table:  # fmt: skip
    where = f"catalog: {entry.source}.streams.{stream}"
    schema, name, row_filter, oid, partitioned = rows[0][:5]
    columns = {row[5]: int(row[6]) for row in rows}
    check_names(where, columns, lists=facts.version >= 150000)
    for column in described.primary_key if known else described.columns:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            raise CatalogError(
                f"{where}.columns.{column}", f"is not a published column of {described.table}",
                fix=f"did you mean '{close[0]}'?" if close else "remove it, or publish it",
            )  # fmt: skip
    table = Table(
        stream, schema, name, columns, row_filter or "", int(oid),
        {row[5]: [int(row[6]), int(row[7]), int(row[8])] for row in rows},
        frozenset(row[5] for row in rows if row[9]), partitioned, facts.trees[oid],
        tuple(described.primary_key), " ".join(row[10] for row in rows), facts.printing[stream],
        facts.publication.mark, facts.shown[oid],
    )  # fmt: skip
    if described.replication == "log_based":
        check_logged(where, table.parts)
        check_key(where, described.primary_key, table.parts, facts.unique.get(oid, []))
    return table


def has_column_lists(connection: Connection) -> bool:
    """Whether a publication can leave columns out (PostgreSQL 15 and later)."""
    return int(connection.run("select current_setting('server_version_num')")[0][0]) >= 150000


def check_names(where: str, columns: Iterable[str], *, lists: bool) -> None:
    """Refuse columns that landing cannot hold beside each other.

    Args:
        where: the stream or table.
        columns: their names.
        lists: whether the server has column lists (PostgreSQL 15 and later).

    Raises:
        CatalogError: for a name that is ours, or two that a warehouse cannot tell apart.
    """
    fix = "rename it, or leave it out by a column list of the publication" if lists else "rename it"
    columns = list(columns)
    for column in filter(is_reserved, columns):
        raise CatalogError(
            where, f"column '{column}' has a name that landing gives to one of its own", fix=fix
        )
    if pair := alike(columns):
        raise CatalogError(where, pair, why="a warehouse cannot tell them apart", fix=fix)
