"""Types of columns in the catalog, and which decimals a warehouse can build."""

from __future__ import annotations

import re
from typing import Any

from groundwork.catalog.mistakes import guess

WORDS = ("text", "integer", "float", "boolean", "date", "timestamp", "json")
PATTERN = "|".join([*WORDS, r"decimal\([0-9]{1,2},[0-9]{1,2}\)"])
_DECIMAL = re.compile(r"decimal\(([0-9]{1,3}),(-?[0-9]{1,4})\)")

MOST_DIGITS, MOST_PLACES = 38, 37
"""Of a decimal: DuckDB has 38 digits, Snowflake 38 digits and at most 37 places ("Numeric data types")."""


def decimal_type(precision: int, scale: int) -> str:
    """The catalog's decimal of so many digits and places; empty when a warehouse cannot build it.

    >>> decimal_type(10, 2), decimal_type(39, 2)
    ('decimal(10,2)', '')
    """
    fits = 1 <= precision <= MOST_DIGITS and 0 <= scale <= min(precision, MOST_PLACES)
    return f"decimal({precision},{scale})" if fits else ""


def column_type(text: Any) -> str:
    """A column's type as the catalog keeps it; spaces do not count.

    Raises:
        ValueError: when it is no type, or a decimal that no warehouse can build.
    """
    plain = str(text).replace(" ", "")
    if found := _DECIMAL.fullmatch(plain):
        if built := decimal_type(int(found[1]), int(found[2])):
            return built
        raise ValueError(
            f"{str(text)!r} cannot be built: decimal(p,s) has p from 1 to {MOST_DIGITS}, and s from 0 to "
            f"{MOST_PLACES} that is not more than p; use text, which keeps every digit"
        )
    if plain not in WORDS:
        known = ["text", "integer", "decimal(p,s)", *WORDS[2:]]
        raise ValueError(f"{str(text)!r} is not a column type ({', '.join(known)}){guess(plain, known)}")
    return plain
