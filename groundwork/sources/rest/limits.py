"""The headers by which a server says that a rate limit is reached, and how long to wait.

Read are ``Retry-After`` (RFC 9110 §10.2.3), ``RateLimit`` and ``RateLimit-Reset`` (IETF draft
httpapi-ratelimit-headers, old and new form), the common ``X-RateLimit-…`` in their spellings, and one header
that the catalog names. A number may be seconds from now, or a time since 1970 in seconds or milliseconds;
these lie so far apart that the size of the number tells which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from groundwork.catalog.rest import RestRateLimit

_WAITS = {"Retry-After": 1.0, "Retry-After-Ms": 0.001, "X-Ms-Retry-After-Ms": 0.001}
"""Headers that say how long to wait whatever the status is, and their unit in seconds."""
_RESETS = {
    "RateLimit-Reset": 1.0,
    "X-RateLimit-Reset-After": 1.0,
    "X-RateLimit-Reset": 1.0,
    "X-Rate-Limit-Reset": 1.0,
    "X-RateLimit-Reset-Ms": 0.001,
}
"""Headers that say when the limit is over; they count only in an answer that is a limit."""
_REMAINING = ("X-RateLimit-Remaining", "X-Rate-Limit-Remaining", "RateLimit-Remaining")

_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e11
"""The smallest numbers that are a time since 1970: the years 2001 and 1973. As waits they are 30 and 3,000
years."""


@dataclass(frozen=True)
class Limit:
    """What the headers of one answer say of a rate limit."""

    retry_after: float | None = None
    """Seconds to wait, as ``Retry-After`` says."""
    reset: float | None = None
    """Seconds until the limit is over, as any other header says."""
    spent: bool = False
    """Nothing remains of the limit."""

    @property
    def wait(self) -> float | None:
        """Seconds to wait; ``Retry-After`` takes precedence (IETF draft §5)."""
        return self.reset if self.retry_after is None else self.retry_after


def limit_of(headers: Mapping[str, str], now: datetime, declared: RestRateLimit | None = None) -> Limit:
    """What an answer's headers say of a rate limit.

    A date and a time since 1970 are read against the server's own ``Date``, so that a clock that is off does
    no harm.

    Args:
        headers: of the answer; the case of their names does not count.
        now: the time here.
        declared: what the catalog says of this API's headers.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    at = _date(said.get("date", "")) or now
    resets = dict(_RESETS)
    remaining = list(_REMAINING)
    if declared:
        resets = {declared.reset: 0.001 if declared.unit == "milliseconds" else 1.0} | resets
        remaining += [declared.remaining] if declared.remaining else []
    left, reset = _structured(said.get("ratelimit", ""))
    left += [said[name.lower()] for name in remaining if name.lower() in said]
    found = next(_seconds(said, resets, at), None)
    return Limit(
        retry_after=next(_seconds(said, _WAITS, at), None),
        reset=reset if found is None else found,
        spent=any(_NUMBER.fullmatch(text) and float(text) == 0 for text in left),
    )


def _seconds(said: Mapping[str, str], names: Mapping[str, float], at: datetime) -> Iterator[float]:
    for name, unit in names.items():
        if text := said.get(name.lower()):
            found = _wait(text, unit, at)
            if found is not None:
                yield max(0.0, found)


def _wait(text: str, unit: float, at: datetime) -> float | None:
    """Seconds from now that a value means; None when it means none."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_SECONDS:
            return number / (1000 if number >= _EPOCH_MILLISECONDS else 1) - at.timestamp()
        return number * unit
    if (span := _SPAN.fullmatch(text)) and text:
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in span.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    until = _instant(text) or _date(text)
    return None if until is None else (until - at).total_seconds()


def _structured(text: str) -> tuple[list[str], float | None]:
    """What remains, and the longest wait, of a ``RateLimit`` field.

    The new form is a list such as ``"burst";r=0;t=30, "day";r=10``; the old one ``limit=9, remaining=0,
    reset=30``.
    """
    left: list[str] = []
    resets: list[float] = []
    for item in text.split(","):
        pairs = dict(re.findall(r"(?:^|[;\s])(r|t|remaining|reset)\s*=\s*(\d+)", item))
        mine = [pairs[name] for name in ("r", "remaining") if name in pairs]
        left += mine
        # a limit of which something remains does not hold us
        if mine != [] and mine[0] != "0":
            continue
        resets += [float(pairs[name]) for name in ("t", "reset") if name in pairs]
    return left, max(resets, default=None)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
