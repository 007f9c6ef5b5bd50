"""One pull of one stream: pages into rows, and into cursors that a later run can go on from.

An incremental pull commits as it goes: each checkpoint holds the position of the next page. A killed pull
costs what was read since the last one, see `Sizes`. The highest cursor value counts only once the pull has
come to its end, because pages need not be in its order; until then ``began`` keeps where it started from.
The pull of a whole table is in `groundwork.sources.rest.whole`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from groundwork import time_limit
from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable, SourceError
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.astray import NotWhole, PagesAstray
from groundwork.sources.rest.capped import CappedWalk
from groundwork.sources.rest.cursor import Edge, instants, keys
from groundwork.sources.rest.frames import OpenFrame, truncate_row
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager, fingerprint
from groundwork.sources.rest.records import FieldReader
from groundwork.sources.rest.resume import (
    READINGS,
    PositionLost,
    State,
    Walk,
    began,
    digest_of,
    going_on,
    place,
    read_again,
    settle,
)

log = logging.getLogger(__name__)

_UNFINISHED = "unfinished"
"""Marks the state of a stream without a key whose pull leads nowhere, though a part of it is committed."""


@dataclass(frozen=True)
class Sizes:
    """When rows are handed on, and when they are committed."""

    frame_bytes: int = 16 << 20
    batch_rows: int = 50_000
    batch_bytes: int = 64 << 20
    batch_seconds: float = 60.0
    """A slow API commits this often, so that a killed pull costs no more than that."""


@dataclass(frozen=True)
class Moved:
    """The stream's state after all rows so far: a place to commit."""

    state: State
    events: list[dict[str, Any]]
    must: bool = False
    """Commit it even if no rows came."""
    whole: bool = True
    """False for a place to go on from in a batch that is not whole yet."""


class Meter:
    """Measures what has been handed on since the last commit."""

    def __init__(self, sizes: Sizes) -> None:
        """Start at zero."""
        self._sizes, self._rows, self._bytes = sizes, 0, 0
        self._since = time.monotonic()

    def frame_is_full(self, frame: OpenFrame) -> bool:
        """Whether the open frame should be handed on."""
        return frame.bytes >= self._sizes.frame_bytes or frame.rows >= self._sizes.batch_rows

    def batch_is_full(self, frame: OpenFrame) -> bool:
        """Whether it is time to commit."""
        return (
            self._rows + frame.rows >= self._sizes.batch_rows
            or self._bytes + frame.bytes >= self._sizes.batch_bytes
            or time.monotonic() - self._since >= self._sizes.batch_seconds
            or time_limit.is_near()
        )

    def rows(self, stream: str, frame: OpenFrame) -> Rows:
        """Hand the open frame on."""
        self._rows, self._bytes = self._rows + frame.rows, self._bytes + frame.bytes
        return frame.take(stream)


class IncrementalPull:
    """Reads what changed since the last pull, or goes on with a pull that was cut short."""

    def __init__(
        self, name: str, stream: RestStream, pager: Callable[[str | None], Pager], walk: Walk,
        where: str, sizes: Sizes, may_write: Callable[[str], bool], operation: str | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            name: of the stream.
            stream: the catalog's entry; its cursor is set.
            pager: makes the pager that asks from a cursor value on.
            walk: reads pages.
            where: source and stream, for messages.
            sizes: when to hand on and when to commit.
            may_write: whether a text holds no secret, so that it may stand in the cursors.
            operation: what happened to each record, if not an insert.
        """
        assert stream.cursor is not None
        self._name, self._stream, self._cursor, self._where = name, stream, stream.cursor, where
        self._new_pager, self._sizes = pager, sizes
        self._walk = CappedWalk(stream, pager, walk, where) if stream.paging.query_limit else walk
        self._may_write, self._operation = may_write, operation
        self._field = FieldReader(stream, stream.cursor.field)
        self._asked = digest_of(msgspec.json.encode(fingerprint(stream), order="deterministic"))
        self._events: list[dict[str, Any]] = []
        self._keyless = not stream.primary_key
        self._again = 0
        """Records of this pull that had been committed before, so far."""
        self._committed = False
        """Whether a part of this pull is committed."""
        self._open = self._replaces = False
        """Whether rows were handed on that are not committed, and whether they replace all that is."""

    def read(self, state: Mapping[str, Any]) -> Iterator[Rows | Moved | Undo]:
        """Yield rows, and the states to commit with them; the last one ends the pull.

        Raises:
            SourceError: after what was read before has been yielded with a state to go on from.
            AnswerUnusable: when in each reading other records came than the API counts; the cursor stays.
        """
        pull = state.get("pull") or {}
        self._committed = bool(pull or state.get(_UNFINISHED))
        if state.get(_UNFINISHED) or (pull and pull["asked"] != self._asked):
            if pull:
                self._restart("the stream's entry in the catalog has changed")
            yield from self._over(state := began(state))
        elif not pull and state:  # without a value: nothing came, or the first pull led nowhere
            self._replaces = self._keyless and state.get("highest") is None
        for left in reversed(range(READINGS)):
            try:
                yield from self._handed(self._read(state, left))
                return
            except PositionLost as lost:
                self._restart(str(lost))
            except NotWhole as loss:
                if not left or time_limit.is_near():
                    raise
                read_again(self._name, loss, self._events)
            yield from self._over(state := began(state))

    def _handed(self, items: Iterator[Rows | Moved]) -> Iterator[Rows | Moved]:
        """What a reading yields, after a truncate row where it replaces all there is."""
        for item in items:
            if isinstance(item, Rows) and self._replaces:
                self._replaces = False
                yield truncate_row(self._name)
            self._open = isinstance(item, Rows)
            yield item

    def _restart(self, why: str) -> None:
        log.warning("pull starts over stream=%s why=%r", self._name, why)
        self._events.append({"event": "pull started over", "stream": self._name, "why": why})

    def _over(self, state: State) -> Iterator[Undo]:
        """Let go of the rows of a reading that is not gone on with; without a key they would be there twice.

        Raises:
            AnswerUnusable: when some are committed, beside those of earlier pulls.
        """
        if self._open:
            self._open = False
            yield Undo()
        if not (self._committed and self._keyless):
            return
        if state.get("highest") is not None:
            raise AnswerUnusable(
                self._where, "a pull starts over of which a part is committed",
                why="without a key nobody can tell which of its records are new",
                fix="set primary_key, or refresh the stream",
            )  # fmt: skip
        self._replaces = True

    def _read(self, state: Mapping[str, Any], left: int) -> Iterator[Rows | Moved]:
        begun, pull = time.monotonic(), state.get("pull") or {}
        edge = Edge(self._cursor, self._where, state, keyed=not self._keyless)
        frame = OpenFrame(self._operation, deleted_reader(self._stream))
        meter, done = Meter(self._sizes), None
        midway, new, told = bool(pull), 0, False
        self._again = pull.get("again", 0)
        try:
            for page in going_on(self._name, self._walk, self._new_pager(edge.since), pull):
                new += self._add(frame, edge, page)
                done = page
                if page.doubt:
                    settle(self._name, self._where, page.doubt, left, self._events)
                if meter.frame_is_full(frame):
                    yield meter.rows(self._name, frame)
                if meter.batch_is_full(frame) and self._resumable(page):
                    if frame.rows:
                        yield meter.rows(self._name, frame)
                    yield self._moved(self._unfinished(edge, page))
                    midway, meter = True, Meter(self._sizes)
                    self._committed = True
                elif meter.batch_is_full(frame) and page.following is not None and not told:
                    told = True
                    log.warning(
                        "no place to go on from stream=%s page=%d why='the way on holds a secret'",
                        self._name, page.number,
                    )  # fmt: skip
        except PagesAstray:
            if midway:  # what leads nowhere is not gone on with: the next run reads it all again
                before = began(state if pull else edge.state(finished=False))
                marked = self._keyless and before["highest"] is not None
                yield self._moved({**before, _UNFINISHED: True} if marked else before, must=True)
            raise
        except SourceError:
            if done is not None and self._resumable(done):
                if frame.rows:
                    yield meter.rows(self._name, frame)
                yield self._moved(self._unfinished(edge, done), must=True)
            raise
        if frame.rows:
            yield meter.rows(self._name, frame)
        self._tell(edge, done)
        log.info(
            "pulled stream=%s pages=%d records=%d new=%d seconds=%.1f",
            self._name, done.number if done else 0, done.received if done else 0, new,
            time.monotonic() - begun,
        )  # fmt: skip
        validators = done.validators.state if done else {}
        yield self._moved({**edge.state(finished=True), **validators}, must=midway)

    def _add(self, frame: OpenFrame, edge: Edge, page: Page) -> int:
        if not page.cut.records:
            return 0
        where = f"{self._where}, page {page.number}"
        texts = self._field.texts(page.cut, where)
        found = keys(texts, where)
        places = edge.new(page.cut.records, texts, found)
        frame.add(page.cut, page.request, places, instants(texts, found))
        new = len(page.cut.records) if places is None else len(places)
        self._again += len(page.cut.records) - new
        return new

    def _resumable(self, page: Page) -> bool:
        """Whether the way on can be kept: there is one, and it tells no secret."""
        following = msgspec.json.encode(page.following).decode()
        return page.following is not None and self._may_write(following)

    def _unfinished(self, edge: Edge, page: Page) -> State:
        return {
            **edge.state(finished=False),
            "pull": {"asked": self._asked, "again": self._again, **place(page)},
        }

    def _moved(self, state: State, *, must: bool = False) -> Moved:
        events, self._events = self._events, []
        return Moved(state, events, must)

    def _tell(self, edge: Edge, page: Page | None) -> None:
        if edge.older:
            log.warning("older records than asked for stream=%s records=%d", self._name, edge.older)
            asked = self._cursor.parameter or "{cursor}"
            self._events.append({
                "event": "older records than asked for", "stream": self._name,
                "records": edge.older, "why": f"the API may not know '{asked}'",
            })  # fmt: skip
        self._events += paging_events(self._name, page)


def deleted_reader(stream: RestStream) -> FieldReader | None:
    """Reads what only deleted records have, where the catalog names it."""
    return FieldReader(stream, stream.deleted) if stream.deleted else None


def paging_events(stream: str, last: Page | None) -> list[dict[str, Any]]:
    """Tell of pages that repeated a record (something moved while we read), and of small ones."""
    events: list[dict[str, Any]] = []
    if last is not None and last.overlaps:
        events.append({"event": "pages overlapped", "stream": stream, "pages": last.overlaps})
    if last is not None and last.capped:
        log.warning("pages are smaller than asked for stream=%s records=%d", stream, last.capped)
        events.append({"event": "pages smaller than asked for", "stream": stream, "records": last.capped})
    return events
