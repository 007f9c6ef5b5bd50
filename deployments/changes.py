"""What applying something did, or would do: field by field, and never a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["created", "updated", "unchanged", "removed", "missing", "left over"]

_ABSENT = object()
_LONGEST = 60


@dataclass(frozen=True)
class Change:
    """One entry of the report, e.g. ``updated   automation 'groundwork: run failed'``."""

    outcome: Outcome
    kind: str
    name: str
    why: str = ""
    fields: list[str] = field(default_factory=list)
    """What differs, a line each: ``path: before → after``."""

    def __str__(self) -> str:
        """The entry, with a line per field that differs."""
        first = f"{self.outcome:9} {self.kind} '{self.name}'" + (f": {self.why}" if self.why else "")
        return "\n".join([first, *(f"            {line}" for line in self.fields)])


def differences(before: Any, after: Any, *, shown_before: Any = None, shown_after: Any = None) -> list[str]:
    """The fields of two nested values that differ, a line each.

    Args:
        before: what is there.
        after: what is wanted.
        shown_before: the same with secrets masked; where a masked value stands, neither side is shown.
        shown_after: likewise of what is wanted.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    masked = {
        path
        for shown in (shown_before, shown_after)
        if shown is not None
        for path, value in _flat(shown)
        if isinstance(value, str) and value and not value.strip("*")
    }
    lines = []
    for path in sorted(old.keys() | new.keys()):
        was, wanted = old.get(path, _ABSENT), new.get(path, _ABSENT)
        if was == wanted:
            continue
        if path in masked:
            lines.append(f"{path}: a secret, changed")
        else:
            lines.append(f"{path}: {_told(was)} → {_told(wanted)}")
    return lines


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(one, (Mapping, list)) for one in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{place}]")
    else:
        yield path, value


def _told(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
