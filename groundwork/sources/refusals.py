"""The tables whose UPDATE or DELETE PostgreSQL refuses now, because of a publication.

The server refuses a change that a publication could not pass on (`CheckCmdReplicaIdentity` and
`RelationBuildPublicationDesc` in its source). It looks at the table that holds the row, and at all of its
publications: one bad publication is enough. A partition is judged by its own replica identity, but by the
column list and the row filter of the table that its publication shows instead of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from groundwork.sources.identity import Shown, refusal, traits
from groundwork.sources.partitions import Part, trees
from groundwork.sources.publication import FILTER_READS, shown_tables
from groundwork.sources.wire import Connection, quoted

_NAMED = 5
"""How many tables a message names."""


@dataclass(frozen=True)
class Refused:
    """A table or partition on which statements of the application fail."""

    part: Part
    root: int
    """The OID of the table that our publication shows; of the part itself, or of a table above it."""
    publication: str
    """The publication because of which it fails."""
    shown: Shown
    """How that publication shows it."""
    commands: tuple[str, ...]
    """``UPDATE``, ``DELETE`` or both."""
    why: str


_PRESENTED = """
with recursive lines(low, high, depth) as (
    select c.oid, c.oid, 0 from pg_class c where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
    union all
    select l.low, i.inhparent, l.depth + 1 from lines l
    join pg_class c on c.oid = l.high and c.relispartition
    join pg_inherits i on i.inhrelid = l.high
), held(low, high, depth, publication) as (
    select l.low, l.high, l.depth, r.prpubid from lines l join pg_publication_rel r on r.prrelid = l.high
    {schemas}
    union all
    select l.low, l.high, -1, p.oid from lines l, pg_publication p where l.depth = 0 and p.puballtables
), presented(low, publication, instead) as (
    select h.low, p.oid, case when p.pubviaroot
        then (array_agg(h.high order by h.depth desc) filter (where h.depth > 0))[1] end
    from held h join pg_publication p on p.oid = h.publication and (p.pubupdate or p.pubdelete)
    group by h.low, p.oid, p.pubviaroot
)
select cast(o.low as bigint), p.pubname, p.pubupdate, p.pubdelete, {generated}, {listed}, {reads}
from presented o join pg_publication p on p.oid = o.publication
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = coalesce(o.instead, o.low)
order by p.pubname
"""

_SCHEMAS = """
    union all
    select l.low, l.high, l.depth, s.pnpubid from lines l
    join pg_class c on c.oid = l.high join pg_publication_namespace s on s.pnnspid = c.relnamespace
"""

_LISTED = """(
    select cast(array_agg(a.attname) as text[]) from pg_attribute a
    where a.attrelid = r.prrelid and a.attnum = any(cast(r.prattrs as int2[]))
)"""


def refused(sql: Connection, publication: str, version: int) -> list[Refused]:
    """What the server refuses now, of the tables that a publication shows; one for each table at most.

    Args:
        sql: an ordinary connection.
        publication: ours. Other publications of its tables count too.
        version: the server's, ``server_version_num``.
    """
    forest = trees(sql, shown_tables(sql, publication))
    parts = {part.oid: (root, part) for root, tree in forest.items() for part in tree if part.logged}
    known = traits(sql, parts, version, publication, ())
    found: dict[int, Refused] = {}
    for oid, name, updates, deletes, generated, listed, reads in _presented(sql, parts, version):
        root, part = parts[oid]
        shown = Shown(None if listed is None else tuple(listed), "", generated, tuple(reads or ()))
        why = refusal(part, known[oid], shown, version)
        if not why:
            continue
        commands = (("UPDATE",) if updates else ()) + (("DELETE",) if deletes else ())
        if oid not in found or not set(commands) <= set(found[oid].commands):
            before = found[oid].commands if oid in found else ()
            both = tuple(sorted({*before, *commands}, reverse=True))
            found[oid] = Refused(part, root, name, shown, both, why)
    return [found[oid] for oid in parts if oid in found]


def _presented(sql: Connection, oids: Iterable[int], version: int) -> list[list[Any]]:
    newer = version >= 150000
    query = _PRESENTED.format(
        schemas=_SCHEMAS if newer else "",
        generated="p.pubgencols = 's'" if version >= 180000 else "true",
        listed=_LISTED if newer else "null",
        reads=FILTER_READS if newer else "null",
    )
    return sql.run(query, oids=",".join(map(str, oids)))


def by_root(found: Collection[Refused]) -> list[list[Refused]]:
    """The same, one list for each table of our publication."""
    roots: dict[int, list[Refused]] = {}
    for one in found:
        roots.setdefault(one.root, []).append(one)
    return list(roots.values())


def trouble(found: list[Refused]) -> str:
    """What is wrong with one table of our publication, or with partitions of it."""
    first, *more = found
    text = f"{first.why} (publication {quoted(first.publication)})"
    return (
        f"{text}; so it is with {len(more)} more: {some([o.part.full_name for o in more])}" if more else text
    )


def complaints(found: Collection[Refused]) -> list[str]:
    """The same as one text for each table, with the statements that fail."""
    return [f"{' and '.join(group[0].commands)} fail: {trouble(group)}" for group in by_root(found)]


def some(names: list[str]) -> str:
    """The first names of a list, and how many there are besides."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
