"""The pages of one stream in their order, the next ones asked for while one is being worked on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from groundwork.catalog import RestStream
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.paging import Guard, Pager, PagesAstray, Position
from groundwork.sources.rest.records import CutPage, PageCutter
from groundwork.sources.rest.transport import Answer, Client, Request


@dataclass(frozen=True)
class Page:
    """One answered page and its place in the pull."""

    number: int
    position: Position
    cut: CutPage
    following: Position | None
    """Where to go on; None at the end."""
    received: int
    """Records received in this pull, this page's included."""
    request: str
    """What was asked and answered, as JSON without secrets."""
    overlaps: int
    """Pages so far that repeat the record before them."""


class PageReader:
    """Asks for the pages of one stream."""

    def __init__(self, stream: RestStream, client: Client, access: Access, pager: Pager, where: str) -> None:
        """Bring together what is asked and who asks."""
        self._stream, self._client, self._access = stream, client, access
        self._pager, self._where = pager, where
        self._cutter = PageCutter(stream)

    async def walk(
        self, position: Position, number: int, received: int, ahead: int
    ) -> AsyncGenerator[Page, None]:
        """Yield pages from a position on.

        Args:
            position: of the first page to ask for.
            number: what that page is called in messages, from 1.
            received: records received before it in this pull.
            ahead: most pages to have in flight or in hand.

        Raises:
            SourceError: see `Client.ask`; `PagesAstray` when the pages lead nowhere.
        """
        guard = Guard(self._stream, self._where)
        flying: deque[tuple[Position, asyncio.Task[tuple[CutPage, Answer]]]] = deque()
        at: Position | None = position
        short = True
        try:
            while at is not None:
                if flying and flying[0][0] != at:  # guessed wrongly, e.g. a shorter page
                    await _cancel(flying)
                while len(flying) < (1 if short else ahead):
                    guess = self._pager.guess(flying[-1][0]) if flying else at
                    if guess is None:
                        break
                    place = f"{self._where}, page {number + len(flying)}"
                    flying.append((guess, asyncio.create_task(self._fetch(guess, place))))
                cut, answer = await flying.popleft()[1]
                received += len(cut.records)
                short = len(cut.records) < self._stream.paging.size
                following = self._pager.after(at, cut, received, answer.next_link, answer.url)
                guard.check(cut, following)
                request = self._describe(answer, number)
                yield Page(number, at, cut, following, received, request, guard.overlaps)
                at, number = following, number + 1
                if at is None:
                    self._check_total(cut.total, received)
        finally:
            await _cancel(flying)

    async def _fetch(self, position: Position, where: str) -> tuple[CutPage, Answer]:
        request: Request = self._pager.request(position, where)
        return await self._client.ask(request, lambda answer: (self._cutter.cut(answer, where), answer))

    def _check_total(self, total: int | None, received: int) -> None:
        if total is not None and received < total:
            raise PagesAstray(
                self._where, f"the pages held {received} records, but the API counts {total}",
                why="pages were left out, or records vanished while we read",
                fix="the next run reads them all again; if it stays, check paging",
            )  # fmt: skip

    def _describe(self, answer: Answer, number: int) -> str:
        told = {
            "url": self._access.secrets.redact(str(self._access.unsigned(answer.url))),
            "method": self._stream.method,
            "page": number,
            "status": answer.status,
            "fetched_at": answer.fetched_at.isoformat(timespec="milliseconds"),
        }
        return msgspec.json.encode(told).decode()


async def _cancel(flying: deque[tuple[Position, asyncio.Task[tuple[CutPage, Answer]]]]) -> None:
    tasks = [task for _, task in flying]
    flying.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
