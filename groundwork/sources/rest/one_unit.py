"""The value one unit before a cursor value, so that a pull asks for the edge of the last one again.

An API may include the value it is asked from (``since``) or exclude it (``modified_after``), and nobody can
tell from outside. An API that excludes it never gives what changed in the same second as the last record
that was read. Asked from one unit before, both kinds give the edge again.

The unit is what values can be told apart by, and coarse enough for an API that compares whole seconds: a
day for dates, a second for instants, one for numbers, the character before for other text.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:([Tt ])(\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?)?"
    r"\s*([Zz]|UTC|GMT|[+-]\d\d:?\d\d|(?(3)[+-]\d\d|(?!)))?"
)
"""A date, or an instant to minutes or finer; a zone of hours only (PostgreSQL's ``+00``) needs a clock."""
_COMPACT = re.compile(r"((?:19|20)\d{6})(?:(T?)(\d{4}(?:\d\d)?)((?:[.,]\d+)?(?:Z|[+-]\d{4})?))?")
"""A date or an instant without separators. A plain number may look like one: what is asked then lies further
back than one unit, which loses nothing."""
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")

SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_AMBIGUOUS = "ILOUilou"
"""Letters that the usual alphabets of sortable ids leave out."""


def one_unit_before(text: str, epoch: str) -> str | None:
    """The value one unit before, in the form and zone of the value; None where there is none.

    Args:
        text: a cursor value.
        epoch: the unit of numbers that count from 1970: ``seconds``, ``milliseconds``, or "" for other ones.
    """
    if match := INSTANT.fullmatch(text):
        return shifted(text, SECOND if match[3] else _DAY)
    if not epoch and (compact := _compact_before(text)):
        return compact
    if NUMBER.fullmatch(text):
        before = less(text, 1000 if epoch == "milliseconds" else 1)
        return None if before.startswith("-") and not text.startswith("-") else before
    return _text_before(text)


def shifted(text: str, back: timedelta) -> str | None:
    """An instant or date some time before, in the same form; None when that is no day of the calendar."""
    match = INSTANT.fullmatch(text)
    assert match is not None
    day, _, clock, _, _ = match.groups()
    try:
        if clock is None:
            return (datetime.fromisoformat(day) - back).date().isoformat() + text[10:]
        moved = datetime.fromisoformat(f"{day}T{clock}") - timedelta(seconds=int(back.total_seconds()))
    except (ValueError, OverflowError):
        return None
    shown = moved.time().isoformat()[: len(clock)]  # to minutes, where the value is
    return f"{moved.date().isoformat()}{text[10]}{shown}{text[11 + len(clock) :]}"


def _compact_before(text: str) -> str | None:
    """The day or second before a date or instant without separators; None where it is none."""
    match = _COMPACT.fullmatch(text)
    if match is None:
        return None
    day, between, clock, tail = match.groups()
    clock = clock or ""
    form = "%Y%m%d" + {0: "", 4: "%H%M", 6: "%H%M%S"}[len(clock)]
    try:
        moved = datetime.strptime(day + clock, form) - (SECOND if clock else _DAY)
    except ValueError:
        return None
    shown = moved.strftime(form)
    return shown[:8] + (between or "") + shown[8:] + (tail or "")


def less(text: str, units: int) -> str:
    """A number less some units, to its last digit."""
    with localcontext(prec=len(text) + 5, Emax=MAX_EMAX, Emin=MIN_EMIN):
        found = Decimal(text) - units
    return str(found) if "e" in text.lower() else f"{found:f}"


def _text_before(text: str) -> str | None:
    """A text of the same length that sorts before this one by code points, and in dictionaries too.

    The last letter or digit becomes the one before it; what has none before it takes one from its left, as
    ``10`` becomes ``09``. No other letter or digit can follow ``9`` there but what is less than the text.
    """
    letters = list(text)
    for place in range(len(letters) - 1, -1, -1):
        before = _letter_before(letters[place])
        if before:
            letters[place] = before
            rest = ["9" if one.isascii() and one.isalnum() else one for one in letters[place + 1 :]]
            return "".join([*letters[: place + 1], *rest])
    return text[:-1] or None


def _letter_before(letter: str) -> str:
    """The letter or digit before one; "" where there is none, or it is neither."""
    if not (letter.isascii() and letter.isalnum()) or letter == "0":
        return ""
    if letter in "Aa":
        return "9"  # digits sort before letters in every order
    before = chr(ord(letter) - 1)
    return _letter_before(before) if before in _AMBIGUOUS else before
