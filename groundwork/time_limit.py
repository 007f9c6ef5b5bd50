"""How long this process may still work, where somebody sets an end to it: AWS Lambda, for one.

Work is cut where it can be gone on with: no batch is begun that would not be durable in time. The limit is a
context variable, because it belongs to where the code runs and not to what it does; without one nothing is
ever cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_SHARE, _LEAST, _MOST = 0.1, 2.0, 30.0
"""Kept for the last commit: a tenth of all the time, but so many seconds at least and at most."""


@dataclass
class TimeLimit:
    """An end that is set from outside."""

    seconds_left: Callable[[], float]
    reserve: float
    """Seconds that are kept for the last commit."""
    cut_short: bool = False
    """Whether something was left for the next time."""


_limit: ContextVar[TimeLimit | None] = ContextVar("time_limit", default=None)


@contextmanager
def limited(seconds_left: Callable[[], float]) -> Iterator[TimeLimit]:
    """Let everything within know that it must be done in time.

    Args:
        seconds_left: asked again and again; it counts down to the moment at which we are killed.
    """
    reserve = min(max(seconds_left() * _SHARE, _LEAST), _MOST)
    token = _limit.set(limit := TimeLimit(seconds_left, reserve))
    try:
        yield limit
    finally:
        _limit.reset(token)


def is_near(needed: float = 0.0) -> bool:
    """Whether the end is too near to begin something that takes so many seconds."""
    limit = _limit.get()
    return limit is not None and limit.seconds_left() < max(limit.reserve, needed)


def cut_short() -> None:
    """Note that something was left for the next time."""
    if (limit := _limit.get()) is not None:
        limit.cut_short = True
