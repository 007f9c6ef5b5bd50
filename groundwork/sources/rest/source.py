"""A REST source: its streams one after another, each with the cursors to go on from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any

from groundwork import catalog
from groundwork.settings import Keep, KeepInDirectory, Resolve
from groundwork.sources import Checkpoint, Cursors, Recall, Rows, Undo
from groundwork.sources.rest.asking import WHOLE, Part
from groundwork.sources.rest.auth import Lookup, open_access
from groundwork.sources.rest.background import BackgroundLoop
from groundwork.sources.rest.conditional import NONE, Validators
from groundwork.sources.rest.credentials import open_credential
from groundwork.sources.rest.deletions import deletions_stream, with_deletions
from groundwork.sources.rest.expected import enough
from groundwork.sources.rest.fields import Fields
from groundwork.sources.rest.files import FilesPull, listing_stream
from groundwork.sources.rest.pages import Page, PageReader
from groundwork.sources.rest.paging import Pager
from groundwork.sources.rest.parents import Values, Waiting, parts_of
from groundwork.sources.rest.parts import PartedPull, all_pages, read_children, read_windows
from groundwork.sources.rest.pull import IncrementalPull, Moved, Sizes
from groundwork.sources.rest.recalled import recalled_part
from groundwork.sources.rest.resume import State, Walk, going_on
from groundwork.sources.rest.sync import SyncPull
from groundwork.sources.rest.transport import Client
from groundwork.sources.rest.whole import Pages, WholePull

log = logging.getLogger(__name__)


class RestSource:
    """An HTTP API, read as its catalog entry says."""

    drafts = True
    """A whole table is one batch, and is gone on with where it was cut short."""
    recall: Recall | None = None
    """Gives back what earlier runs stored of a pull, so that its records can be counted."""

    def __init__(
        self,
        entry: catalog.RestSource,
        resolve: Resolve,
        *,
        keep: Keep | None = None,
        sizes: Sizes | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Look up what the entry names; nothing is asked before `read`.

        Args:
            entry: the catalog's entry.
            resolve: looks named values up.
            keep: saves secrets that change; in the directory of secrets when None.
            sizes: when rows are handed on and committed.
            clock: says which windows of time are due.

        Raises:
            SettingMissing: when a secret or variable has no value.
            CatalogError: when an address, a key or a signing hook cannot be used.
        """
        self._entry, self._sizes, self._clock = entry, sizes or Sizes(), clock
        self._where = f"source '{entry.source}'"
        lookup = Lookup(resolve)
        self._parents: dict[str, list[Values]] = {}
        """Parents of this run, of which all are asked for their children."""
        self._access = open_access(entry.connection, lookup, self._where)
        self._credential = open_credential(
            entry, self._access, lookup, keep or KeepInDirectory(), self._where
        )

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint | Undo]:
        """Yield what is new since ``cursors``, ending with a `Checkpoint` when caught up.

        Raises:
            SourceUnreachable: no connection, or waiting longer than the catalog allows.
            SourceRefused: wrong credentials, missing rights or a wrong path.
            AnswerUnusable: the API answered, but not with the data it was asked for.
        """
        states: dict[str, Any] = dict(cursors)
        with BackgroundLoop() as loop:
            client = loop.run(self._open())
            try:
                for name, stream in self._begun_first(states):
                    if not stream.parent:  # children are read with their parents
                        if states.get(name) and self._has_new_child(name, states):
                            log.warning("all parents are read again for a new child stream=%s", name)
                            states[name] = {}
                        yield from self._family(loop, client, name, states)
                yield Checkpoint(dict(states))
            finally:
                loop.run(client.close())

    def _begun_first(self, states: Cursors) -> list[tuple[str, catalog.RestStream]]:
        """The streams, a whole table that was begun before all others: no other rows belong in its batch."""

        def is_begun(item: tuple[str, catalog.RestStream]) -> bool:
            name, stream = item
            state = states.get(name) or {}
            whole = stream.replication == "full_table" or (stream.sync and "sync" not in state)
            return bool(whole) and "pull" in state

        return sorted(self._entry.streams.items(), key=is_begun, reverse=True)

    async def _open(self) -> Client:
        client = Client(self._entry.source, self._entry.connection, self._access)
        client.credential = self._credential(client)
        return client

    def _family(
        self, loop: BackgroundLoop, client: Client, name: str, states: dict[str, Any]
    ) -> Iterator[Rows | Checkpoint | Undo]:
        """One stream, and the children of its records after each of its commits."""
        children = {
            child: Waiting(stream, self._named(child)) for child, stream in self._entry.children(name).items()
        }
        whole = self._entry.streams[name].replication == "full_table"
        wrote = False
        for item in self._stream(loop, client, name, states):
            if isinstance(item, Undo):
                wrote = False
                yield item
                continue
            if isinstance(item, Rows):
                wrote = True
                for noted in children.values():
                    noted.note(item)
                yield item
                continue
            if not item.whole:
                yield Checkpoint({**states, name: item.state}, item.events, whole=False)
                continue
            states[name] = item.state
            if not whole:
                states |= {child: noted.added(states.get(child) or {}) for child, noted in children.items()}
            if wrote or item.must or item.events:
                yield Checkpoint(dict(states), item.events, heartbeat=item.must)
            wrote = False
            for child, noted in children.items():
                if whole:  # in memory only: the next run reads all parents anyway
                    self._parents[child] = noted.taken()
                yield from self._family(loop, client, child, states)

    def _has_new_child(self, name: str, states: Cursors) -> bool:
        """Whether a stream below has never noted its parents; a `full_table` notes them in each run."""
        if self._entry.streams[name].replication == "full_table":
            return False
        children = self._entry.children(name)
        return any(child not in states or self._has_new_child(child, states) for child in children)

    def _named(self, name: str) -> str:
        return f"{self._where}, stream '{name}'"

    def _stream(
        self, loop: BackgroundLoop, client: Client, name: str, states: dict[str, Any]
    ) -> Iterator[Rows | Moved | Undo]:
        stream, state = self._entry.streams[name], states.get(name) or {}
        secrets = self._access.secrets
        fields = Fields(name, state, lambda text: not secrets.within(text))
        if self._entry.children(name) and stream.replication == "full_table":
            # all parents must pass by, so that none of them counts as known
            state = {key: value for key, value in state.items() if key not in ("digest", "validators")}

        def records(own: dict[str, Any]) -> Iterator[Rows | Moved | Undo]:
            return fields.keep(self._items(loop, client, name, stream, own, fields))

        if not stream.deletions:
            return records(state)
        return with_deletions(state, lambda gone: self._deletions(loop, client, name, stream, gone), records)

    def _items(
        self, loop: BackgroundLoop, client: Client, name: str, stream: catalog.RestStream, state: Any,
        fields: Fields,
    ) -> Iterator[Rows | Moved | Undo]:  # fmt: skip
        where, secrets = self._named(name), self._access.secrets

        def pager(since: str | None = None, part: Part = WHOLE) -> Pager:
            return Pager(stream, self._access, where + part.where, since, part)

        def may_write(text: str) -> bool:
            return not secrets.within(text)

        if stream.files:
            listed = listing_stream(stream)
            walk = self._walk(loop, client, name, listed, where, NONE, None)
            files = FilesPull(name, stream, loop, client, self._access, walk, fields, where, self._sizes)
            return files.read(state)
        kept = NONE if stream.parent or stream.sync else Validators.kept(state)
        walk = self._walk(loop, client, name, stream, where, kept, fields)
        if stream.replication == "full_table":
            return self._whole(name, stream, pager, walk, may_write).read(state)
        if stream.sync:
            return SyncPull(
                name,
                stream,
                lambda token: Pager(stream, self._access, where, token=token),
                walk,
                where,
                self._sizes,
                may_write,
                lambda watched, end: self._whole(name, stream, pager, watched, may_write, end),
            ).read(state)
        if stream.windows or stream.parent:
            pull = PartedPull(name, stream, lambda part: pager(None, part), walk, self._sizes, may_write)
            return (
                read_windows(pull, stream, state, self._clock())
                if stream.windows
                else read_children(pull, stream, state, where)
            )
        return IncrementalPull(name, stream, pager, walk, where, self._sizes, may_write).read(state)

    def _whole(
        self, name: str, stream: catalog.RestStream, pager: Callable[[str | None, Part], Pager], walk: Walk,
        may_write: Callable[[str], bool], end: Callable[[], State] | None = None,
    ) -> WholePull:  # fmt: skip
        why_not = "all its records are needed to read its children" if self._entry.children(name) else ""
        pages: Pages = lambda place: going_on(name, walk, pager(None, WHOLE), place)  # noqa: E731
        if stream.parent:
            why_not = "it is read for each of its parents"
            parts = parts_of(stream, self._parents.pop(name, []))
            pages = lambda _: all_pages(name, stream, (pager(None, part) for part in parts), walk)  # noqa: E731
        return WholePull(name, stream, pages, self._named(name), self._sizes, may_write, why_not, end)

    def _deletions(
        self, loop: BackgroundLoop, client: Client, name: str, stream: catalog.RestStream, state: Any
    ) -> Iterator[Rows | Moved | Undo]:
        where, secrets = f"{self._named(name)}, deletions", self._access.secrets
        asked = deletions_stream(stream)
        walk = self._walk(loop, client, name, asked, where, NONE, None)
        return IncrementalPull(
            name, asked, lambda since: Pager(asked, self._access, where, since), walk, where, self._sizes,
            lambda text: not secrets.within(text), "delete",
        ).read(state)  # fmt: skip

    def _walk(
        self, loop: BackgroundLoop, client: Client, name: str, stream: catalog.RestStream, where: str,
        kept: Validators, fields: Fields | None,
    ) -> Walk:  # fmt: skip
        ahead = self._entry.connection.concurrent_requests

        def walk(pager: Pager, pull: Mapping[str, Any]) -> Generator[Page, None, None]:
            part = pager.part
            recalled = self.recall and partial(recalled_part, self.recall, name, part.told)
            reader = PageReader(stream, client, self._access, pager, where + part.where, kept, recalled)
            pages = _in_step(loop, reader.walk(pull, ahead))
            if pager.part is WHOLE:  # a part may well be empty
                pages = enough(pages, stream, where)
            return fields.watch(pages) if fields else pages

        return walk


def _in_step(loop: BackgroundLoop, pages: AsyncGenerator[Page, None]) -> Generator[Page, None, None]:
    """Pages of the loop's thread for ours; one more is fetched while we work on one."""
    handed: SimpleQueue[Page | BaseException | None] = SimpleQueue()
    room = asyncio.Semaphore(1)

    async def hand_on() -> None:
        try:
            async for page in pages:
                handed.put(page)
                await room.acquire()
            handed.put(None)
        except BaseException as error:
            handed.put(error)
        finally:
            await pages.aclose()

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(hand_on())

    async def end(handing: asyncio.Task[None]) -> None:
        handing.cancel()
        await asyncio.gather(handing, return_exceptions=True)

    handing = loop.run(begin())
    try:
        while (page := handed.get()) is not None:
            if isinstance(page, BaseException):
                raise page
            yield page
            loop.call(room.release)
    finally:
        loop.run(end(handing))
