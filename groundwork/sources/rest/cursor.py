"""Where an incremental stream stands: the highest value seen, and the records at its edge.

Values are compared in the source's own precision: instants to their last digit and in their own zone,
numbers as decimals, anything else as text. What is asked for next is written in the form the source wrote.
A pull asks from one unit before that value, because an API may exclude the value it is asked from. This
brings records that are committed already; their digests tell them from new ones, so nothing at an equal
instant is missed and nothing is committed twice.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Raw

from groundwork.catalog.increments import RestCursor
from groundwork.errors import AnswerUnusable, CatalogError
from groundwork.sources.rest.one_unit import INSTANT, NUMBER, less, one_unit_before, shifted

EDGE_LIMIT = 10_000
"""Digests kept in the cursors (16 characters each). Beyond it the oldest records of the edge are
committed again, which changes nothing in staging where the stream has a key."""
KEYLESS_EDGE_LIMIT = 100_000
"""The same for a stream without a key, whose rows would be there twice: beyond it the pull fails."""

_UNIFORM = re.compile(r"0000-00-00T00:00:00(?:\.(0{1,12}))?Z?")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_EXPONENT = re.compile(r"[eE][+-]?([0-9]{1,300})$")
LONGEST_NUMBER = 300
"""Digits, or exponent, of the largest number that a cursor goes by."""
_FRACTION = 12
"""Digits that fractions are compared to at least; longer ones are compared whole."""

Key = Any
"""What values are compared by: text that sorts as time does, a number, or other text; None is none."""


def keys(texts: Sequence[str | None], where: str) -> list[Key]:
    """What each value is compared by; None stays None.

    Raises:
        AnswerUnusable: when instants, numbers and other text stand in one column.
    """
    suspects = (text for text in texts if text and (len(text) > LONGEST_NUMBER or "e" in text or "E" in text))
    if longest := max((len(text) for text in suspects if _is_huge(text)), default=0):
        raise AnswerUnusable(
            where,
            f"the cursor field holds a number of {longest} characters, or of such an exponent",
            why=f"numbers of up to {LONGEST_NUMBER} digits are put in order",
            fix="choose another cursor.field, or tell the API's owner",
        )
    form = _common_form(texts)
    if form and (match := _UNIFORM.fullmatch(form)):
        # All of one form: their text is their order. The whole page costs one slice per record.
        width = len(match[1] or "")
        end, tail = (20 + width, "0" * (_FRACTION - width)) if width else (19, "." + "0" * _FRACTION)
        return [text[:end] + tail for text in texts if text]
    if form and not form.strip("0"):
        return [int(text) for text in texts if text]
    found = [None if text is None else key(text) for text in texts]
    if len({_kind(one) for one in found if one is not None}) > 1:
        raise AnswerUnusable(
            where, "the cursor field mixes instants, numbers and other text",
            fix="choose another cursor.field, or read the stream as full_table",
        )  # fmt: skip
    return found


def _is_huge(text: str) -> bool:
    """Whether a text is a number that nobody can reckon with: ``1e999999``, or thousands of digits."""
    if len(text) > LONGEST_NUMBER:
        return NUMBER.fullmatch(text) is not None
    exponent = _EXPONENT.search(text)
    return exponent is not None and NUMBER.fullmatch(text) is not None and int(exponent[1]) > LONGEST_NUMBER


def _common_form(texts: Sequence[str | None]) -> str | None:
    """The values with 0 for each digit, if that makes them all the same; found without a look at each."""
    if None in texts:
        return None
    joined = "\n".join(texts)  # type: ignore[arg-type]
    forms = joined.encode().translate(_DIGITS).split(b"\n")
    one_form = len(forms) == len(texts) and len(set(forms)) == 1
    return forms[0].decode() if one_form else None


def key(text: str) -> Key:
    """What one value is compared by."""
    match = INSTANT.fullmatch(text)
    if match:
        day, _, clock, fraction, zone = match.groups()
        local = f"{day}T{clock or '00:00'}"
        local += ":00" if len(local) == 16 else ""
        if zone and zone[0] in "+-":
            local = _as_utc(local, zone)
        return f"{local}.{(fraction or '').ljust(_FRACTION, '0')}"
    if NUMBER.fullmatch(text):
        return Decimal(text)
    return "\x7f" + text  # sorts after, and never looks like an instant


def instants(texts: Sequence[str | None], found: Sequence[Key]) -> list[str | None]:
    """The values that are instants with a zone as ``YYYY-MM-DDTHH:MM:SS.ffffff`` in UTC; else None."""
    form = _common_form(texts)
    if form and _UNIFORM.fullmatch(form):
        return [one[:26] for one in found] if form.endswith("Z") else [None] * len(found)
    return [
        one[:26] if text and (match := INSTANT.fullmatch(text)) and match[5] and match[3] else None
        for text, one in zip(texts, found, strict=True)
    ]


def earlier(text: str, lookback: timedelta | None, epoch: str, where: str) -> str | None:
    """A value some time before, in the same form, precision and zone; None when that is no day of a calendar.

    Raises:
        CatalogError: when the value is no instant and no declared unit makes it one.
    """
    if not lookback:
        return text
    if INSTANT.fullmatch(text):
        return shifted(text, lookback)
    if NUMBER.fullmatch(text) and epoch:
        return less(text, int(lookback.total_seconds()) * (1000 if epoch == "milliseconds" else 1))
    raise CatalogError(
        f"{where}: cursor.lookback", "needs a cursor that is an instant",
        fix="set cursor.epoch to seconds or milliseconds if the number counts from 1970, or take "
        "the lookback out",
    )  # fmt: skip


def _as_utc(local: str, zone: str) -> str:
    minutes = int(zone[1:3]) * 60 + int(zone[3:].lstrip(":") or 0)
    shift = timedelta(minutes=-minutes if zone[0] == "-" else minutes)
    try:
        return (datetime.fromisoformat(local) - shift).isoformat()
    except (ValueError, OverflowError):
        return local  # no day of any calendar (MySQL's 0000-00-00): sorts where it is written


def _key_like(text: str | None, other: str) -> Key:
    """What a value is compared by among values of the same kind as another; None stays None."""
    if text is None:
        return None
    return "\x7f" + text if _kind(key(other)) == "text" else key(text)


def _kind(one: Key) -> str:
    if isinstance(one, Decimal | int):
        return "number"
    return "text" if one.startswith("\x7f") else "instant"


def _digest(record: Raw) -> str:
    return base64.b64encode(hashlib.blake2b(record, digest_size=12).digest()).decode()


class Edge:
    """What a pull has seen at its upper end, and what was committed there before it."""

    def __init__(
        self, cursor: RestCursor, where: str, state: Mapping[str, Any], *, keyed: bool = True
    ) -> None:
        """Go on from ``{"highest": text, "edge": [digest]}``; empty for a first pull.

        In the middle of a pull, ``began`` holds the same two as they were when it began.

        Args:
            cursor: of the stream.
            where: source and stream, for messages.
            state: what the last pull left.
            keyed: whether a record that is committed twice is one row in staging.
        """
        self._cursor, self._where, self._keyed = cursor, where, keyed
        began = state.get("began", state)
        self._began_at: str | None = began.get("highest")
        self._before = Counter[str](began.get("edge", []))
        self.highest: str | None = state.get("highest")
        self._edge: list[tuple[Key, str]] = []
        if "began" in state and self.highest is not None:
            self._edge = [(key(self.highest), digest) for digest in state["edge"]]
        self.since = cursor.start or None
        """Value to ask from, as text; None asks for everything."""
        self._first, self._last = None, None
        if self._began_at is not None:
            asked = self._earlier(self._began_at)
            self.since = asked if asked is not None else self.since
            self._first, self._last = _key_like(asked, self._began_at), key(self._began_at)
        self._roomy = 1000
        self.older = 0
        """Records older than what was asked for: the API may not know the parameter."""

    def state(self, *, finished: bool) -> dict[str, Any]:
        """What to go on from: the next pull, or this one if it is not finished."""
        if self.highest is not None:
            self._prune()
        edge = [digest for _, digest in self._edge]
        if not finished:
            return {"highest": self.highest, "edge": sorted(edge), "began": self.start()}
        if self.highest == self._began_at and not self._keyed:
            # What did not come again is committed all the same. Where records have a key it is forgotten:
            # a record that changes and changes back in the same second is a change each time.
            edge = (edge + list(self._before.elements()))[:KEYLESS_EDGE_LIMIT]
        return {"highest": self.highest, "edge": sorted(edge)}

    def start(self) -> dict[str, Any]:
        """What this pull went on from, less what came again and so stands in the new edge."""
        return {"highest": self._began_at, "edge": sorted(self._before.elements())}

    def new(self, records: Sequence[Raw], texts: list[str | None], found: list[Key]) -> list[int] | None:
        """Note a page; which of its records are new. None means all of them.

        Raises:
            AnswerUnusable: when no record has the cursor field, or its kind of value changed.
        """
        known = [one for one in found if one is not None]
        if not known:
            raise AnswerUnusable(
                self._where, f"no record has a value at '{self._cursor.field}'",
                fix="check cursor.field against a record of the API",
            )  # fmt: skip
        if self.highest is not None:
            self._check_kind(key(self.highest), known[0])
        repeated = self._repeated(records, found, known)
        self._advance(known, texts, found)
        if self.highest is not None:
            self._note(records, found)
        if not repeated:
            return None
        return [place for place in range(len(records)) if place not in repeated]

    def _earlier(self, text: str) -> str | None:
        """What to ask from; None for everything."""
        if self._cursor.exact or self._cursor.lookback:
            return earlier(text, self._cursor.lookback, self._cursor.epoch, self._where)
        return one_unit_before(text, self._cursor.epoch)

    def _check_kind(self, one: Key, other: Key) -> None:
        if _kind(one) == _kind(other):
            return
        raise AnswerUnusable(
            self._where, f"'{self._cursor.field}' was {_kind(one)} and is {_kind(other)} now",
            why="values of two kinds have no order",
            fix="check cursor.field; reset the stream's cursor to read it again from the start",
        )  # fmt: skip

    def _repeated(self, records: Sequence[Raw], found: list[Key], known: list[Key]) -> set[int]:
        repeated: set[int] = set()
        if self._first is not None and min(known) < self._first:
            self.older += sum(1 for one in known if one < self._first)
        if not self._before:
            return repeated
        limit = self._latest_believable(known[0])
        for place, one in enumerate(found):
            if one is None or one <= self._last or (limit is not None and one > limit):
                digest = _digest(records[place])
                if self._before[digest] > 0:
                    self._before[digest] -= 1
                    repeated.add(place)
        self._before = +self._before
        return repeated

    def _advance(self, known: list[Key], texts: list[str | None], found: list[Key]) -> None:
        top, limit = max(known), self._latest_believable(known[0])
        if limit is not None and top > limit:
            top = max((one for one in known if one <= limit), default=None)
        if top is not None and (self.highest is None or top > key(self.highest)):
            self.highest = texts[found.index(top)]

    def _latest_believable(self, sample: Key) -> Key:
        """A clock that runs ahead by more than a day must not make us skip what comes before it."""
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        if _kind(sample) == "instant":
            return key(tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if _kind(sample) == "number" and self._cursor.epoch:
            return int(tomorrow.timestamp()) * (1000 if self._cursor.epoch == "milliseconds" else 1)
        return None

    def _floor(self) -> Key:
        """The lowest value that comes again; None when all do."""
        assert self.highest is not None
        return _key_like(self._earlier(self.highest), self.highest)

    def _note(self, records: Sequence[Raw], found: list[Key]) -> None:
        """Keep the digests of what will come again when we ask from `highest` less the lookback."""
        floor = self._floor()
        self._edge += [
            (one, _digest(records[place]))
            for place, one in enumerate(found)
            if one is None or floor is None or one >= floor
        ]
        if len(self._edge) > self._roomy:
            self._prune()
            self._roomy = 2 * len(self._edge) + 1000

    def _prune(self) -> None:
        floor = self._floor()
        kept = [pair for pair in self._edge if pair[0] is None or floor is None or pair[0] >= floor]
        if not self._keyed and len(kept) > KEYLESS_EDGE_LIMIT:
            raise AnswerUnusable(
                self._where, f"more than {KEYLESS_EDGE_LIMIT} records will come again in the next pull",
                why="their cursor values are the last ones, and without a key nobody can tell which are new",
                fix="set 'primary_key', a cursor.field of finer values, or a shorter lookback",
            )  # fmt: skip
        if self._keyed and len(kept) > EDGE_LIMIT:
            # records without a value come again in each pull, whatever it asks from
            kept.sort(key=lambda pair: (pair[0] is None, 0 if pair[0] is None else pair[0]))
            kept = kept[-EDGE_LIMIT:]
        self._edge = kept
