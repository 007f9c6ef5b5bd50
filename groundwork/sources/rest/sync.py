"""The pull of a stream whose API gives a token at the end of one pull that begins the next one.

The first pull reads everything, as one batch behind a truncate row; the token at its end stands in the
stream's state. Later pulls ask with it for what changed since. When the API does not know the token any more,
everything is read again behind a truncate row, because what was deleted meanwhile is in no answer.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from groundwork.catalog import RestStream
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.asking import Part
from groundwork.sources.rest.astray import PagesAstray
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager, Position
from groundwork.sources.rest.parts import PartedPull, asked_of
from groundwork.sources.rest.pull import Moved, Sizes
from groundwork.sources.rest.refusals import Refused
from groundwork.sources.rest.resume import State, Walk
from groundwork.sources.rest.whole import WholePull

log = logging.getLogger(__name__)

Whole = Callable[[Walk, Callable[[], State]], WholePull]
"""Makes the pull of everything, of a walk and of what its last state holds beside its own."""


class SyncPull:
    """Reads everything once, then what changed since the token of the pull before."""

    def __init__(
        self,
        name: str,
        stream: RestStream,
        pager: Callable[[Position | None], Pager],
        walk: Walk,
        where: str,
        sizes: Sizes,
        may_write: Callable[[str], bool],
        whole: Whole,
    ) -> None:
        """Prepare.

        Args:
            name: of the stream.
            stream: the catalog's entry; its ``sync`` is set.
            pager: makes the pager that begins with a token, or reads everything.
            walk: reads pages.
            where: source and stream, for messages.
            sizes: when rows are handed on and committed.
            may_write: whether a text holds no secret, so that it may stand in the cursors.
            whole: makes the pull of everything.
        """
        assert stream.sync is not None
        self._name, self._stream, self._sync, self._where = name, stream, stream.sync, where
        self._pager, self._walk, self._whole = pager, walk, whole
        self._sizes, self._may_write = sizes, may_write
        self._asked = asked_of(stream)
        self._token: Position | None = None
        """The newest token of this pull."""
        self._records = 0

    def read(self, state: Mapping[str, Any]) -> Iterator[Rows | Moved | Undo]:
        """Yield rows, and the states to commit with them; the last one holds the token of the next pull.

        Raises:
            PagesAstray: when the pull ends without a token; nothing of its end is committed then.
        """
        known = state.get("sync")
        why = ""
        if known and known["asked"] != self._asked:
            why = "the stream's entry in the catalog has changed"
        elif known:
            try:
                yield from self._changes(state, known["token"])
                return
            except Refused as refused:
                if refused.status not in self._sync.expired:
                    raise
                why = f"the API does not know the token any more (status {refused.status})"
        elif state and "pull" not in state:
            why = "no token was kept"
        event = {"event": "everything is read again", "stream": self._name, "why": why}
        if why:
            log.warning("everything is read again stream=%s why=%r", self._name, why)
        yield from self._everything(state, [event] if why else [])

    def _changes(self, state: Mapping[str, Any], token: Position) -> Iterator[Rows | Moved]:
        """What changed since a token. A part of it may be committed: its records fall to their key."""
        self._token, self._records = None, 0
        pull = PartedPull(
            self._name,
            self._stream,
            lambda _: self._pager(token),
            self._watched,
            self._sizes,
            self._may_write,
        )
        midway = state.get("pull") or {}
        kept = {key: value for key, value in state.items() if key not in ("pull", "sync")}

        def at(index: int, within: State) -> State:
            if not index:
                return {**kept, "sync": {"asked": self._asked, "token": token}, "pull": within}
            return {**kept, **self._end(token)}

        yield from pull.read([Part()], midway, at, must=bool(midway))

    def _everything(
        self, state: Mapping[str, Any], events: list[dict[str, Any]]
    ) -> Iterator[Rows | Moved | Undo]:
        self._token, self._records = None, 0
        # a digest of the last full read says nothing of what changes made of it since
        kept = {key: value for key, value in state.items() if key not in ("sync", "digest", "validators")}
        if "sync" in state:
            kept.pop("pull", None)
        for item in self._whole(self._watched, self._end).read(kept):
            if isinstance(item, Moved):
                told, events = [*events, *item.events], []
                plain = {k: v for k, v in item.state.items() if k not in ("digest", "validators")}
                item = dataclasses.replace(item, state=plain, events=told, must=True)
            yield item

    def _watched(self, pager: Pager, pull: Mapping[str, Any]) -> Generator[Page, None, None]:
        pages = self._walk(pager, pull)
        try:
            for page in pages:
                self._token = page.token or self._token
                self._records += len(page.cut.records)
                yield page
        finally:
            pages.close()

    def _end(self, before: Position | None = None) -> State:
        """The state of a pull that has come to its end.

        Args:
            before: the token that the pull began with.

        Raises:
            PagesAstray: when there is no token for the next one.
        """
        token = self._token or (None if self._records else before)
        if token is None:
            raise PagesAstray(
                self._where,
                f"the pull ended without a token at '{self._sync.next or self._sync.header}'",
                why="the next pull would not know where to begin",
                fix="check sync.next against the last page of the API",
            )
        if not self._may_write(next(iter(token.values()))):
            log.warning("no token is kept stream=%s why='it holds a secret'", self._name)
            return {}
        return {"sync": {"asked": self._asked, "token": token}}
