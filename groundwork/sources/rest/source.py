"""A REST source: its streams one after another, each with the cursors to go on from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

from groundwork import catalog
from groundwork.settings import Keep, KeepInDirectory, Resolve
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.sources.rest.auth import Lookup, open_access
from groundwork.sources.rest.background import BackgroundLoop
from groundwork.sources.rest.conditional import NONE, Validators
from groundwork.sources.rest.credentials import open_credential
from groundwork.sources.rest.expected import enough
from groundwork.sources.rest.fields import Fields
from groundwork.sources.rest.files import FilesPull, listing_stream
from groundwork.sources.rest.pages import Page, PageReader
from groundwork.sources.rest.paging import Pager, Position
from groundwork.sources.rest.pull import IncrementalPull, Moved, Sizes, Walk, read_everything
from groundwork.sources.rest.transport import Client


class RestSource:
    """An HTTP API, read as its catalog entry says."""

    def __init__(
        self,
        entry: catalog.RestSource,
        resolve: Resolve,
        *,
        keep: Keep | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        """Look up what the entry names; nothing is asked before `read`.

        Args:
            entry: the catalog's entry.
            resolve: looks named values up.
            keep: saves secrets that change; in the directory of secrets when None.
            sizes: when rows are handed on and committed.

        Raises:
            SettingMissing: when a secret or variable has no value.
            CatalogError: when an address, a key or a signing hook cannot be used.
        """
        self._entry, self._sizes = entry, sizes or Sizes()
        self._where = f"source '{entry.source}'"
        lookup = Lookup(resolve)
        self._access = open_access(entry.connection, lookup, self._where)
        self._credential = open_credential(
            entry, self._access, lookup, keep or KeepInDirectory(), self._where
        )

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
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
                for name, stream in self._entry.streams.items():
                    wrote = False
                    for item in self._stream(loop, client, name, stream, states.get(name) or {}):
                        if isinstance(item, Rows):
                            wrote = True
                            yield item
                            continue
                        states[name] = item.state
                        if wrote or item.must or item.events:
                            yield Checkpoint(dict(states), item.events, heartbeat=item.must)
                        wrote = False
                yield Checkpoint(dict(states))
            finally:
                loop.run(client.close())

    async def _open(self) -> Client:
        client = Client(self._entry.source, self._entry.connection, self._access)
        client.credential = self._credential(client)
        return client

    def _stream(
        self,
        loop: BackgroundLoop,
        client: Client,
        name: str,
        stream: catalog.RestStream,
        state: Any,
    ) -> Iterator[Rows | Moved]:
        where, secrets = f"{self._where}, stream '{name}'", self._access.secrets
        fields = Fields(name, state, lambda text: not secrets.within(text))
        items = self._items(loop, client, name, stream, state, fields, where)
        return fields.keep(items)

    def _items(
        self, loop: BackgroundLoop, client: Client, name: str, stream: catalog.RestStream, state: Any,
        fields: Fields, where: str,
    ) -> Iterator[Rows | Moved]:  # fmt: skip
        def pager(since: str | None) -> Pager:
            return Pager(stream, self._access, where, since)

        if stream.files:
            listed = listing_stream(stream)
            walk = self._walk(loop, client, listed, where, NONE, None)
            files = FilesPull(name, stream, loop, client, self._access, walk, fields, where, self._sizes)
            return files.read(state)
        walk = self._walk(loop, client, stream, where, Validators.kept(state), fields)
        if stream.replication == "full_table":
            whole = pager(None)
            pages = walk(whole, whole.first, 1, 0)
            return read_everything(name, stream, pages, where, self._sizes, state)
        secrets = self._access.secrets
        pull = IncrementalPull(
            name, stream, pager, walk, where, self._sizes, lambda text: not secrets.within(text)
        )
        return pull.read(state)

    def _walk(
        self, loop: BackgroundLoop, client: Client, stream: catalog.RestStream, where: str, kept: Validators,
        fields: Fields | None,
    ) -> Walk:  # fmt: skip
        ahead = self._entry.connection.concurrent_requests

        def walk(pager: Pager, position: Position, number: int, received: int) -> Generator[Page, None, None]:
            reader = PageReader(stream, client, self._access, pager, where, kept)
            pages = _in_step(loop, reader.walk(position, number, received, ahead))
            pages = enough(pages, stream, where)
            return fields.watch(pages) if fields else pages

        return walk


def _in_step(loop: BackgroundLoop, pages: AsyncGenerator[Page, None]) -> Generator[Page, None, None]:
    """Pages of the loop's thread for ours; one more is fetched while we work on one."""
    one_at_a_time = asyncio.Lock()

    async def following() -> Page | None:
        async with one_at_a_time:
            return await anext(pages, None)

    async def close() -> None:
        async with one_at_a_time:  # a generator cannot be closed while it runs
            await pages.aclose()

    coming = loop.submit(following())
    try:
        while (page := coming.result()) is not None:
            coming = loop.submit(following())
            yield page
    finally:
        coming.cancel()
        loop.run(close())
