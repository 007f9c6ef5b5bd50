"""Names and types that fit the catalog: streams for tables, catalog types for PostgreSQL's types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from groundwork.catalog.column_types import decimal_type

LONGEST = 41
"""Letters of a stream's name (`groundwork.catalog.names.NAME`)."""

NUMERIC = 1700
"""OID of PostgreSQL's ``numeric``."""
_TYPES = {
    16: "boolean",
    20: "integer",
    21: "integer",
    23: "integer",
    26: "integer",
    114: "json",
    700: "float",
    701: "float",
    1082: "date",
    1114: "timestamp",
    1184: "timestamp",
    3802: "json",
}
"""Catalog types by the OID of PostgreSQL's type (pg_type.dat), which no type of a user shares."""


def stream_names(tables: Iterable[str]) -> dict[str, str]:
    """One name of a stream for each table, all different, the same for the same tables.

    A name becomes lower-case ASCII letters, digits and single ``_``, begins with a letter, and has at most 41
    letters. Tables whose name stays as it is keep it; of the others, those that meet get ``_2``, ``_3`` …

    >>> stream_names(["orders", "_Orders", "2024", "größe"])
    {'orders': 'orders', '2024': 't_2024', '_Orders': 'orders_2', 'größe': 'grosse'}
    """
    fitted = {table: _fitted(table) for table in sorted(tables)}
    names = {table: name for table, name in fitted.items() if table == name}
    taken = set(names.values())
    for table, name in fitted.items():
        if table not in names:
            names[table] = _free(name, taken)
            taken.add(names[table])
    return names


def _fitted(table: str) -> str:
    plain = unicodedata.normalize("NFKD", table.casefold()).encode("ascii", "ignore").decode()
    other = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = other if other[:1].isalpha() else f"t_{other}".rstrip("_")
    return name[:LONGEST].rstrip("_")


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[: LONGEST - len(f'_{number}')].rstrip('_')}_{number}"
    return free


def base_type(oid: int, modifier: int, domains: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """The type and its modifier below all domains.

    Args:
        oid: the column's type.
        modifier: its ``atttypmod``.
        domains: of each domain, the type it is made of and that type's modifier.
    """
    while oid in domains:
        oid, modifier = domains[oid]
    return oid, modifier


def catalog_type(oid: int, modifier: int) -> str:
    """The catalog's type for a type of PostgreSQL; text, exactly as printed, where there is no other.

    ``numeric(5,-2)`` has values of seven digits, ``numeric(3,5)`` of five places. What no warehouse can build
    is text.
    """
    if oid != NUMERIC or modifier < 4:
        return _TYPES.get(oid, "text")
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale -= 2048 if scale >= 1024 else 0  # eleven bits with a sign (numeric.c, make_numeric_typmod)
    return decimal_type(max(precision - scale, 0) + max(scale, 0), max(scale, 0)) or "text"
