"""The pages of one stream in their order, the next ones asked for while one is being worked on."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.conditional import NONE, Validators
from groundwork.sources.rest.contents import Contents
from groundwork.sources.rest.moving import Progress
from groundwork.sources.rest.paging import Guard, Pager, Position, fingerprint
from groundwork.sources.rest.records import NOTHING, CutPage
from groundwork.sources.rest.refusals import Refused
from groundwork.sources.rest.sign_names import letters
from groundwork.sources.rest.signs import Seen, Signs
from groundwork.sources.rest.totals import Recalled, Tally
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
    overlaps: int = 0
    """Pages so far that repeat a record of the page before them."""
    capped: int = 0
    """Records of the largest page so far, if pages are smaller than asked for; else 0."""
    progress: Mapping[str, Any] = field(default_factory=dict)
    """What the API counted so far, for the place to go on from."""
    doubt: str = ""
    """Of the last page: why the pull may not be whole, though that is not certain."""
    token: Position | None = None
    """What the next pull can begin with, for streams with a ``sync``."""
    unchanged: bool = False
    """The API says that nothing changed since the answer whose validators were sent."""
    validators: Validators = NONE
    """What to ask with next time."""


class PageReader:
    """Asks for the pages of one stream."""

    def __init__(
        self,
        stream: RestStream,
        client: Client,
        access: Access,
        pager: Pager,
        where: str,
        validators: Validators = NONE,
        recalled: Recalled | None = None,
    ) -> None:
        """Bring together what is asked, who asks, and what we have already."""
        self._recalled = recalled
        self._stream, self._client, self._access = stream, client, access
        self._validators = validators
        asked = [stream.replication, fingerprint(stream)]
        self._asked = msgspec.json.encode(asked, order="deterministic")
        self._pager, self._where = pager, where
        self._cutter = Contents(stream)
        self._signs = Signs(stream, where)

    async def walk(self, pull: Mapping[str, Any], ahead: int) -> AsyncGenerator[Page, None]:
        """Yield pages from a place on.

        Args:
            pull: the place, see `groundwork.sources.rest.resume.place`; empty for the first page.
            ahead: most pages to have in flight or in hand.

        Raises:
            SourceError: see `Client.ask`; `PagesAstray` when the pages lead nowhere, `NotWhole` when the
                API counts other records.
        """
        number: int = pull.get("page", 1)
        guard = Guard(self._stream, self._where)
        tally = Tally(self._stream, self._where, pull, self._recalled)
        progress = Progress(self._pager, tally, guard, self._where, pull)
        flying: deque[tuple[Position, asyncio.Task[tuple[Request, CutPage, Answer]]]] = deque()
        last: Page | None
        at: Position | None = pull.get("position", self._pager.first)
        short, last = True, None
        try:
            while at is not None:
                if flying and flying[0][0] != at:  # guessed wrongly, e.g. a shorter page
                    await _cancel(flying)
                while len(flying) < (1 if short else ahead):
                    guess = self._guess(flying[-1][0], tally, guard) if flying else at
                    if guess is None:
                        break
                    place = f"{self._where}, page {number + len(flying)}"
                    flying.append((guess, asyncio.create_task(self._fetch(guess, place))))
                try:
                    asked, cut, answer = await flying.popleft()[1]
                except Refused as refused:
                    if last is None or not self._pager.ends_with(refused.status, last.cut):
                        raise
                    self._check_end(last, asked, answer, tally.received)
                    yield self._ended(last, tally.verdict())
                    return
                short = len(cut.records) < self._stream.paging.size
                following, doubt, full = None, "", False
                if not answer.unchanged:
                    following = self._pager.after(at, cut, progress.reached(cut), answer)
                    guard.check(cut, following)
                    following = progress.following(at, cut, following)
                    full = self._is_full(tally.received, following)
                    doubt = "" if following or full else tally.verdict()
                last = Page(
                    number,
                    at,
                    cut,
                    following,
                    tally.received,
                    self._describe(asked, answer, number),
                    overlaps=guard.overlaps,
                    capped=guard.capped,
                    progress=progress.state,
                    doubt=doubt,
                    token=self._pager.token(cut, answer),
                    unchanged=answer.unchanged,
                    validators=self._new_validators(asked, answer),
                )
                if not (following or full or answer.unchanged):
                    self._check_end(last, asked, answer, tally.received)
                yield last
                at, number = following, number + 1
        finally:
            await _cancel(flying)

    def _guess(self, position: Position, tally: Tally, guard: Guard) -> Position | None:
        return self._pager.guess(position, tally.last_total, guard.largest)

    def _is_full(self, received: int, following: Position | None) -> bool:
        """Whether a query has given as many records as the API serves of one.

        Raises:
            AnswerUnusable: when there is no cursor to go on with.
        """
        most = self._stream.paging.query_limit
        if most is None or received + (self._stream.paging.size if following else 1) <= most:
            return False
        if self._stream.cursor is None:
            raise AnswerUnusable(
                self._where,
                f"the query gave {received} records, and the API serves {most} of one",
                why="those after them are in no page (paging.query_limit)",
                fix="ask for less at once: shorter 'windows', or an 'incremental' stream with a cursor",
            )
        return True

    def _check_end(self, last: Page, request: Request, answer: Answer, records: int) -> None:
        """Refuse the end of a reading that has a sign of more.

        Raises:
            MoreFollows: naming the sign.
        """
        asked = {f"{letters(name)}={value}" for name, value in request.url.query.items()}
        asked |= {str(value) for value in last.position.values()}
        self._signs.check(last.cut, answer, Seen(records, last.number, asked))

    def _ended(self, last: Page, doubt: str) -> Page:
        """The end that a refusal of the page after the last one means: a page without records."""
        return dataclasses.replace(
            last,
            number=last.number + 1,
            position=last.following or {},
            cut=NOTHING,
            following=None,
            doubt=doubt,
        )

    async def _fetch(self, position: Position, where: str) -> tuple[Request, CutPage, Answer]:
        request = self._pager.request(position, where)
        if self._stream.idempotency_header and request.method == "POST":
            # new for each page, the same for each attempt: never the answer to what was asked before
            key = {self._stream.idempotency_header: str(uuid.uuid4())}
            request = dataclasses.replace(request, headers={**request.headers, **key}, repeatable=True)
        if self._stream.conditional:
            request = self._validators.asking(request, self._asked)

        def read(answer: Answer) -> tuple[Request, CutPage, Answer]:
            return request, NOTHING if answer.unchanged else self._cutter.cut(answer, where), answer

        return await self._client.ask(request, read)

    def _new_validators(self, request: Request, answer: Answer) -> Validators:
        if not self._stream.conditional or self._stream.paging.kind != "single_page":
            return NONE
        if answer.unchanged:
            return self._validators
        found = Validators.of(request, answer, self._asked)
        return NONE if self._access.secrets.within(f"{found.etag} {found.last_modified}") else found

    def _describe(self, request: Request, answer: Answer, number: int) -> str:
        redact = self._access.secrets.redact
        told = {
            "url": redact(str(self._access.unsigned(answer.url))),
            "method": request.method,
            "page": number,
            "status": answer.status,
            "sent_at": answer.sent_at.isoformat(timespec="milliseconds"),
            "fetched_at": answer.fetched_at.isoformat(timespec="milliseconds"),
            **self._pager.part.told,
        }
        if self._stream.format == "csv":  # whose records are not the bytes that came
            told["answer_sha256"] = hashlib.sha256(answer.body).hexdigest()
        if request.body is not None:
            told["body_sha256"] = hashlib.sha256(request.body).hexdigest()
        if self._stream.keep_headers:
            told["headers"] = {
                name: redact(answer.headers[name])
                for name in self._stream.keep_headers
                if name in answer.headers
            }
        return msgspec.json.encode(told).decode()


async def _cancel(flying: deque[tuple[Position, asyncio.Task[tuple[Request, CutPage, Answer]]]]) -> None:
    tasks = [task for _, task in flying]
    flying.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
