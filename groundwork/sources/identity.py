"""Replica identities: when PostgreSQL refuses an UPDATE, and which identity a stream needs.

A published table whose changed rows cannot be named makes the application's own UPDATE and DELETE fail
(PostgreSQL, `CheckCmdReplicaIdentity`). A partitioned table holds no rows: only its leaves are judged, and no
leaf gets the identity of its root. An identity that works may be what another consumer of the log relies on:
one that names an index is never changed, a primary key only when nobody else reads the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from groundwork.sources.partitions import Part
from groundwork.sources.statements import replica_identity
from groundwork.sources.wire import Connection, quoted


@dataclass(frozen=True)
class Traits:
    """What decides about a table's identity, besides the identity it has."""

    owner: str
    key: tuple[str, ...]
    """The primary key's columns; none when it is deferrable."""
    stored: tuple[str, ...]
    """Its stored generated columns."""
    virtual: bool
    """Whether it has virtual generated columns, which are never published (18 and later)."""
    consumers: tuple[str, ...]
    """Who else may read its changes: other publications, other logical slots."""


@dataclass(frozen=True)
class Shown:
    """How a publication shows a table."""

    listed: tuple[str, ...] | None = None
    """Its column list, if it has one."""
    row_filter: str = ""
    generated: bool = True
    """Whether stored generated columns are published."""
    reads: tuple[str, ...] = ()
    """The columns that the row filter reads."""


_TRAITS = """
with recursive lines(low, high) as (
    select c.oid, c.oid from pg_class c where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
    union all
    select l.low, i.inhparent from lines l
    join pg_class c on c.oid = l.high and c.relispartition
    join pg_inherits i on i.inhrelid = l.high
), others(low, name) as (
    select l.low, p.pubname from lines l join pg_publication_rel r on r.prrelid = l.high
    join pg_publication p on p.oid = r.prpubid
    {schemas}
), consumers(low, names) as (
    select low, array_agg(distinct 'publication ' || name) from others where name <> :publication group by low
), everywhere(name) as (
    select 'publication ' || pubname from pg_publication where puballtables and pubname <> :publication
    union all
    select 'slot ' || slot_name from pg_replication_slots
    where slot_type = 'logical' and database = current_database()
        and slot_name <> all(cast(:slots as text[])) and not temporary
)
select cast(c.oid as bigint), cast(pg_get_userbyid(c.relowner) as text), (
        select cast(array_agg(k.attname) as text[]) from pg_index i
        join pg_attribute k on k.attrelid = c.oid
            and array_position(cast(i.indkey as int2[]), k.attnum) < i.indnkeyatts  -- counts from 0
        where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate
    ),
    (select cast(array_agg(a.attname) as text[]) from pg_attribute a
        where a.attrelid = c.oid and not a.attisdropped and a.attgenerated = 's'),
    exists (select from pg_attribute a
        where a.attrelid = c.oid and not a.attisdropped and a.attgenerated = 'v'),
    cast(coalesce(o.names, '{{}}') || array(select name from everywhere order by name) as text[])
from pg_class c left join consumers o on o.low = c.oid
where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
"""

_SCHEMAS = """
    union all
    select l.low, p.pubname from lines l join pg_class c on c.oid = l.high
    join pg_publication_namespace s on s.pnnspid = c.relnamespace join pg_publication p on p.oid = s.pnpubid
"""


def traits(
    connection: Connection, oids: Iterable[int], version: int, publication: str, slots: Sequence[str]
) -> dict[int, Traits]:
    """What decides about the identities of some tables, by OID.

    Args:
        connection: an ordinary connection.
        oids: the tables.
        version: the server's, ``server_version_num``.
        publication: our own publication; all others are other consumers.
        slots: the names of our own slots.
    """
    found = connection.run(
        _TRAITS.format(schemas=_SCHEMAS if version >= 150000 else ""),
        oids=",".join(map(str, oids)),
        publication=publication,
        slots=list(slots),
    )
    return {
        oid: Traits(owner, tuple(key or ()), tuple(stored or ()), virtual, tuple(consumers))
        for oid, owner, key, stored, virtual, consumers in found
    }


def named(part: Part) -> str:
    """A table's name, quoted, with its schema."""
    return f"{quoted(part.schema)}.{quoted(part.name)}"


def works(part: Part) -> bool:
    """Whether the log can name a changed row of it."""
    return part.identity == "f" or bool(part.identified_by)


def bare(part: Part) -> bool:
    """Whether the application's UPDATE and DELETE fail in any publication of it."""
    return part.logged and not works(part)


def refusal(part: Part, of: Traits, shown: Shown, version: int) -> str:
    """Why PostgreSQL refuses updates of a table that is published in this way; empty when it does not.

    Args:
        part: the table or partition; one without rows is never refused.
        of: its traits.
        shown: how the publication shows it, or the partitioned table it belongs to.
        version: the server's.
    """
    name, listed = named(part), shown.listed
    if not part.logged:
        return ""
    if not works(part):
        return f"table {name} has no replica identity"
    if part.identity == "f":
        return _refusal_of_whole_rows(name, of, shown, version)
    kept = set(part.identified_by)
    if listed is not None and (lacking := sorted(kept - set(listed))):
        return f"{name}'s column list lacks {', '.join(lacking)} of its replica identity"
    hidden = sorted(kept & set(of.stored))
    if version >= 180000 and listed is None and hidden and not shown.generated:
        return f"{name}'s replica identity has {', '.join(hidden)}, a generated column that is not published"
    if foreign := sorted(set(shown.reads) - kept):
        return f"{name}'s row filter reads {', '.join(foreign)}, not in its replica identity"
    return ""


def _refusal_of_whole_rows(name: str, of: Traits, shown: Shown, version: int) -> str:
    if shown.listed is not None:
        return f"{name} has a column list, and its replica identity is full, which allows none"
    if version >= 180000 and of.virtual:
        return f"{name} has virtual generated columns, and its replica identity is full, which allows none"
    if version >= 180000 and of.stored and not shown.generated:
        return f"{name} has generated columns in its replica identity, and the publication lacks them"
    return ""


def columns_of(sql: Connection, oid: int) -> list[str]:
    """A table's columns, without generated ones."""
    found = sql.run(
        "select attname from pg_attribute where attrelid = cast(cast(:oid as bigint) as oid) and attnum > 0"
        " and not attisdropped and attgenerated = '' order by attnum",
        oid=oid,
    )
    return [name for (name,) in found]


@dataclass(frozen=True)
class Need:
    """What a stream asks of the identities of its table and partitions."""

    row_by_row: bool = False
    """The log must repeat whole rows: the stream has no key."""
    key: tuple[str, ...] = ()
    """The log must name at least these columns."""

    def met_by(self, part: Part) -> bool:
        """Whether a table's identity is enough."""
        if self.row_by_row or part.identity == "f":
            return part.identity == "f"
        return works(part) and set(self.key) <= set(part.identified_by)


def improved(part: Part, of: Traits, need: Need) -> Part:
    """The table with the identity that it should have; the same when that is to stay.

    What works is kept if another consumer may rely on it, also when the need is not met.
    """
    if need.met_by(part):
        return part
    if works(part) and (part.identity == "i" or of.consumers):
        return part
    if not works(part) and not need.row_by_row and of.key and set(need.key) <= set(of.key):
        return replace(part, identity="d", identified_by=of.key)
    return replace(part, identity="f", identified_by=())


def statement(part: Part) -> str:
    """The statement that gives a table the identity that `improved` chose."""
    return replica_identity(named(part), "full" if part.identity == "f" else "default")
