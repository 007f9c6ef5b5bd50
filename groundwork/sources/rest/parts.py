"""One pull of a stream that is asked for in parts: windows of time, or the children of one parent each.

Every part is walked like a stream of its own, and between two parts as well as between two pages is a place
to go on from. What is committed is never asked for again, but for the page that a run was killed at.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from groundwork import time_limit
from groundwork.catalog import RestStream
from groundwork.errors import SourceError
from groundwork.sources import Rows
from groundwork.sources.rest.asking import Part
from groundwork.sources.rest.astray import NotWhole, PagesAstray
from groundwork.sources.rest.frames import OpenFrame
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager, fingerprint
from groundwork.sources.rest.parents import parts_of, waiting
from groundwork.sources.rest.pull import Meter, Moved, Sizes, deleted_reader, paging_events
from groundwork.sources.rest.refusals import Refused
from groundwork.sources.rest.resume import (
    READINGS,
    PositionLost,
    State,
    Walk,
    digest_of,
    going_on,
    place,
    read_again,
    settle,
)
from groundwork.sources.rest.windows import DueWindows

log = logging.getLogger(__name__)

StateAt = Callable[[int, State], State]
"""The state to commit when the parts before an index are read, and of that one what a place says."""


def asked_of(stream: RestStream) -> str:
    """What a place depends on: it is worthless when the stream's entry has changed."""
    return digest_of(msgspec.json.encode(fingerprint(stream), order="deterministic"))


class PartedPull:
    """Reads one part after the other."""

    def __init__(
        self, name: str, stream: RestStream, pager: Callable[[Part], Pager], walk: Walk, sizes: Sizes,
        may_write: Callable[[str], bool],
    ) -> None:  # fmt: skip
        """Prepare; see `IncrementalPull`."""
        self._name, self._stream, self._pager, self._walk = name, stream, pager, walk
        self._sizes, self._may_write = sizes, may_write
        self._events: list[dict[str, Any]] = []
        self._frame, self._meter = OpenFrame(None, deleted_reader(stream)), Meter(sizes)
        self._pages = self._records = self._gone = 0
        self.digests: dict[str, str] = {}
        """What parts said when they were last read, by their key."""
        self._said = hashlib.blake2b(digest_size=12)
        self._handed_on = False

    def tell(self, event: str, why: str) -> None:
        """Note something that the next commit tells."""
        log.warning("%s stream=%s why=%r", event, self._name, why)
        self._events.append({"event": event, "stream": self._name, "why": why})

    def read(
        self, parts: Sequence[Part], start: Mapping[str, Any], state: StateAt, must: bool
    ) -> Iterator[Rows | Moved]:
        """Yield rows, and the states to commit with them; the last one ends the pull.

        Args:
            parts: what is left to read.
            start: place in the first of them, empty for its beginning.
            state: what to commit.
            must: its end must be committed, even if nothing came.
        """
        begun = time.monotonic()
        for index, part in enumerate(parts):
            done: Page | None = None
            if part.key in self.digests and self._frame.rows:  # what it says stands by itself
                yield self._meter.rows(self._name, self._frame)
            self._said, self._handed_on = hashlib.blake2b(digest_size=12), index == 0 and bool(start)
            try:
                for page in self._walked(part, start if index == 0 else {}):
                    self._add(page)
                    done = page
                    if self._meter.frame_is_full(self._frame):
                        self._handed_on = True
                        yield self._meter.rows(self._name, self._frame)
                    if self._meter.batch_is_full(self._frame) and self._resumable(page):
                        yield from self._commit(state(index, place(page)))
            except SourceError as error:
                if self._skipped(error):
                    continue
                if index or done:  # what leads nowhere is not gone on with: that part is read again
                    resumed = done and self._resumable(done) and not isinstance(error, PagesAstray)
                    yield from self._commit(state(index, place(done) if done and resumed else {}))
                raise
            self._note(part)
            self._events += paging_events(self._name, done)
            if self._meter.batch_is_full(self._frame):
                yield from self._commit(state(index + 1, {}))
        self._tell_gone(len(parts))
        log.info(
            "pulled stream=%s parts=%d pages=%d records=%d seconds=%.1f",
            self._name, len(parts), self._pages, self._records, time.monotonic() - begun,
        )  # fmt: skip
        yield from self._commit(state(len(parts), {}), must=must)

    def _walked(self, part: Part, start: Mapping[str, Any]) -> Iterator[Page]:
        """The pages of a part, read again until they are whole; what comes twice falls to the key."""
        for left in reversed(range(READINGS)):
            try:
                for page in going_on(self._name, self._walk, self._pager(part), start):
                    if page.doubt:
                        settle(self._name, f"stream '{self._name}'", page.doubt, left, self._events)
                    yield page
                return
            except PositionLost as lost:
                self.tell("pull started over", str(lost))
            except NotWhole as loss:
                if not (left and self._stream.primary_key) or time_limit.is_near():
                    raise
                read_again(self._name, loss, self._events)
            start, self._said = {}, hashlib.blake2b(digest_size=12)

    def _add(self, page: Page) -> None:
        self._pages, self._records = self._pages + 1, self._records + len(page.cut.records)
        if page.cut.records:
            self._frame.add(page.cut, page.request, None, [])
            self._said.update(page.cut.data)

    def _note(self, part: Part) -> None:
        """Keep what a part said; when that is what it said before, its rows are not needed again."""
        if not part.key:
            return
        if self._handed_on:  # not seen from its beginning
            self.digests.pop(part.key, None)
            return
        said = base64.b64encode(self._said.digest()).decode()
        if said == self.digests.get(part.key):
            self._frame.clear()
        self.digests[part.key] = said

    def _resumable(self, page: Page) -> bool:
        following = msgspec.json.encode(page.following).decode()
        return page.following is not None and self._may_write(following)

    def _commit(self, state: State, *, must: bool = True) -> Iterator[Rows | Moved]:
        self._handed_on = True
        if self._frame.rows:
            yield self._meter.rows(self._name, self._frame)
        events, self._events, self._meter = self._events, [], Meter(self._sizes)
        yield Moved(state, events, must)

    def _skipped(self, error: SourceError) -> bool:
        gone = _is_gone(self._stream, error)
        self._gone += gone
        return gone

    def _tell_gone(self, parts: int) -> None:
        if self._gone:
            self._events.append(
                {"event": "parents gone", "stream": self._name, "parents": self._gone, "of": parts}
            )


def _is_gone(stream: RestStream, error: SourceError) -> bool:
    """Whether an error says that a parent is gone, where that may be."""
    may_be = stream.parent is not None and stream.parent.may_be_gone
    return may_be and isinstance(error, Refused) and error.status in (404, 410)


def all_pages(
    name: str, stream: RestStream, pagers: Iterable[Pager], walk: Walk
) -> Generator[Page, None, None]:
    """The pages of one part after the other, as one."""
    for pager in pagers:
        try:
            yield from walk(pager, {})
        except SourceError as error:
            if not _is_gone(stream, error):
                raise
            log.warning("parent is gone stream=%s%s", name, pager.part.where)


def read_windows(
    pull: PartedPull, stream: RestStream, state: Mapping[str, Any], now: datetime
) -> Iterator[Rows | Moved]:
    """Read the windows that are due now."""
    assert stream.windows is not None
    asked, place_before = asked_of(stream), state.get("pull")
    if place_before and place_before["asked"] != asked:
        pull.tell("pull started over", "the stream's entry in the catalog has changed")
        state, place_before = {"until": state.get("until", {})}, None  # digests of another question
    at_now = now.replace(microsecond=0)
    due = DueWindows.of(stream.windows, state, at_now, overlap=bool(stream.primary_key))
    starts, before = due.starts(), state.get("until", {})
    if state.get("asked") == asked:
        pull.digests = dict(state.get("digests", {}))

    def at(index: int, within: State) -> State:
        known = {"asked": asked, "digests": due.kept(pull.digests)}
        if index == len(starts):
            return {**due.read(), **known}
        told = {"asked": asked, "now": due.now.isoformat(), "part": starts[index].isoformat()}
        return {"until": before, **known, "pull": {**told, **within}}

    begin = place_before if place_before and "position" in place_before else {}
    must = bool(place_before) or due.read()["until"] != before
    return pull.read([due.part(start) for start in starts], begin, at, must=must)


def read_children(
    pull: PartedPull, stream: RestStream, state: Mapping[str, Any], where: str
) -> Iterator[Rows | Moved]:
    """Read the children of all parents that wait."""
    asked, fields = asked_of(stream), stream.placeholders
    parents, place_before = waiting(state, fields, where), state.get("pull") or {}
    if place_before and place_before["asked"] != asked:
        pull.tell("pull started over", "the stream's entry in the catalog has changed")
        place_before = {}

    def at(index: int, within: State) -> State:
        if index == len(parents):
            return {}
        midway = {"pull": {"asked": asked, **within}} if within else {}
        return {"by": fields, "waiting": parents[index:], **midway}

    return pull.read(parts_of(stream, parents), place_before, at, must=bool(parents))
