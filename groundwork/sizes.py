"""Sizes as the catalog writes them: ``500 MB``, ``5 GB``; with PostgreSQL's units, of 1024 each."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def _size(value: Any) -> Any:
    match = re.fullmatch(r"(\d+) ?(kB|MB|GB|TB)", str(value))
    if not match or int(match[1]) == 0:
        raise ValueError("is not a size: write for example '500 MB', '5 GB' or '1 TB'")
    return int(match[1]) * _UNITS[match[2]]


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+ ?(kB|MB|GB|TB)$"}),
]
"""Bytes."""


def size_text(size: int) -> str:
    """Bytes for people: ``5.2 GB``."""
    for unit, bytes_ in reversed(_UNITS.items()):
        if abs(size) >= bytes_:
            return f"{size / bytes_:.1f} {unit}".replace(".0 ", " ")
    return f"{size} bytes"
