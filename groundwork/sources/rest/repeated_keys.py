"""Keys that stand twice in the objects around the records: the parser would drop one of their values.

RFC 8259 §4 leaves open what a repeated key means. Where the way on, the total or the records themselves stand
twice, either could be meant, so that is an error. Records are not looked at: they are landed byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import msgspec
import pyarrow as pa
from msgspec import Raw

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_BEFORE_VALUE = re.compile(rb'[ \t\r\n]*[{,][ \t\r\n]*"(?:[^"\\]|\\.)*+"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_ASCII_ESCAPED = re.compile(rb"\\u00[2-7]")


class RepeatedKeys:
    """Looks for repeated keys on some paths of a JSON text."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        """Note the paths, each from the outermost key to the innermost."""
        self._paths = sorted({path for path in paths if path})
        names = {name for path in self._paths for name in path}
        self._written = [msgspec.json.encode(name) for name in sorted(names)]

    def found(self, body: bytes) -> str:
        """The object that has a key of the paths twice, for messages; "" for none.

        The whole text is searched for the names first, which costs next to nothing.
        """
        suspect = any(body.count(name) > 1 for name in self._written)
        if not suspect and not _ASCII_ESCAPED.search(body):
            return ""
        for path in self._paths:
            text = body
            for depth, name in enumerate(path):
                try:
                    inner = _OBJECT.decode(text)
                except msgspec.MsgspecError:
                    break
                if name in inner and _is_repeated(text, inner, name):
                    return f"the object '{'.'.join(path[:depth])}'" if depth else "the outermost object"
                if name not in inner:
                    break
                text = bytes(inner[name])
        return ""


def _is_repeated(text: bytes, found: Mapping[str, Raw], name: str) -> bool:
    """Whether a key stands twice in an object: other values of it stand between those that were found."""
    begin, at = pa.py_buffer(text).address, 0
    for start, length in sorted((pa.py_buffer(one).address - begin, len(one)) for one in found.values()):
        if not _BEFORE_VALUE.fullmatch(text, at, start) and name in _dropped(text[at:start]):
            return True
        at = start + length
    return False


def _dropped(members: bytes) -> list[str]:
    """The keys of some members of an object, but for the last one, whose value is not among them."""
    text = b"{" + members.lstrip(b" \t\r\n{,") + b"0}"
    pairs = json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str)
    return [key for key, _ in pairs[:-1]]
