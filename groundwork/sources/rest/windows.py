"""Windows of time: which ones a run reads, and what is remembered of them.

Each age at which windows are read, 0 for the first time, has a mark: all windows before it have been read at
that age. A window that is due at several ages at once is read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from groundwork.catalog.increments import DAY, RestWindows
from groundwork.sources.rest.asking import Part
from groundwork.sources.rest.one_unit import SECOND
from groundwork.sources.rest.resume import State

_AT_ONCE = timedelta(0)
_MOST_DIGESTS = 1000
"""Kept in the cursors, 45 bytes each; an older window that did not change is committed again."""


@dataclass(frozen=True)
class DueWindows:
    """The windows of one run, oldest first; what is due does not change while a pull is gone on with."""

    windows: RestWindows
    state: Mapping[str, Any]
    now: datetime
    overlap: bool = False
    """Begin each window a second early, so that its edge is read where the API excludes it. What comes twice
    must fall to a key; dates do not overlap."""

    @classmethod
    def of(
        cls, windows: RestWindows, state: Mapping[str, Any], now: datetime, *, overlap: bool = False
    ) -> DueWindows:
        """Those that a state leaves to be read."""
        pull = state.get("pull")
        return cls(windows, state, datetime.fromisoformat(pull["now"]) if pull else now, overlap)

    def starts(self) -> list[datetime]:
        """Where each window begins; from the one on in which an earlier run was cut short."""
        found: set[datetime] = set()
        for age in self._ages:
            at, until = self._mark(age), self.now - age
            # For the first time even before it is over; at an age only what has that age.
            while at < until if age == _AT_ONCE else at + self.windows.step <= until:
                found.add(at)
                at += self.windows.step
        pull = self.state.get("pull")
        begin = datetime.fromisoformat(pull["part"]) if pull else self.windows.start
        return sorted(at for at in found if at >= begin)

    def part(self, start: datetime) -> Part:
        """What to ask for a window."""
        asked = self.windows
        end = start + asked.step
        if asked.by_date:
            today = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
            end = min(end, today + DAY) - (DAY if asked.to_included else _AT_ONCE)
        elif end > self.now:  # up to now; a unit more where the API compares more coarsely than seconds
            end = min(end, self.now if asked.unit <= SECOND else self.now + asked.unit)
        begin = start - max(SECOND, asked.unit) if self.overlap and not asked.by_date else start
        edges = {"from": self._written(begin), "to": self._written(end)}
        named = {"from": asked.from_parameter, "to": asked.to_parameter}
        return Part(
            f", window {start.isoformat()}",
            {named[edge]: value for edge, value in edges.items() if named[edge]},
            {edge: value for edge, value in edges.items() if not named[edge]},
            told={"window": list(edges.values())},
            key=start.isoformat(),
        )

    def read(self) -> State:
        """The marks once all is read."""
        return {
            "until": {
                str(int(age.total_seconds())): self._floor(self.now - age).isoformat() for age in self._ages
            }
        }

    @property
    def _youngest_done(self) -> datetime:
        """Before it, windows have all the ages there are: they are not read again."""
        return self._floor(self.now - max(self._ages))

    def kept(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Digests of the windows that will be read again, the newest of them if they are very many."""
        again = sorted(start for start in digests if datetime.fromisoformat(start) >= self._youngest_done)
        return {start: digests[start] for start in again[-_MOST_DIGESTS:]}

    @property
    def _ages(self) -> list[timedelta]:
        return [_AT_ONCE, *self.windows.reread]

    def _mark(self, age: timedelta) -> datetime:
        mark = self.state.get("until", {}).get(str(int(age.total_seconds())))
        if mark is not None:
            return self._floor(datetime.fromisoformat(mark))
        # What is read for the first time now has that age already.
        return self.windows.start if age == _AT_ONCE else self._floor(self.now - age)

    def _floor(self, at: datetime) -> datetime:
        start, step = self.windows.start, self.windows.step
        return start + max(0, (at - start) // step) * step

    def _written(self, at: datetime) -> str | int:
        if self.windows.format == "date":
            return at.date().isoformat()
        if self.windows.format not in ("seconds", "milliseconds"):
            pattern = "%Y-%m-%dT%H:%M:%SZ" if self.windows.format == "instant" else self.windows.format
            # strftime does not fill years before 1000, nor is it the same everywhere; no window is that old
            return at.astimezone(UTC).strftime(pattern)
        return int(at.timestamp()) * (1000 if self.windows.format == "milliseconds" else 1)
