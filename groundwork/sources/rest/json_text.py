r"""JSON texts that the parser refuses: lone surrogates are read all the same, of others the fault is found.

``"\ud83d"`` alone is half a character. JSON allows the escape (RFC 8259 §8.2) but no Unicode text can hold
it, so parsers refuse the whole answer. Such an escape is replaced by one of equal length (U+FFFD) where we
look into a record; the record itself keeps its letters. The fault of other texts is found by a second
reading, token by token: slow, and only for texts that are refused anyway.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.content_encoding import CutOff

_ESCAPE = re.compile(
    rb"\\(?:[^u]"  # no escape of a code unit, an escaped backslash among them
    rb"|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair is one character
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2}))",
    re.DOTALL,
)
_GAP = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_PLAIN = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+(?![0-9.eE+-])|true|false|null"
_TOKEN = re.compile(
    _GAP + rb"(?:(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)"
    rb"|(?P<string>" + _STRING + rb'")|(?P<value>' + _PLAIN + rb"))"
)
_SIMPLE = _GAP + rb"(?:" + _STRING + rb'"|' + _PLAIN + rb")" + _GAP
_LIST = _GAP + rb"\[(?:" + _SIMPLE + rb"(?:," + _SIMPLE + rb")*+)?+\]" + _GAP
_MEMBER = _GAP + _STRING + rb'"' + _GAP + rb":(?:" + _SIMPLE + rb"|" + _LIST + rb")"
_SIMPLE_OBJECTS = re.compile(
    rb"(?:" + _GAP + rb"\{" + _MEMBER + rb"(?:," + _MEMBER + rb")*+\}" + _GAP + rb",)++"
)
"""A run of records whose fields are simple: read in one go, which takes a twentieth of the time."""
_UNFINISHED = re.compile(
    _STRING + rb"(?:\\(?:u[0-9a-fA-F]{0,3})?)?"
    rb"|-?(?:0|[1-9][0-9]*+)?(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]*+)?"
    rb"|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?"
)
"""What a token is when the text ends within it."""
_NOT_JSON = {
    b"NaN": "NaN is no JSON", b"Infinity": "Infinity is no JSON", b"-Infinity": "Infinity is no JSON",
    b"-NaN": "NaN is no JSON", b"'": "a single quote is no JSON", b"/*": "a comment is no JSON",
    b"//": "a comment is no JSON", b"\x00": "a NUL byte stands there, as in UTF-16 or UTF-32",
    b"<": "a page or XML begins there",
}  # fmt: skip


_DEEPEST_COUNTED = 10_000
"""Levels of which more are not counted: to read megabytes of brackets takes long, and helps nobody."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a JSON text."""

    what: str
    """Places and kinds, never values."""
    cut_off: bool = False
    """The text is good as far as it goes, but not whole."""


class Decoder(Protocol):
    """A decoder of msgspec, whatever it makes of a text."""

    def decode(self, buf: bytes | Raw, /) -> Any:
        """See msgspec."""


def readable(text: bytes) -> bytes:
    """A text of equal length without lone surrogates; itself when it has none."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], text)


def decoded(decoder: Decoder, text: bytes | Raw, where: str) -> Any:
    """What a decoder makes of a text, lone surrogates or not; see `decoded_with_text`."""
    return decoded_with_text(decoder, text, where)[0]


def decoded_with_text(decoder: Decoder, text: bytes | Raw, where: str) -> tuple[Any, bytes | Raw]:
    """What a decoder makes of a text, and the text that it read: of equal length, without lone surrogates.

    Raises:
        ValidationError: when it is JSON of another shape.
        CutOff: when it ends too early.
        AnswerUnusable: when it is no JSON, or deeper than can be read.
    """
    plain: bytes | Raw = text
    for again in (False, True):
        plain = readable(bytes(text)) if again else text
        try:
            return decoder.decode(plain), plain
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            continue
        except RecursionError:
            raise _too_deep(bytes(text), where) from None
    text = bytes(text)
    fault = fault_of(text)
    if fault.cut_off:
        raise CutOff(f"{len(text)} bytes are not one JSON text: {fault.what}")
    raise AnswerUnusable(
        where, f"the answer is no JSON: {fault.what}",
        why="it ended as it should, so asking again would change nothing",
        fix="ask the same with curl to see it, and tell the API's owner",
    )  # fmt: skip


def check_utf8(text: bytes, where: str, before: int = 0) -> None:
    """Refuse bytes that are no UTF-8; the parser passes over strings without a look at them.

    Args:
        text: the bytes.
        where: for the message.
        before: bytes that came before these.

    Raises:
        CutOff: when they end within a character.
        AnswerUnusable: when they are no UTF-8.
    """
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        position, to_the_end = error.start, error.end == len(text)
    else:
        return
    if to_the_end and len(text) - position < 4 and 0xC2 <= text[position] <= 0xF4:
        raise CutOff(f"{len(text)} bytes are not one JSON text: it ends within a character")
    raise AnswerUnusable(
        where, f"the answer is not UTF-8 (byte {before + position})", why="JSON is UTF-8 (RFC 8259 §8.1)"
    )


def _too_deep(text: bytes, where: str) -> AnswerUnusable:
    """The error for a text whose arrays and objects stand in each other too deep."""
    depth = _Scan(text).deepest()
    counted = f"{depth}" if depth < _DEEPEST_COUNTED else f"more than {_DEEPEST_COUNTED}"
    return AnswerUnusable(
        where, f"arrays and objects stand in each other {counted} levels deep",
        why="the parser reads some hundreds of levels",
        fix="leave the field out, if the API can be asked to",
    )  # fmt: skip


def fault_of(text: bytes) -> Fault:
    """Why a text is not one JSON text; for one that is, that something else is wrong."""
    return _Scan(text).fault()


class _Scan:
    """One reading of a text, token by token."""

    def __init__(self, text: bytes) -> None:
        self._text, self._at = text, 0
        self._open = bytearray()
        """Brackets that are open."""
        self._depth, self._most = 0, sys.maxsize

    def deepest(self) -> int:
        """The deepest level, as far as the text is JSON and up to what is counted."""
        self._most = _DEEPEST_COUNTED
        self.fault()
        return self._depth

    def fault(self) -> Fault:
        """The first fault."""
        expected = "value"
        while self._depth < self._most and (match := self._next(expected)):
            if expected == "end":
                return self._fault("something follows the JSON text")
            following = self._follow(match.lastgroup or "", match[0].lstrip(), expected)
            if not following:
                return self._misplaced(match.lastgroup or "", expected)
            expected, self._at = following, match.end()
        return self._stopped(expected)

    def _next(self, expected: str) -> re.Match[bytes] | None:
        if expected == "value" and self._open[-1:] == b"[":
            run = _SIMPLE_OBJECTS.match(self._text, self._at)
            self._at = run.end() if run else self._at
        return _TOKEN.match(self._text, self._at)

    def _follow(self, kind: str, token: bytes, expected: str) -> str:
        """What must come after a token; "" when the token must not come."""
        closes = (b"{}" if token == b"}" else b"[]")[:1]
        if kind == "close":
            allowed = expected in ("comma", "first key", "first value")
            if not allowed or not self._open or self._open[-1:] != closes:
                return ""
            self._open.pop()
            return self._after_value
        if expected in ("key", "first key"):
            return "colon" if kind == "string" else ""
        if expected in ("colon", "comma"):
            if kind != expected:
                return ""
            return "value" if kind == "colon" or self._open[-1:] == b"[" else "key"
        if kind == "open":
            self._open += token
            self._depth = max(self._depth, len(self._open))
            return "first key" if token == b"{" else "first value"
        return self._after_value if kind in ("string", "value") else ""

    @property
    def _after_value(self) -> str:
        return "comma" if self._open else "end"

    def _misplaced(self, kind: str, expected: str) -> Fault:
        if kind == "close" and expected in ("value", "key") and self._open:
            return self._fault("a comma stands before the end of an array or object")
        if expected == "key":
            return self._fault("a key must be text in double quotes")
        wanted = {"first key": "a key", "colon": "a colon", "comma": "a comma or a closing bracket"}
        return self._fault(f"{wanted.get(expected, 'a value')} is missing")

    def _stopped(self, expected: str) -> Fault:
        """What stands where no token does."""
        space = re.compile(_GAP).match(self._text, self._at)
        self._at = space.end() if space else self._at
        rest = self._text[self._at : self._at + 20]
        if not rest:
            if expected == "end":
                return self._fault("it cannot be read")
            return Fault(f"it ends within {len(self._open)} open arrays and objects", cut_off=True)
        if expected == "end":
            return self._fault("something follows the JSON text")
        if _UNFINISHED.fullmatch(self._text, self._at):
            return Fault(f"it ends within the text or number at byte {self._at}", cut_off=True)
        known = next((what for start, what in _NOT_JSON.items() if rest.startswith(start)), "")
        if rest.startswith(b'"'):
            return self._in_string()
        if not known and rest[:1] in b"-+.0123456789":
            known = "a number is written as JSON does not allow"
        return self._fault(known or "something stands there that is no JSON")

    def _in_string(self) -> Fault:
        match = re.compile(_STRING).match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        found = self._text[self._at]
        if found == 0x5C:
            return self._fault("a backslash begins an escape that JSON does not have")
        return self._fault(f"the control character 0x{found:02x} stands within a text, not escaped")

    def _fault(self, what: str) -> Fault:
        return Fault(f"{what} (byte {self._at})")
