"""The pull of a whole table: a truncate row, then every record, as one batch.

It says what is gone by what it does not hold, so half of it would be wrong. What was read is kept as a draft
as it goes, with the place of the next page, so that a pull that is cut short goes on there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from groundwork import time_limit
from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable, SourceError
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.astray import NotWhole, PagesAstray
from groundwork.sources.rest.frames import OpenFrame, truncate_row
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import fingerprint
from groundwork.sources.rest.pull import Meter, Moved, Sizes, deleted_reader, paging_events
from groundwork.sources.rest.resume import (
    READINGS,
    PositionLost,
    State,
    began,
    digest_of,
    place,
    read_again,
    settle,
)

log = logging.getLogger(__name__)

Pages = Callable[[Mapping[str, Any]], Iterator[Page]]
"""All pages from a place on; from the first, when it is empty."""

_NOTHING = digest_of(b"")


class WholePull:
    """Reads a full_table stream."""

    def __init__(
        self, name: str, stream: RestStream, pages: Pages, where: str, sizes: Sizes,
        may_write: Callable[[str], bool], why_not: str, end: Callable[[], State] | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            name: of the stream.
            stream: the catalog's entry.
            pages: reads pages.
            where: source and stream, for messages.
            sizes: when rows are handed on and kept.
            may_write: whether a text holds no secret, so that it may stand in the draft.
            why_not: why no place can be gone on from; "" where one can.
            end: what stands in the last state beside this pull's own, where the state of another pull may
                have changed what is there since; may raise `PagesAstray`.
        """
        self._name, self._stream, self._pages, self._where = name, stream, pages, where
        self._end = end
        self._sizes, self._may_write, self._why_not = sizes, may_write, why_not
        self._asked = digest_of(msgspec.json.encode(fingerprint(stream), order="deterministic"))
        self._events: list[dict[str, Any]] = []
        self._restarts: list[dict[str, Any]] = []
        """Events that stay, whatever becomes of a reading."""
        self._count, self._sent, self._told = 0, False, False
        self._said = _NOTHING
        """Digest of all records so far; "" once they are too many to be compared with the last pull's."""

    def read(self, state: Mapping[str, Any]) -> Iterator[Rows | Moved | Undo]:
        """Yield rows and the states to go on from, the last one whole.

        A stream that fits in one frame and says the same as last time yields nothing; so does one whose API
        says that nothing changed (304). A larger one is handed on before its end is known.

        Raises:
            AnswerUnusable: when fewer records came than the tolerance allows, or the API counts others in
                each reading; nothing is committed then.
            SourceError: after what was read before has been kept.
        """
        pull = state.get("pull") or {}
        if pull and pull["asked"] != self._asked:
            yield from self._start_over("the stream's entry in the catalog has changed")
            state, pull = began(state), {}
        for left in reversed(range(READINGS)):
            lost, loss = "", None
            try:
                yield from self._read(began(state), pull, left)
                return
            except PositionLost as error:
                lost = str(error)
            except NotWhole as error:
                if not left or time_limit.is_near():
                    raise
                loss = error
            if loss:
                read_again(self._name, loss, self._restarts)
            else:
                yield from self._start_over(lost)
            pull = {}

    def _start_over(self, why: str) -> Iterator[Undo]:
        log.warning("pull starts over stream=%s why=%r", self._name, why)
        self._restarts.append({"event": "pull started over", "stream": self._name, "why": why})
        yield Undo()

    def _read(self, before: State, pull: Mapping[str, Any], left: int) -> Iterator[Rows | Moved | Undo]:
        begun, page = time.monotonic(), None
        self._frame, self._meter = OpenFrame("snapshot", deleted_reader(self._stream)), Meter(self._sizes)
        self._events = list(self._restarts)
        self._count, self._sent, self._said = pull.get("records", 0), bool(pull), pull.get("said", _NOTHING)
        try:
            for page in self._pages(pull):
                if page.unchanged:
                    log.info("nothing changed stream=%s status=304", self._name)
                    yield Moved(before, [])
                    return
                self._add(page)
                if page.doubt:
                    settle(self._name, self._where, page.doubt, left, self._events)
                if self._meter.batch_is_full(self._frame) and self._resumable(page):
                    yield from self._kept(before, page)
                elif self._meter.frame_is_full(self._frame):
                    yield from self._rows()
            beside = self._end() if self._end else {}
            _check_shrinking(self._count, before.get("records"), self._stream.shrink_tolerance, self._where)
        except (PagesAstray, TooFew):
            yield from self._undone()  # not gone on with: the next run reads it all again
            raise
        except SourceError:
            if page is not None and self._resumable(page):
                yield from self._kept(before, page)
            raise
        said_again = self._said and self._said == before.get("digest")
        if said_again:
            yield from self._undone()
        elif self._count or before.get("records") or self._end:
            yield from self._rows()
        log.info(
            "pulled stream=%s pages=%d records=%d seconds=%.1f",
            self._name, page.number if page else 0, self._count, time.monotonic() - begun,
        )  # fmt: skip
        validators = page.validators.state if page else {}
        self._events += paging_events(self._name, page)
        state = {"records": self._count, "digest": self._said, **validators, **beside}
        yield Moved(state, self._events, must=bool(pull) and not said_again)

    def _add(self, page: Page) -> None:
        if page.cut.records:
            self._frame.add(page.cut, page.request, None, [])
            self._count += len(page.cut.records)
        if self._meter.frame_is_full(self._frame):
            self._said = ""
        elif self._said:
            self._said = digest_of(self._said.encode() + b"\n".join(page.cut.records))

    def _rows(self) -> Iterator[Rows]:
        """Hand on what is open, the truncate row before all else."""
        if not self._sent:
            self._sent = True
            yield truncate_row(self._name)
        if self._frame.rows:
            yield self._meter.rows(self._name, self._frame)

    def _undone(self) -> Iterator[Undo]:
        """Take back what was handed on."""
        self._frame.clear()
        if self._sent:
            self._sent = False
            yield Undo()

    def _kept(self, before: State, page: Page) -> Iterator[Rows | Moved]:
        """Hand on what is open, and the place to go on from."""
        yield from self._rows()
        events, self._events, self._meter = self._events, [], Meter(self._sizes)
        midway = {"asked": self._asked, "records": self._count, "said": self._said, **place(page)}
        yield Moved({"began": before, "pull": midway}, events, whole=False)

    def _resumable(self, page: Page) -> bool:
        """Whether there is a way on, and it can be kept."""
        if page.following is None:
            return False
        following = msgspec.json.encode(page.following).decode()
        why = self._why_not or ("" if self._may_write(following) else "the way on holds a secret")
        if why and not self._told:
            self._told = True
            log.warning("no place to go on from stream=%s page=%d why=%r", self._name, page.number, why)
        return not why


class TooFew(AnswerUnusable):
    """The whole table has fewer records than may be."""


def _check_shrinking(count: int, before: int | None, tolerance: float, where: str) -> None:
    if before is None or count >= before * (1 - tolerance):
        return
    raise TooFew(
        where, f"{count} records came, where the last pull had {before}",
        why="what does not come counts as deleted, so a broken answer would delete it",
        fix="if so many are really gone, raise the stream's shrink_tolerance for one run",
    )  # fmt: skip
