"""Which fields records have, and what changed since the last run: told, and never in the way.

Looked at are five records of each page (its first, its last, three between) and, after a hundred pages, the
last one of each: their fields and one level below, so it costs nothing that counts; a field that only other
records have is not seen. What was ever seen
stands in the stream's cursor: a JSON type or several, with ``?`` if some record had no such field. Names that
are no names (keys that begin with a digit, like dates and ids, or hold an ``@``) and objects of more than
fifty keys are data, not fields.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from groundwork.errors import SourceError
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.content_encoding import CutOff
from groundwork.sources.rest.json_text import decoded
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.pull import Moved

log = logging.getLogger(__name__)

_NAME = re.compile(r"[@$#]?[^\W\d][\w$.:# -]{0,60}|#\d+")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_MOST_FIELDS, _MOST_BELOW = 1000, 50
_LOOKED_AT_CLOSELY = 100
"""Pages of which five records are looked at."""
_UNFINISHED = {"pull", "waiting", "unfinished"}
"""What stands in the state of a pull that goes on: only its end tells what is gone."""


class Fields:
    """The fields of one stream's records."""

    def __init__(self, stream: str, state: Mapping[str, Any], may_write: Callable[[str], bool]) -> None:
        """Go on from what the stream's state knows; a name that may not be written is no field."""
        self._stream, self._may_write = stream, may_write
        self._known: dict[str, str] = dict(state.get("fields") or {})
        self._first = not self._known
        self._pages = 0
        self._types: dict[str, set[str]] = {}
        self._seen: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()
        """How many objects could have had a field, by the path of the object; "" is the record."""

    def watch(self, pages: Generator[Page, None, None]) -> Generator[Page, None, None]:
        """The pages, looked at as they pass."""
        try:
            for page in pages:
                self.look(page.cut.records)
                yield page
        finally:
            pages.close()

    def look(self, records: Sequence[Raw]) -> None:
        """Look at some of a page's records."""
        last = len(records) - 1
        if last < 0:
            return
        self._pages += 1
        few = self._pages > _LOOKED_AT_CLOSELY
        for place in (last,) if few else sorted({0, last // 4, last // 2, 3 * last // 4, last}):
            self._note("", records[place])

    def keep(self, items: Iterator[Rows | Moved | Undo]) -> Iterator[Rows | Moved | Undo]:
        """What a pull yields, with the fields in each state and what changed among the events."""
        for item in items:
            if not isinstance(item, Moved):
                yield item
                continue
            changes = self._changes(finished=not item.state.keys() & _UNFINISHED)
            state = {**item.state, "fields": dict(self._known)} if self._known else item.state
            yield dataclasses.replace(item, state=state, events=[*item.events, *changes])

    def _note(self, parent: str, text: Raw) -> None:
        try:
            found = decoded(_OBJECT, text, "")
        except (SourceError, CutOff, msgspec.MsgspecError, UnicodeDecodeError):
            return
        if parent and len(found) > _MOST_BELOW:
            return
        self._objects[parent] += 1
        for name, value in found.items():
            path = f"{parent}.{name}" if parent else name
            if path not in self._types and not self._is_field(name):
                continue
            kind = _kind(bytes(memoryview(value)[:40]))
            self._types.setdefault(path, set()).add(kind)
            self._seen[path] += 1
            if kind == "object" and not parent:
                self._note(path, value)

    def _is_field(self, name: str) -> bool:
        room = len(self._types) < _MOST_FIELDS
        return room and _NAME.fullmatch(name) is not None and self._may_write(name)

    def _changes(self, *, finished: bool) -> list[dict[str, Any]]:
        new, changed, gone = {}, {}, []
        for path, types in self._types.items():
            before = self._known.get(path)
            known = set(before.rstrip("?").split("|")) if before else set()
            both = "|".join(sorted(known | types))
            always = self._seen[path] == self._objects[_parent(path, self._objects)]
            self._known[path] = both if always and not (before or "").endswith("?") else f"{both}?"
            if before is None:
                new[path] = both
            elif types - known - {"null"} and known != {"null"}:
                changed[path] = f"{'|'.join(sorted(known))} -> {'|'.join(sorted(types))}"
        if finished and self._objects:
            gone = [path for path in self._known if self._is_gone(path)]
            for path in gone:
                self._forget(path)
        if self._first or not (new or changed or gone):
            self._first = self._first and not finished
            return []
        log.warning(
            "fields changed stream=%s new=%d gone=%d changed=%d",
            self._stream, len(new), len(gone), len(changed),
        )  # fmt: skip
        return [
            {"event": "fields_changed", "stream": self._stream, "new": new, "gone": gone, "changed": changed,
             "looked_at": self._objects[""]}
        ]  # fmt: skip

    def _is_gone(self, path: str) -> bool:
        """Whether no record has a field any more that every one had."""
        parent = _parent(path, self._objects, self._known)
        return path not in self._types and not self._known[path].endswith("?") and self._objects[parent] > 0

    def _forget(self, path: str) -> None:
        for known in [one for one in self._known if one == path or one.startswith(f"{path}.")]:
            del self._known[known]


def _parent(path: str, *places: Mapping[str, Any]) -> str:
    """The object a path is in; a name may itself hold a dot, so the objects there are decide."""
    for place in range(len(path) - 1, 0, -1):
        if path[place] == "." and any(path[:place] in known for known in places):
            return path[:place]
    return ""


def _kind(text: bytes) -> str:
    """The JSON type, by how a value begins; whole numbers are told from others."""
    first = text[:1]
    if first in b'"{[tfn':
        return {b'"': "string", b"{": "object", b"[": "array", b"n": "null"}.get(first, "boolean")
    return "integer" if text.lstrip(b"-").isdigit() else "number"
