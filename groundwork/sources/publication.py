"""The publication: which changes of which tables the server tells us at all, and since when.

What was not published for a while is lost for the log, also when all is as before by the time we look. So
a cursor remembers something that changes with every such change: the OIDs of the rows by which PostgreSQL
keeps that a table is published (with its columns and its row filter), and the transaction that last wrote
the publication itself (its kinds of change, its options, its name, its owner). `alter publication … add
table` of another table writes neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from groundwork.errors import SourceRefused
from groundwork.sources.identity import Shown
from groundwork.sources.keys import SETUP
from groundwork.sources.statements import set_logged
from groundwork.sources.wire import Connection

KINDS = ("insert", "update", "delete", "truncate")


@dataclass(frozen=True)
class Publication:
    """A publication as the server has it."""

    name: str
    oid: int
    written: str
    """The transaction that wrote it."""
    kinds: frozenset[str]
    via_root: bool

    @property
    def mark(self) -> str:
        """What a cursor remembers of it."""
        return f"{self.oid}@{self.written}"

    def check(self, where: str) -> None:
        """Refuse a publication that keeps changes from us.

        Raises:
            SourceRefused: when it does not publish all kinds of change.
        """
        missing = [kind for kind in KINDS if kind not in self.kinds]
        if missing:
            raise SourceRefused(
                where, f"publication '{self.name}' does not publish {', '.join(missing)}",
                why="such changes would be missed in silence",
                fix=SETUP,
            )  # fmt: skip


def find(connection: Connection, name: str) -> Publication | None:
    """The publication of this name, if there is one."""
    found = connection.run(
        "select cast(oid as bigint), cast(xmin as text), pubinsert, pubupdate, pubdelete, pubtruncate,"
        " pubviaroot from pg_publication where pubname = :name",
        name=name,
    )
    if not found:
        return None
    oid, written, *kinds, via_root = found[0]
    return Publication(
        name, oid, written, frozenset(k for k, on in zip(KINDS, kinds, strict=True) if on), via_root
    )


@dataclass(frozen=True)
class Listing:
    """All that a publication of a name holds; nothing when there is none."""

    name: str
    exists: bool = False
    owner: str = ""
    kinds: frozenset[str] = frozenset()
    via_root: bool = True
    generated: bool = True
    """Whether stored generated columns are published (18 and later)."""
    everything: bool = False
    """Whether it is FOR ALL TABLES."""
    tables: frozenset[int] = frozenset()
    """Tables that it names."""
    schemas: frozenset[str] = frozenset()
    """Schemas whose tables it holds, also those that are made tomorrow."""
    shown: Mapping[int, Shown] = field(default_factory=dict)
    """What it shows to a reader, by OID."""

    @property
    def broad(self) -> bool:
        """Whether it holds tables that it does not name."""
        return self.everything or bool(self.schemas)

    def covers(self, oid: int, schema: str) -> bool:
        """Whether a table is in it."""
        return self.everything or oid in self.tables or schema in self.schemas


FILTER_READS = """(
    select cast(array_agg(a.attname) as text[]) from pg_attribute a
    where r.prqual is not null and a.attrelid = r.prrelid and a.attnum in (
        select d.refobjsubid from pg_depend d
        where d.classid = cast('pg_publication_rel' as regclass) and d.objid = r.oid
            and d.refclassid = cast('pg_class' as regclass) and d.refobjid = r.prrelid and d.refobjsubid > 0
        group by d.refobjsubid
        having count(*) > case when d.refobjsubid = any(cast(r.prattrs as int2[])) then 1 else 0 end
    )
)"""
"""The columns that the row filter of a row ``r`` of `pg_publication_rel` reads (15 and later).

PostgreSQL keeps a dependency for each column of the filter, and one more for each of the column list.
"""

_SHOWN = """
select cast(c.oid as bigint), {listed}, {filter}, {reads}
from pg_publication_tables t
join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
join pg_publication p on p.pubname = t.pubname
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
where t.pubname = :name
"""


def listing(connection: Connection, name: str, version: int) -> Listing:
    """All that a publication holds.

    Args:
        connection: an ordinary connection.
        name: the publication's.
        version: the server's, ``server_version_num``.
    """
    publication = find(connection, name)
    if publication is None:
        return Listing(name)
    newer, generated = version >= 150000, "pubgencols = 's'" if version >= 180000 else "true"
    owner, everything, with_generated = connection.run(
        f"select cast(pg_get_userbyid(pubowner) as text), puballtables, {generated} from pg_publication"
        " where pubname = :name",
        name=name,
    )[0]
    tables = connection.run(
        "select cast(prrelid as bigint) from pg_publication_rel"
        " where prpubid = cast(cast(:oid as bigint) as oid)",
        oid=publication.oid,
    )
    schemas = connection.run(
        "select n.nspname from pg_publication_namespace s join pg_namespace n on n.oid = s.pnnspid"
        " where s.pnpubid = cast(cast(:oid as bigint) as oid)",
        oid=publication.oid,
    ) if newer else []  # fmt: skip
    query = _SHOWN.format(
        listed="case when r.prattrs is not null then t.attnames end" if newer else "null",
        filter="t.rowfilter" if newer else "null",
        reads=FILTER_READS if newer else "null",
    )
    shown = {
        oid: Shown(
            None if listed is None else tuple(listed), row_filter or "", with_generated, tuple(reads or ())
        )
        for oid, listed, row_filter, reads in connection.run(query, name=name)
    }
    return Listing(
        name, True, owner, publication.kinds, publication.via_root, with_generated, everything,
        frozenset(oid for (oid,) in tables), frozenset(schema for (schema,) in schemas), shown,
    )  # fmt: skip


def shown_tables(connection: Connection, name: str) -> list[int]:
    """The OIDs of the tables that a publication shows to a reader; none when there is no such publication."""
    found = connection.run(
        "select cast(c.oid as bigint) from pg_publication_tables t"
        " join pg_namespace n on n.nspname = t.schemaname"
        " join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename where t.pubname = :name",
        name=name,
    )
    return [oid for (oid,) in found]


# A partition may be shown because a table above it is: then it counts since when it is a part of that.
_MARKS = """
with recursive lines(low, high) as (
    select c.oid, c.oid from pg_class c where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
    union all
    select l.low, i.inhparent from lines l
    join pg_class c on c.oid = l.high and c.relispartition
    join pg_inherits i on i.inhrelid = l.high
)
select cast(l.low as bigint), string_agg(mark, ' ' order by mark) from lines l, lateral (
    select 'r' || r.oid as mark from pg_publication_rel r
    where r.prpubid = cast(cast(:publication as bigint) as oid) and r.prrelid = l.high
    {schemas}
    union all
    select 'i' || i.xmin from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhrelid = l.high and c.relispartition
) m
group by l.low
"""

_SCHEMAS = """
    union all
    select 'n' || s.oid from pg_publication_namespace s join pg_class c on c.relnamespace = s.pnnspid
    where s.pnpubid = cast(cast(:publication as bigint) as oid) and c.oid = l.high
"""


def marks(
    connection: Connection, publication: Publication, version: int, oids: Iterable[int]
) -> dict[int, str]:
    """By a table's OID, what changes when it was not published for a while, or in another way."""
    wanted = list(oids)
    query = _MARKS.format(schemas=_SCHEMAS if version >= 150000 else "")
    found = connection.run(query, oids=",".join(map(str, wanted)), publication=publication.oid)
    return dict.fromkeys(wanted, "") | dict(found)


def unoffered(
    connection: Connection, table: str, publication: Publication, offered: Collection[str]
) -> tuple[str, str]:
    """Why the publication does not show a table that is there, and what to do; empty when it is not there."""
    found = connection.run(
        "select format('%I.%I', n.nspname, c.relname), cast(c.relkind as text),"
        " cast(c.relpersistence as text), c.relispartition,"
        " (select pn.nspname || '.' || p.relname from pg_partition_ancestors(c.oid) a"
        "  join pg_class p on p.oid = a.relid join pg_namespace pn on pn.oid = p.relnamespace"
        "  where pn.nspname || '.' || p.relname = any(cast(:offered as text[])) limit 1)"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname || '.' || c.relname = :table and c.relkind in ('r', 'p', 'v', 'm', 'f')",
        table=table, offered=list(offered),
    )  # fmt: skip
    if not found:
        return "", ""
    written, kind, persistence, partition, root = found[0]
    if kind == "p" and not publication.via_root:
        return (
            "it is partitioned, and the publication shows each partition as a table of its own",
            f"{SETUP}, or make a stream of each partition",
        )
    if partition and root:
        return (
            f"it is a partition of '{root}', which the publication shows as a whole",
            f"let table be '{root}'",
        )
    if kind not in "rp":
        return "it is no table: a view or a foreign table has no log", "publish the tables it is made of"
    if persistence != "p":
        return no_log(written, persistence)
    return "the table is there, and nobody has added it yet", SETUP


def no_log(table: str, persistence: str) -> tuple[str, str]:
    """Why an unlogged or temporary table cannot be published, and what to do about it.

    Args:
        table: its name, quoted where need be.
        persistence: ``u`` unlogged, ``t`` temporary.
    """
    if persistence == "t":
        return "it is temporary, so it has no log", "take it out of the catalog"
    return (
        "it is unlogged, so it has no log",
        f"take it out of the catalog, or run: {set_logged(table)} (it writes the whole table again while the"
        f" application waits), then {SETUP}",
    )
