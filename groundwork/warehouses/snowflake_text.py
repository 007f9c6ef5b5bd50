"""The canonical text of Snowflake's types, see `groundwork.warehouses.canonical`."""

from __future__ import annotations

import re

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
from groundwork.warehouses.snowflake_sql import literal, quoted

_KINDS = {
    KIND_TEXT: r"TEXT|VARCHAR.*|CHAR.*|STRING",
    KIND_NUMBER: r"NUMBER.*|DECIMAL.*|(BIG|SMALL|TINY)?INT|INTEGER",
    KIND_FLOAT: r"FLOAT|DOUBLE.*|REAL",
    KIND_BOOLEAN: r"BOOLEAN",
    KIND_DATE: r"DATE",
    KIND_INSTANT: r"TIMESTAMP_NTZ.*|DATETIME",
    KIND_TIME: r"TIME",
}


def kind_of(where: str, type_: str) -> str:
    """The canonical kind of a type.

    Raises:
        WarehouseError: when it has none.
    """
    for kind, pattern in _KINDS.items():
        if re.fullmatch(pattern, type_, re.IGNORECASE):
            return kind
    raise WarehouseError(
        where, f"is of type {type_}, which has no canonical text", fix="cast it in the model"
    )


_DIGITS = "to_varchar({0})"

DIALECT = Dialect(
    texts={
        KIND_TEXT: "{0}",
        KIND_NUMBER: (
            f"case when contains({_DIGITS}, '.')"
            f" then regexp_replace({_DIGITS}, '[.]?0*$', '') else {_DIGITS} end"
        ),
        # 12 digits, and an exponent of two places where they suffice, as C writes it
        KIND_FLOAT: (
            "case when {0} = 'NaN'::float then 'nan' when {0} = 'inf'::float then 'inf'"
            " when {0} = '-inf'::float then '-inf'"
            " when {0} = 0 or abs({0}) between 1e-99 and 9.9999999999e99"
            " then trim(to_char({0} + 0, '9.99999999999eeee'))"
            " else trim(to_char({0} + 0, '9.99999999999eeeee')) end"
        ),
        KIND_BOOLEAN: "case when {0} then 'true' else 'false' end",
        KIND_DATE: "to_char({0}, 'YYYY-MM-DD')",
        KIND_INSTANT: "to_char({0}, 'YYYY-MM-DD HH24:MI:SS.FF6')",
        KIND_TIME: "to_char({0}, 'HH24:MI:SS.FF6')",
    },
    number="to_number({0}, 'XXXXXXXXXXXXXXX')",
    total="to_varchar(sum({0}))",
    quoted=quoted,
    literal=literal,
)
"""How Snowflake writes the canonical text."""
