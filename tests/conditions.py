"""Waiting for a condition, with a bound: no test sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], *, seconds: float = 60, what: str) -> T:
    """What the condition gives once it is true.

    Raises:
        TimeoutError: after so many seconds, in the words of ``what``.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {seconds:.0f} seconds")
        time.sleep(0.05)
    return found
