"""One budget of requests and of patience for all that is asked of a source.

No library does both halves: a limiter that also holds *everyone* back when the server says so, and counts
the waiting. aiolimiter paces only, tenacity waits for each call alone.
"""

from __future__ import annotations

import asyncio
import logging
import random

from groundwork.errors import SourceUnreachable

log = logging.getLogger(__name__)

FIRST_BACK_OFF = 0.5
LONGEST_BACK_OFF = 60.0


class Pace:
    """When the next request may go out."""

    def __init__(self, source: str, requests_per_second: float, max_wait_seconds: float) -> None:
        """Start with the whole budget; all times are seconds."""
        self._source = source
        self._interval = 1 / requests_per_second
        self._budget = max_wait_seconds
        self._next = 0.0
        self._held_until = 0.0
        self.waited = 0.0
        """Seconds that failures and rate limits have cost so far."""

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        clock = asyncio.get_running_loop().time
        slot = max(self._next, self._held_until, clock())
        self._next = slot + self._interval
        while (left := max(slot, self._held_until) - clock()) > 0:
            await asyncio.sleep(left)

    def hold(self, seconds: float, where: str, why: str) -> None:
        """Let nobody send for a while.

        Args:
            seconds: how long, from now.
            where: the request it is about.
            why: what the server said, e.g. ``status 429``.

        Raises:
            SourceUnreachable: when that is longer than what is left to wait in this run.
        """
        now = asyncio.get_running_loop().time()
        longer = now + seconds - max(self._held_until, now)
        if longer <= 0:
            return
        if self.waited + longer > self._budget:
            raise SourceUnreachable(
                where,
                f"waiting another {seconds:.0f} s ({why}) is more than this run may",
                why=f"{self.waited:.0f} s of max_wait_seconds={self._budget:.0f} are spent",
                fix="what was committed stays and the next run goes on from there; raise "
                "connection.max_wait_seconds, or lower requests_per_second",
            )
        self.waited += longer
        self._held_until = now + seconds
        log.info("waiting source=%s seconds=%.1f why=%s", self._source, seconds, why)


def back_off(attempt: int) -> float:
    """Seconds to wait after the n-th failure in a row (from 1): exponential, with jitter."""
    longest = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** min(attempt - 1, 16))
    return random.uniform(longest / 2, longest)
