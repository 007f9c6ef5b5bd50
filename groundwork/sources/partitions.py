"""A partitioned table's parts: which there are, and what happened to them that the log does not tell.

Attaching and detaching a partition, dropping it and truncating it alone are not in the log when the root is
published. So a cursor remembers the parts, and every run compares: their OIDs, their files (a truncation
makes a new one, and so do VACUUM FULL and CLUSTER, which cannot be told apart), and the transaction that
attached each. A part that came and went between two runs shows in the log only: there each part is described
before its first row, and that is remembered too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from groundwork.sources.slot import lsn_number
from groundwork.sources.wire import Connection


@dataclass(frozen=True)
class Part:
    """A table of a partition tree; one that is not partitioned is a tree of its own."""

    oid: int
    schema: str
    name: str
    kind: str
    """``p`` partitioned, ``r`` holds rows, ``f`` a foreign table."""
    file: int
    """Changes when all its rows are thrown away or written anew; the OID as long as that never happened."""
    attached: str
    """The transaction that attached it; empty for the root."""
    identity: str
    """Replica identity: ``d`` primary key, ``i`` an index, ``f`` the full row, ``n`` none."""
    identified_by: tuple[str, ...]
    """Columns of that key or index; none when there is no such index, or it is deferrable."""
    persistence: str = "p"
    """``p`` permanent, ``u`` unlogged."""

    @property
    def logged(self) -> bool:
        """Whether the log holds its rows: not those of partitioned, foreign and unlogged tables."""
        return self.kind == "r" and self.persistence == "p"

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    @property
    def mark(self) -> str:
        """What a cursor remembers of it."""
        file = "" if self.file == self.oid else f":{self.file}"
        return f"{file}@{self.attached} {self.full_name}"


# No lock is taken, as pg_partition_tree() would: the source's own DDL never waits for us.
_TREES = """
with recursive tree(root, part, attached) as (
    select c.oid, c.oid, '' from pg_class c where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
    union all
    select t.root, i.inhrelid, cast(i.xmin as text) from tree t
    join pg_class p on p.oid = t.part and p.relkind = 'p'
    join pg_inherits i on i.inhparent = t.part and not i.inhdetachpending
)
select cast(t.root as bigint), cast(c.oid as bigint), n.nspname, c.relname, cast(c.relkind as text),
    cast(c.relfilenode as bigint), t.attached, cast(c.relreplident as text),
    (
        select cast(array_agg(k.attname) as text[]) from pg_index i
        join pg_attribute k on k.attrelid = c.oid
            and array_position(cast(i.indkey as int2[]), k.attnum) < i.indnkeyatts  -- counts from 0
        where i.indrelid = c.oid and i.indisvalid and i.indimmediate
            and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end
    ),
    cast(c.relpersistence as text)
from tree t join pg_class c on c.oid = t.part join pg_namespace n on n.oid = c.relnamespace
order by t.root, c.oid
"""


def trees(connection: Connection, roots: Iterable[int]) -> dict[int, tuple[Part, ...]]:
    """Tables and, of partitioned ones, all parts, by the root's OID; the root is among them."""
    found: dict[int, tuple[Part, ...]] = {}
    for root, *described in connection.run(_TREES, oids=",".join(map(str, roots))):
        oid, schema, name, kind, file, attached, identity, by, persistence = described
        part = Part(oid, schema, name, kind, file, attached, identity, tuple(by or ()), persistence)
        found[root] = (*found.get(root, ()), part)
    return found


def written(parts: Iterable[Part]) -> list[str]:
    """Parts as the cursor holds them: ``oid[:file]@attached name``."""
    return [f"{part.oid}{part.mark}" for part in parts if part.attached]


@dataclass(frozen=True)
class Moved:
    """How a table's parts differ from what was remembered."""

    added: tuple[Part, ...] = ()
    """Those that hold rows."""
    gone: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    """Emptied, written anew, or attached anew."""

    def __bool__(self) -> bool:
        """Whether they differ at all."""
        return bool(self.added or self.gone or self.rewritten)


def moved(before: Iterable[str], parts: Iterable[Part]) -> Moved:
    """Compare parts with what the cursor holds."""
    known = _by_oid(before)
    now = {part.oid: part for part in parts if part.attached}
    # One that was seen in the log only, and is there, is as good as new.
    met = {oid for oid in known.keys() & now.keys() if known[oid] != _SEEN}
    return Moved(
        tuple(part for oid, part in now.items() if oid not in met and part.kind != "p"),
        tuple(known[oid].partition(" ")[2] or str(oid) for oid in known if oid not in now),
        tuple(now[oid].full_name for oid in now if oid in met and not _stayed(known[oid], now[oid])),
    )


_SEEN = "?"
"""Mark of a part that the log described and nobody has looked at yet."""


def _by_oid(texts: Iterable[str]) -> dict[int, str]:
    split = (re.fullmatch(r"(\d+)(.*)", text, re.DOTALL) for text in texts)
    return {int(found[1]): found[2] for found in split if found}


def _stayed(mark: str, part: Part) -> bool:
    before, now = mark.partition(" ")[0], part.mark.partition(" ")[0]
    return before == now or before == now.partition("@")[0] + "@"


def upgraded(texts: Iterable[str]) -> list[str]:
    """What a cursor holds, for a cluster in which all parts were attached anew, by `pg_upgrade`."""
    return [re.sub(r"@\d+ ", "@ ", text, count=1) for text in texts]


def filled(connection: Connection, root: str, parts: Iterable[Part]) -> dict[str, str]:
    """Of some parts, those that hold or held a row: OID → the condition that their rows meet.

    Args:
        connection: an ordinary connection.
        root: the partitioned table, quoted.
        parts: some of its parts.
    """
    oids = ",".join(str(part.oid) for part in parts)
    if not oids:
        return {}
    connection.run("begin read only")
    try:
        # Asked for its condition, a part is locked before its root; whoever detaches it does so the other way
        # round, and each would wait for the other. So all are locked from the root down.
        connection.run(f"lock table {root} in access share mode")
        found = connection.run(
            "select cast(c.oid as text), coalesce(pg_get_partition_constraintdef(c.oid), 'true')"
            " from pg_class c where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))"
            " and pg_relation_size(c.oid) > 0",
            oids=oids,
        )
    finally:
        connection.run("rollback")
    return dict(found)


def forgets_attachments(connection: Connection) -> bool:
    """Whether the log may lack changes of a partition that was attached since the position it is read from.

    Up to 14 a session that has read rows of a table before it was attached goes on to leave it out. So it is
    copied only after the log was read up to there, and what follows is read by another session.
    """
    return int(connection.run("select current_setting('server_version_num')")[0][0]) < 150000


def rows_of(uncopied: Mapping[str, str]) -> str:
    """A condition that only the rows of some parts meet, written so that the server reads no others.

    It reads through the root: a right to read the root is none to read its parts.
    """
    return " or ".join(
        f"({condition}) and tableoid = cast('{oid}' as oid)" for oid, condition in uncopied.items()
    )


def noted(cursor: dict[str, Any], described: Mapping[int, int]) -> dict[str, Any]:
    """A stream's cursor with those parts that the log describes and it does not know.

    Args:
        cursor: the stream's.
        described: OIDs of parts, and the commit position of the last transaction that each appears in;
            what came before the copy is no news.
    """
    known, copied = _by_oid(cursor.get("parts", ())), lsn_number(cursor["snapshot"])
    new = [f"{oid}{_SEEN}" for oid, lsn in described.items() if oid not in known and lsn > copied]
    return cursor | {"parts": [*cursor.get("parts", ()), *new]} if new else cursor
