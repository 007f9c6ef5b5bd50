"""What decides the text of a table's values, beside the rows: types, labels, names, extensions, settings.

PostgreSQL stores numbers where it prints names: labels of enums, roles, tables. When one of them changes,
rows print another text and no row event says so. A cursor remembers a digest of all of this, see `shapes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from groundwork.sources.wire import PINNED, Connection

_SETTINGS = (
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "extra_float_digits",
    "bytea_output",
    "xmlbinary",
    "lc_monetary",
    "search_path",
    "quote_all_identifiers",
)
"""Those of `wire.PINNED` that decide how values are printed."""


@dataclass(frozen=True)
class Printing:
    """How the values of one table are printed."""

    kinds: str = ""
    """Digest of what must not change at all."""
    names: tuple[tuple[int, str], ...] = ()
    """OID and text of each name that values may be printed as, by OID. A further one changes no text."""

    def remembered(self) -> dict[str, Any]:
        """What a cursor holds of it."""
        last = self.names[-1][0] if self.names else 0
        return {"kinds": self.kinds, "last": last, "names": self._names_until(last)}

    def agrees(self, known: Mapping[str, Any]) -> bool:
        """Whether a cursor holds the same, but for names that are newer."""
        return bool(self.kinds == known["kinds"] and self._names_until(known["last"]) == known["names"])

    def _names_until(self, last: int) -> str:
        return _digest(f"{oid} {text}" for oid, text in self.names if oid <= last)


def printings(
    connection: Connection, types: Mapping[str, Iterable[int]], keyless: Iterable[str]
) -> dict[str, Printing]:
    """How each table's values are printed now.

    Args:
        connection: an ordinary connection.
        types: OIDs of the types of each table's columns.
        keyless: tables whose rows are known by their text alone. A label that was added to an enum may have
            been renamed since, and rows may have come and gone between, so for them it counts as a change.
            So does another major version of the server.
    """
    settings = [f"{name}={PINNED[name]}" for name in _SETTINGS]
    version, encoding = connection.run(
        "select cast(current_setting('server_version_num') as int) / 10000,"
        " current_setting('server_encoding')"
    )[0]
    facts, labels, used = _described(connection, {oid for of_table in types.values() for oid in of_table})
    names = {kind: _names(connection, kind) for kind in sorted({k for kinds in used.values() for k in kinds})}
    found, keyless = {}, set(keyless)
    for table, oids in types.items():
        distinct = set(oids)
        fixed = {fact for oid in distinct for fact in facts.get(oid, ())}
        fixed |= {f"encoding {encoding}", *settings}
        listed = {name for oid in distinct for kind in used.get(oid, ()) for name in names[kind]}
        own = {label for oid in distinct for label in labels.get(oid, ())}
        if table in keyless:
            fixed |= {f"label {oid} {text}" for oid, text in own} | {f"version {version}"}
        else:
            listed |= own
        found[table] = Printing(_digest(sorted(fixed)), tuple(sorted(listed)))
    return found


_USED = """
with recursive used(root, type) as (
    select o.oid, o.oid from pg_type o where o.oid = any(cast(string_to_array(:oids, ',') as oid[]))
    union
    select u.root, inner_type.oid from used u join pg_type t on t.oid = u.type, lateral (
        select t.typelem
        union all select t.typbasetype
        union all select a.atttypid from pg_attribute a
            where t.typrelid <> 0 and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
        union all select r.rngtypid from pg_range r where r.rngmultitypid = t.oid
    ) inner_type(oid)
    where inner_type.oid <> 0
)
select cast(u.root as bigint), cast(u.type as bigint), t.typbasetype <> 0,
    (select coalesce(string_agg(concat_ws(' ', a.attnum, a.atttypid, a.atttypmod), ',' order by a.attnum), '')
        || '/' || min(c.relnatts)
     from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where t.typrelid <> 0 and c.oid = t.typrelid),
    (select e.extname || ' ' || e.extversion from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = cast('pg_type' as regclass) and d.objid = t.oid and d.deptype = 'e'
        and d.refclassid = cast('pg_extension' as regclass)),
    concat_ws(' ', t.typbasetype, t.typtypmod)
from used u join pg_type t on t.oid = u.type
"""

_LABELS = """
select cast(enumtypid as bigint), cast(oid as bigint), enumlabel || ' ' || xmin from pg_enum
where enumtypid = any(cast(string_to_array(:oids, ',') as oid[]))
"""


def _described(
    connection: Connection, roots: set[int]
) -> tuple[dict[int, set[str]], dict[int, set[tuple[int, str]]], dict[int, set[int]]]:
    """By type: what it is made of, the labels it has, and the kinds of name that its values hold."""
    facts: dict[int, set[str]] = {}
    reached: dict[int, set[int]] = {}
    for root, oid, domain, attributes, extension, base in connection.run(_USED, oids=_listed(roots)):
        reached.setdefault(root, set()).add(oid)
        of_root = facts.setdefault(root, set())
        if domain:
            of_root.add(f"domain {oid} {base}")
        if attributes is not None:
            of_root.add(f"composite {oid} {attributes}")
        if extension:
            of_root.add(f"extension {extension}")
    by_enum: dict[int, set[tuple[int, str]]] = {}
    for enum, oid, text in connection.run(_LABELS, oids=_listed(set().union(*reached.values()))):
        by_enum.setdefault(enum, set()).add((oid, text))
    labels = {root: set().union(*(by_enum.get(oid, ()) for oid in oids)) for root, oids in reached.items()}
    return facts, labels, {root: oids & _NAMED.keys() for root, oids in reached.items()}


_LASTING = "relpersistence <> 't'"

_NAMED = {
    24: ("pg_proc", "regproc", "true"),
    2202: ("pg_proc", "regprocedure", "true"),
    2203: ("pg_operator", "regoper", "true"),
    2204: ("pg_operator", "regoperator", "true"),
    2205: ("pg_class", "regclass", _LASTING),
    2206: ("pg_type", "regtype", f"typrelid not in (select oid from pg_class where not {_LASTING})"),
    4089: ("pg_namespace", "regnamespace", "nspname !~ '^pg_(toast_)?temp_'"),
    4096: ("pg_roles", "regrole", "true"),
    1033: ("pg_roles", "regrole", "true"),
    3734: ("pg_ts_config", "regconfig", "true"),
    3769: ("pg_ts_dict", "regdictionary", "true"),
    4191: ("pg_collation", "regcollation", "true"),
    8326: ("pg_database", "regdatabase", "true"),
}
"""Types whose values are printed as names (``aclitem``, 1033: names of roles): catalog, type, condition."""


def _names(connection: Connection, kind: int) -> list[tuple[int, str]]:
    """All names that values of a type may be printed as; not of temporary tables, which come and go."""
    catalog, kind_name, condition = _NAMED[kind]
    printed = f"cast(cast(oid as {kind_name}) as text)"
    found = connection.run(f"select cast(oid as bigint), {printed} from {catalog} where {condition}")
    return [(int(oid), text) for oid, text in found]


def _listed(oids: Iterable[int]) -> str:
    return ",".join(map(str, sorted(oids)))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:20]
