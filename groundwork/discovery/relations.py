"""The relations of a PostgreSQL schema as a draft needs them, and why one of them cannot be a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from groundwork.catalog.names import alike, column_problem, is_reserved
from groundwork.discovery.fitting import NUMERIC, base_type
from groundwork.sources.publication import Listing
from groundwork.sources.statements import bypass_row_security, let_select
from groundwork.sources.wire import Connection, quoted


@dataclass(frozen=True)
class Column:
    """A column that the log shows, or why a draft leaves it out."""

    name: str
    type: int
    """OID of its type, below all domains."""
    modifier: int
    printed: str
    """That type as PostgreSQL prints it."""
    domain: str
    """Its domain, if it has one."""
    comment: str
    hidden: str
    """Why no run sees it; empty when it is landed."""

    @property
    def problem(self) -> str:
        """Why the draft leaves it out; empty when it does not."""
        if self.hidden:
            return self.hidden
        unfit = column_problem(self.name)
        return f"{unfit}; it is landed, and not in staging" if unfit else ""

    @property
    def is_numeric(self) -> bool:
        """Whether it is a ``numeric``."""
        return self.type == NUMERIC


@dataclass(frozen=True)
class Relation:
    """A table, view or foreign table of the schema."""

    name: str
    kind: str
    """``r`` a table, ``p`` partitioned, ``v`` ``m`` a view, ``f`` foreign."""
    root: str
    """The partitioned table in another schema that it is a partition of."""
    readable: bool
    secured: bool
    """Whether row-level security hides rows from this role."""
    comment: str
    key: tuple[str, ...]
    """Columns of the identity index if the table names one, else of its primary key, in the index's order."""
    deferrable: bool
    """Whether its primary key is."""
    columns: Sequence[Column]


_RELATIONS = """
select cast(c.oid as bigint), c.relname, cast(c.relkind as text), (
        select format('%I.%I', n.nspname, p.relname) from pg_partition_ancestors(c.oid) a
        join pg_class p on p.oid = a.relid and not p.relispartition
        join pg_namespace n on n.oid = p.relnamespace
        where c.relispartition
    ),
    has_table_privilege(c.oid, 'select'), row_security_active(c.oid),
    coalesce(obj_description(c.oid, 'pg_class'), ''), (
        select cast(array_agg(a.attname order by k.place) as text[])
        from (
            select i.indkey, i.indnkeyatts from pg_index i
            where i.indrelid = c.oid and i.indisvalid and i.indimmediate
                and (i.indisprimary or c.relreplident = 'i' and i.indisreplident)
            order by c.relreplident = 'i' and i.indisreplident desc limit 1
        ) i, unnest(i.indkey) with ordinality k(number, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where k.place <= i.indnkeyatts
    ),
    exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and not i.indimmediate)
from pg_class c
where c.relnamespace = (select oid from pg_namespace where nspname = :schema)
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and (not c.relispartition or not exists (
        select from pg_partition_ancestors(c.oid) a join pg_class p on p.oid = a.relid
        where not p.relispartition and p.relnamespace = c.relnamespace
    ))
order by c.relname
"""

_COLUMNS = """
select cast(a.attrelid as bigint), a.attname, cast(a.atttypid as bigint), a.atttypmod,
    cast(a.attgenerated as text), coalesce(col_description(a.attrelid, a.attnum), ''),
    format_type(a.atttypid, a.atttypmod)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = :schema) and c.relkind in ('r', 'p')
order by a.attrelid, a.attnum
"""

_DOMAINS = """
select cast(oid as bigint), cast(typbasetype as bigint), typtypmod, format_type(typbasetype, typtypmod)
from pg_type where typtype = 'd'
"""


def relations(sql: Connection, schema: str, version: int, shown: Listing) -> Iterator[Relation]:
    """What a schema holds, in order of names; partitions only if their root is in another schema.

    Args:
        sql: an ordinary connection.
        schema: its name.
        version: the server's, ``server_version_num``.
        shown: the publication, if there is one already: it may have column lists.
    """
    found = sql.run(_DOMAINS)
    domains = {oid: (base, modifier) for oid, base, modifier, _ in found}
    printed_base = {oid: printed for oid, _, _, printed in found}
    columns: dict[int, list[Column]] = {}
    for oid, name, type_, modifier, generated, comment, printed in sql.run(_COLUMNS, schema=schema):
        domain, below = (printed, type_) if type_ in domains else ("", 0)
        while below in domains:
            printed, below = printed_base[below], domains[below][0]
        type_, modifier = base_type(type_, modifier, domains)
        listed = shown.shown[oid].listed if oid in shown.shown else None
        hidden = _hidden(name, generated, version, shown.generated, listed)
        columns.setdefault(oid, []).append(Column(name, type_, modifier, printed, domain, comment, hidden))
    for oid, name, kind, root, readable, secured, comment, key, deferrable in sql.run(
        _RELATIONS, schema=schema
    ):
        yield Relation(
            name,
            kind,
            root or "",
            readable,
            secured,
            comment,
            tuple(key or ()),
            deferrable and not key,
            columns.get(oid, []),
        )


def _hidden(
    name: str, generated: str, version: int, shows_generated: bool, listed: Sequence[str] | None
) -> str:
    if generated == "v":
        return "virtual generated columns are never in the log"
    if generated and version < 180000:
        return "generated columns are in no log before PostgreSQL 18"
    if generated and not shows_generated:
        return "the publication shows no generated columns"
    if listed is not None and name not in listed:
        return "the publication's column list leaves it out"
    return ""


_ELSEWHERE = {
    "v": "a view has no log; make streams of the tables it is made of",
    "m": "a materialized view has no log; make streams of the tables it is made of",
    "f": "a foreign table has no log; read it where it is",
}


def unreadable(relation: Relation, schema: str, role: str) -> str:
    """Why a relation cannot be a stream, as far as it shows by itself; empty when it can.

    Args:
        relation: what was found.
        schema: its schema.
        role: who reads it.
    """
    if relation.kind in _ELSEWHERE:
        return _ELSEWHERE[relation.kind]
    if relation.root:
        return f"it is a partition of {relation.root}, which is read as a whole"
    if not relation.readable:
        select = let_select(role, f"{quoted(schema)}.{quoted(relation.name)}")
        return f"this role may not read it; run: {select} then draft again"
    if relation.secured:
        return (
            "row-level security would hide rows from this role; leave it out, or run as a superuser:"
            f" {bypass_row_security(role)} (it then sees all rows of all tables that it may read)"
        )
    names = [column.name for column in relation.columns if not column.hidden]
    if not any(not column.problem for column in relation.columns):
        return "it has no column that can be read"
    out = "rename it, or leave it out by a column list of the publication (PostgreSQL 15 and later)"
    for name in filter(is_reserved, names):
        return f"landing has a column {name!r} of its own; {out}"
    if pair := alike(names):
        return f"{pair}, and a warehouse cannot tell them apart; {out}"
    return ""
