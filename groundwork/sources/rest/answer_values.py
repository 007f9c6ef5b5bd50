"""Values at paths of a JSON text, found without making objects of what stands beside them.

msgspec visits only the named keys. From the first list of a path on (``link[relation=next].url``) the rest is
found step by step in the text of that list.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from groundwork.paths import Match, Step, leading_keys

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_NOTHING = (b"null", b"[]", b"{}")
_NO = re.compile(r"(?i)false|no|n|f|off|none|null|[-0 :./TZ]*")
"""Texts and numbers that say no; the last one is 0, "" and MySQL's zero date."""


class Paths:
    """Several paths into one kind of JSON text, read together."""

    def __init__(self, paths: Mapping[str, tuple[Step, ...]], records: str = "") -> None:
        """Compile a decoder that visits the named paths only.

        Args:
            paths: by what their values are called; an empty path is the whole text.
            records: name of the path to the array of records, "" for none of them.
        """
        leaves = _outermost(leading_keys(steps) for steps in paths.values())
        self._where = {name: _split(steps, leaves) for name, steps in paths.items()}
        self._records = records
        shapes: dict[tuple[str, ...], Any] = dict.fromkeys(leaves, Raw)
        self._listed = False
        """Whether the decoder makes a list of the records, which is faster than a second pass."""
        if records:
            keys, rest = self._where[records]
            shared = sum(1 for other, _ in self._where.values() if other == keys) > 1
            self._listed = not (rest or shared)
            if self._listed:
                shapes[keys] = list[Raw]
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape(shapes))

    def found(self, top: Any) -> dict[str, Any]:
        """The value of each path: the JSON text, None or UNSET where there is none, a list for the records.

        Args:
            top: what `decoder` made of a text.

        Raises:
            ValidationError: when the records are no array.
        """
        values = {name: dive(at(top, keys), rest) for name, (keys, rest) in self._where.items()}
        if self._records and not self._listed:
            text = values[self._records]
            nothing = text is UNSET or text is None or bytes(text) == b"null"
            values[self._records] = (None if text is not UNSET else UNSET) if nothing else _LIST.decode(text)
        return values

    def each(self, name: str, tops: Sequence[Any]) -> list[Any]:
        """The value of one path in each of many texts, see `found`."""
        keys, rest = self._where[name]
        if rest or not keys:
            return [dive(at(top, keys), rest) for top in tops]
        try:  # the usual case, in C
            return list(map(operator.attrgetter(".".join("f0" for _ in keys)), tops))
        except AttributeError:  # a parent of the field is null or missing somewhere
            return [at(top, keys) for top in tops]


def _outermost(keys: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those of some paths of keys that lie below none of the others."""
    found: list[tuple[str, ...]] = []
    for one in sorted(set(keys), key=len):
        if not any(one[: len(outer)] == outer for outer in found):
            found.append(one)
    return found


def _split(
    steps: tuple[Step, ...], leaves: Iterable[tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[Step, ...]]:
    """The keys that the decoder visits, and what is left to be found in the text there."""
    keys = leading_keys(steps)
    leaf = next(one for one in leaves if keys[: len(one)] == one)
    return leaf, steps[len(leaf) :]


def dive(value: Any, steps: tuple[Step, ...]) -> Any:
    """The text at some steps of a JSON text; UNSET where there is none."""
    for step in steps:
        if value is None or value is UNSET:
            return UNSET
        try:
            value = _stepped(value, step)
        except msgspec.ValidationError:  # an object where a list should be, or the other way round
            return UNSET
    return value


def _stepped(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return _OBJECT.decode(value).get(step, UNSET)
    items = _LIST.decode(value)
    if isinstance(step, int):
        return items[step] if -len(items) <= step < len(items) else UNSET
    return next((item for item in items if _matches(item, step)), UNSET)


def _matches(item: Raw, match: Match) -> bool:
    """Whether an element has a value; a list of values has each of them (``rel: [next, last]``)."""
    value = dive(item, match.keys)
    if value is UNSET:
        return False
    text = bytes(value)
    many = _LIST.decode(value) if text[:1] == b"[" else [value]
    return match.value in [plain(one) for one in many]


def plain(value: Raw) -> str:
    """A JSON text as text: a string without its quotes, all else as it stands."""
    text = bytes(value)
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()


def is_empty(value: Any) -> bool:
    """Whether a value is not there, null, false, 0, "", [] or {}."""
    if value is None or value is UNSET:
        return True
    return isinstance(value, Raw) and bytes(value) in (*_NOTHING, b"false", b"0", b'""')


def says_yes(value: Any, values: Collection[str] = ()) -> bool:
    """Whether a flag says yes.

    Args:
        value: the JSON text; None or UNSET where there is none.
        values: texts that say yes; when empty, all but null, false, 0, no, n, empty and zero dates do, as
            texts too: the flags of many APIs and of every CSV are texts.
    """
    if value is None or value is UNSET or bytes(value) in _NOTHING:
        return False
    if bytes(value)[:1] in b"{[":
        return not values
    text = plain(value)
    return text in values if values else _NO.fullmatch(text.strip()) is None


def shape(leaves: Mapping[tuple[str, ...], Any]) -> Any:
    """A type that visits only these paths; whatever else stands in the JSON is skipped."""
    if () in leaves:
        return leaves[()]
    children: dict[str, dict[tuple[str, ...], Any]] = {}
    for path, leaf in leaves.items():
        children.setdefault(path[0], {})[path[1:]] = leaf
    names = {key: f"f{number}" for number, key in enumerate(children)}
    fields: list[tuple[str, Any, Any]] = []
    for key, below in children.items():
        kind = shape(below)
        fields.append((names[key], kind if kind is Raw else kind | UnsetType | None, UNSET))
    rename = {name: key for key, name in names.items()}
    visited = msgspec.defstruct("Visited", fields, rename=rename, gc=False)
    _NAMES[visited] = names
    return visited


_NAMES: dict[Any, dict[str, str]] = {}


def at(value: Any, path: tuple[str, ...]) -> Any:
    """The value at some keys of what a decoder of `shape` made."""
    for key in path:
        if value is None or value is UNSET:
            return value
        value = getattr(value, _NAMES[type(value)][key])
    return value
