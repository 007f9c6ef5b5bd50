"""What nobody may read, found by value: named secrets, and whatever an API gave us to be known by."""

from __future__ import annotations

from collections import deque
from urllib.parse import quote, quote_plus

import msgspec

PASSING = 64
"""Signatures that are remembered: each is good for one request only."""


class Secrets:
    """The values nobody may read, in every form they are sent in.

    Two threads use it (pages arrive in one, states are written in the other), so what is known is
    replaced, never changed.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._lasting: frozenset[str] = frozenset()
        self._passing: deque[frozenset[str]] = deque(maxlen=PASSING)
        self._forms: tuple[str, ...] = ()

    def add(self, value: str) -> str:
        """Remember a secret value for good, and return it."""
        if value:
            self._lasting |= _forms(value)
            self._forms = self._all()
        return value

    def add_passing(self, value: str) -> str:
        """Remember a value that is worthless after a while, e.g. the signature of one request."""
        if value:
            self._passing.append(_forms(value))
            self._forms = self._all()
        return value

    def within(self, text: str) -> bool:
        """Whether a text holds a secret."""
        return any(form in text for form in self._forms)

    def redact(self, text: str) -> str:
        """The text with ``***`` for each secret in it."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def safe_cause(self, error: BaseException | None) -> BaseException | None:
        """The error, if nothing that hangs on it tells a secret; else nothing."""
        link: BaseException | None = error
        while link is not None:
            if self.within(f"{link!s} {link!r}"):
                return None
            link = link.__cause__ or link.__context__
        return error

    def _all(self) -> tuple[str, ...]:
        """Longest first, so that no part of a secret is left beside the asterisks."""
        return tuple(sorted(self._lasting.union(*self._passing), key=len, reverse=True))


def _forms(value: str) -> frozenset[str]:
    within_json = msgspec.json.encode(value).decode()[1:-1]
    return frozenset({value, quote(value), quote(value, safe=""), quote_plus(value), within_json})
