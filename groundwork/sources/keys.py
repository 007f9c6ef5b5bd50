"""What identifies a record: the catalog's key, held against what the table guarantees and the log says.

The log tells a removed record by the table's replica identity. A key can be followed only if the log always
carries it, and if no two records ever share it: not even within one statement, as a deferrable constraint
allows. Each partition has an identity of its own: the root's does not reach it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from groundwork.errors import CatalogError
from groundwork.sources.partitions import Part
from groundwork.sources.wire import Connection

SETUP = "run the statements that `python -m groundwork doctor --sql` prints"
"""The one way out where statements must fit the live database, and come in an order."""

_UNIQUE = """
select cast(i.indrelid as bigint), cast(array_agg(k.attname) as text[])
from pg_index i
join pg_attribute k on k.attrelid = i.indrelid
    and array_position(cast(i.indkey as int2[]), k.attnum) < i.indnkeyatts  -- counts from 0
where i.indrelid = any(cast(string_to_array(:oids, ',') as oid[]))
    and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
group by i.indrelid, i.indexrelid
having bool_and(k.attnotnull and not exists (
    select from pg_constraint n
    where n.conrelid = i.indrelid and n.contype = 'n' and not n.convalidated and k.attnum = any(n.conkey)
))
"""


def unique_keys(connection: Connection, oids: Iterable[int]) -> dict[int, list[frozenset[str]]]:
    """Columns that no two records of a table share, in no moment and never null; by the table's OID."""
    found: dict[int, list[frozenset[str]]] = {}
    for oid, columns in connection.run(_UNIQUE, oids=",".join(map(str, oids))):
        found.setdefault(oid, []).append(frozenset(columns))
    return found


def check_logged(where: str, parts: Iterable[Part]) -> None:
    """Refuse a partitioned table of which some rows are in no log.

    Raises:
        CatalogError: naming the first such partition.
    """
    for part in parts:
        if part.kind != "p" and not part.logged:
            kind = "a foreign table" if part.kind == "f" else "unlogged"
            raise CatalogError(
                f"{where}.table", f"partition {part.full_name} is {kind}",
                why="its changes are in no log, and would be missed in silence",
                fix="make a stream of each other partition, or let `replication` be full_table",
            )  # fmt: skip


def check_key(where: str, key: Sequence[str], parts: Sequence[Part], unique: list[frozenset[str]]) -> None:
    """Hold the catalog's key against what the table guarantees, and what the log says of removed records.

    Args:
        where: the stream in the catalog.
        key: its ``primary_key``; empty when it is followed row by row.
        parts: the table, and its partitions.
        unique: see `unique_keys`.

    Raises:
        CatalogError: when records could be taken for each other, or a removal missed.
    """
    leaves = [part for part in parts if part.kind != "p"]
    root = next(part for part in parts if not part.attached)
    followed = any(part.identity == "f" or part.identified_by for part in leaves)
    # What a partition says of its rows is passed on as the root's: both must be enough.
    for part in [root, *leaves]:
        told = "a row as a whole" if not key else f"({', '.join(key)})"
        enough = part.identity == "f" or (key and set(key) <= set(part.identified_by))
        # Without any identity PostgreSQL refuses updates and deletes: nothing can be missed.
        if followed and not enough and (part.identified_by or part.kind == "p"):
            raise CatalogError(
                f"{where}.primary_key", f"{told} is not what {part.full_name}'s log identifies rows by",
                why=f"its replica identity is ({', '.join(part.identified_by) or 'none'})",
                fix="use that as primary_key" if part.identified_by and not part.attached else SETUP,
            )  # fmt: skip
    if key and not any(columns <= set(key) for columns in unique):
        raise CatalogError(
            f"{where}.primary_key", f"two records of {root.full_name} may share ({', '.join(key)})",
            why="within it is no unique index that is valid, not deferrable, and without conditions or nulls",
            fix="give it one (a primary key that is not deferrable), or leave primary_key empty "
            f"(it is then followed row by row), and {SETUP}",
        )  # fmt: skip
