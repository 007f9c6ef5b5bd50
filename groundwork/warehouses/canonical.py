"""The canonical text of a row, and the digest of a table: the same in every warehouse, in any order of rows.

A cell is written ``name=length:text;`` with the column's name in lower case, the text's length in characters,
and the text of its kind (below). A cell that is null is not written: it differs from an empty text, and a
column that nobody filled changes nothing, wherever it stands. A row is its cells in the order of their names.

========  =================================================================================
kind      canonical text
========  =================================================================================
text      itself
number    digits without leading zeros, without zeros at the end of the fraction: 1, -0.5
float     scientific, 12 significant digits: 1.00000000000e-01; nan, inf, -inf
boolean   true, false
date      2026-01-31
instant   2026-01-31 23:59:59.000000 in UTC
time      23:59:59.000000
========  =================================================================================

A table's digest is the sum, over its rows, of the first and of the second fifteen hexadecimal digits of the
MD5 of the row's canonical text (UTF-8), each modulo 2^60: sums do not depend on the order, equal rows count
as often as they occur, and sums of parts add up. MD5 is what both warehouses have; it need not resist anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

KIND_TEXT, KIND_NUMBER, KIND_FLOAT, KIND_BOOLEAN = "text", "number", "float", "boolean"
KIND_DATE, KIND_INSTANT, KIND_TIME = "date", "instant", "time"
_DIGITS = 15


@dataclass(frozen=True)
class Digest:
    """What a table holds, in three numbers."""

    rows: int
    upper: int
    lower: int

    @property
    def text(self) -> str:
        """Thirty hexadecimal digits."""
        return f"{self.upper:0{_DIGITS}x}{self.lower:0{_DIGITS}x}"

    def __add__(self, other: Digest) -> Digest:
        """The digest of both together."""
        return digest_of((self.rows + other.rows, self.upper + other.upper, self.lower + other.lower))


def digest_of(row: Collection[int | str | None]) -> Digest:
    """The digest from what `digest_sql` selects: rows and two sums, as numbers or as their text."""
    rows, upper, lower = (int(value or 0) for value in row)
    return Digest(rows, upper % 16**_DIGITS, lower % 16**_DIGITS)


@dataclass(frozen=True)
class Dialect:
    """How a warehouse writes the parts; ``{0}`` stands for an expression."""

    texts: Mapping[str, str]
    """Canonical text per kind, of a value that is not null."""
    number: str
    """A text of hexadecimal digits as a number, ``{0}``."""
    total: str
    """The exact sum over all rows, ``{0}``."""
    quoted: Callable[[str], str]
    """A name."""
    literal: Callable[[str], str]
    """A text."""


def digest_sql(dialect: Dialect, relation: str, kinds: Mapping[str, str], where: str = "") -> str:
    """A statement that selects rows, and the two sums, of a relation.

    Args:
        dialect: the warehouse's.
        relation: schema and table, quoted.
        kinds: the columns that count, each with its kind.
        where: a condition, if only some rows count.
    """
    ordered = sorted(kinds, key=lambda name: (name.lower(), name))
    cells = [_cell(dialect, name, kinds[name]) for name in ordered]
    row = " || ".join(cells) or "''"
    halves = [
        dialect.total.format(dialect.number.format(f"substr(row_hash, {start}, {_DIGITS})"))
        for start in (1, 1 + _DIGITS)
    ]
    condition = f" where {where}" if where else ""
    return (
        f"select count(*), {halves[0]}, {halves[1]}"
        f" from (select md5({row}) as row_hash from {relation}{condition}) as row_hashes"
    )


def _cell(dialect: Dialect, name: str, kind: str) -> str:
    column = dialect.quoted(name)
    text = dialect.texts[kind].format(column)
    label = dialect.literal(f"{name.lower()}=")
    return f"case when {column} is null then '' else {label} || length({text}) || ':' || {text} || ';' end"
