"""What a draft leaves to a person: values that say TODO where a wrong one would lose records in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MARK = "TODO"
"""How a value begins that is not decided."""
_OF_CONNECTION = ("base_url", "auth")
_OF_STREAM = ("records", "primary_key", "paging")


def undecided(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each place of an entry that is not decided, and what its draft says about it."""
    yield from _places(entry.get("connection"), "connection", _OF_CONNECTION)
    streams = entry.get("streams")
    for name, stream in streams.items() if isinstance(streams, dict) else ():
        yield from _places(stream, f"streams.{name}", _OF_STREAM)


def _places(part: Any, where: str, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key in keys:
        value = part.get(key) if isinstance(part, dict) else None
        if isinstance(value, str) and value.startswith(MARK):
            yield f"{where}.{key}", value.removeprefix(MARK).lstrip(": ")
