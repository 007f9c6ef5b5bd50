"""Pages found by counting, while records vanish: how far a pull has come, and where it goes back.

When a record on a page that was read is gone, those after it move one place to the front, so the first one
of the next page is on none. The total says how many are gone: the pull goes back by so many records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundwork.sources.rest.astray import NotWhole
from groundwork.sources.rest.paging import Guard, Pager, Position
from groundwork.sources.rest.records import CutPage
from groundwork.sources.rest.totals import Tally


class Progress:
    """How far one reading has come."""

    def __init__(self, pager: Pager, tally: Tally, guard: Guard, where: str, pull: Mapping[str, Any]) -> None:
        """Begin at a place, see `groundwork.sources.rest.resume.place`."""
        self._pager, self._tally, self._guard, self._where = pager, tally, guard, where
        self._reached: int = pull.get("reached", pull.get("received", 0))
        self._read_until = -1
        """Page number or offset up to which pages are read for the second time."""
        self._margin = 0
        """How many more records may vanish meanwhile: it goes back by at least a page."""

    @property
    def state(self) -> dict[str, Any]:
        """What a later run goes on with."""
        state = self._tally.state
        return {**state, "reached": self._reached} if state and self._pager.counted else state

    def reached(self, page: CutPage) -> int:
        """How many records lie before the end of a page, by its position."""
        self._reached += len(page.records)
        return self._reached

    def following(self, at: Position, page: CutPage, following: Position | None) -> Position | None:
        """Note a page; what follows it, which is a page before it where records vanished.

        Raises:
            NotWhole: when records vanished, and no key tells those that come twice.
        """
        place = next(iter(at.values()), 0) if self._pager.counted else 0
        again = self._pager.counted and place <= self._read_until
        before = self._tally.last_total
        vanished = self._tally.add(page, read_again=again)
        if not vanished or not self._pager.counted or at == self._pager.first:
            return following
        if not self._tally.keyed:
            raise NotWhole(
                self._where,
                f"{vanished} records vanished while we read: {before} were {page.total} later",
                why="the pages after them moved, so others may have been left out",
                fix="set primary_key, and pages are read again; a cursor or 'last_field' does not move",
            )
        if again:  # going back each time might never end
            self._margin -= vanished
            if self._margin < 0:
                self._tally.moved()
            return following
        size = self._guard.largest
        back = self._pager.before(at, max(vanished, size), size)
        gone_back = place - next(iter(back.values()))
        gone_back *= 1 if "offset" in back else size
        self._reached = max(0, self._reached - len(page.records) - gone_back)
        self._read_until, self._margin = place, gone_back - vanished
        self._guard.forget()
        return back
