"""DuckDB's words: identifiers, and the canonical text of each of its types."""

from __future__ import annotations

from groundwork.errors import WarehouseError
from groundwork.warehouses.canonical import (
    KIND_BOOLEAN,
    KIND_DATE,
    KIND_FLOAT,
    KIND_INSTANT,
    KIND_NUMBER,
    KIND_TEXT,
    KIND_TIME,
    Dialect,
)


def literal(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def kind_of(where: str, type_: str) -> str:
    """The canonical kind of a column."""
    kind = _KINDS.get(type_) or (KIND_NUMBER if type_.startswith("DECIMAL(") else "")
    if not kind:
        fix = "cast it to text in its model"
        raise WarehouseError(where, f"has no canonical text, its type is {type_}", fix=fix)
    return kind


_WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_KINDS = {
    "VARCHAR": KIND_TEXT,
    "JSON": KIND_TEXT,
    "UUID": KIND_TEXT,
    **dict.fromkeys(_WHOLE_NUMBERS, KIND_NUMBER),
    **{f"U{name}": KIND_NUMBER for name in _WHOLE_NUMBERS},
    "FLOAT": KIND_FLOAT,
    "DOUBLE": KIND_FLOAT,
    "BOOLEAN": KIND_BOOLEAN,
    "DATE": KIND_DATE,
    "TIMESTAMP": KIND_INSTANT,
    "TIMESTAMP WITH TIME ZONE": KIND_INSTANT,  # the connection's zone is UTC
    "TIME": KIND_TIME,
}
DIALECT = Dialect(
    texts={
        KIND_TEXT: "cast({0} as varchar)",
        KIND_NUMBER: (
            "case when contains(cast({0} as varchar), '.')"
            " then rtrim(rtrim(cast({0} as varchar), '0'), '.') else cast({0} as varchar) end"
        ),
        KIND_FLOAT: "printf('%.11e', {0} + 0)",
        KIND_BOOLEAN: "cast({0} as varchar)",
        KIND_DATE: "strftime({0}, '%Y-%m-%d')",
        KIND_INSTANT: "strftime(cast({0} as timestamp), '%Y-%m-%d %H:%M:%S.%f')",
        KIND_TIME: "strftime(date '1970-01-01' + {0}, '%H:%M:%S.%f')",
    },
    number="cast('0x' || {0} as bigint)",
    total="sum({0})",
    quoted=quoted,
    literal=literal,
)
