"""One request, until it is answered: redirects, limits, failures that pass, signatures that ran out.

Nothing here quotes what the server said: an answer may hold records, or our own token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import aiohttp
from yarl import URL

from groundwork.catalog.rest import RestConnection, RestRateLimit
from groundwork.errors import AnswerUnusable, SourceError, SourceUnreachable
from groundwork.sources.rest.auth import Access, Credential, Outgoing
from groundwork.sources.rest.bodies import HEAD_LIMITS, LARGEST_BODY, body_of, unreadable_head
from groundwork.sources.rest.content_encoding import ACCEPTED, CutOff
from groundwork.sources.rest.links import next_link
from groundwork.sources.rest.pace import Pace, back_off
from groundwork.sources.rest.refusals import Failure, Refused, failure_of, oauth_code

T = TypeVar("T")

_READ_AHEAD = 4 << 20
"""Bytes of an answer that may wait to be looked at; with fewer, reading stops and starts all the time."""

_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Request:
    """What we ask, before it is signed."""

    url: URL
    where: str
    """Source, stream and page, for messages."""
    method: str = "GET"
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True
    """Sending it twice does no harm."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More headers; a body is JSON unless they say otherwise."""
    follow: bool = True
    """A redirect is followed; if not, it is the answer."""
    into: Path | None = None
    """File that the body goes to instead of memory."""
    most: int = LARGEST_BODY
    """Bytes of the body, unpacked, that are accepted."""
    for_token: bool = False
    """Asks a token endpoint, whose error codes are a fixed list that may be told."""


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    body: bytes = field(repr=False)
    url: URL = field(repr=False)
    """The URL that answered, as it was sent."""
    status: int
    content_type: str
    headers: Mapping[str, str] = field(repr=False)
    next_link: str | None
    """Target of the ``Link`` header whose relation is ``next``, as it is written."""
    sent_at: datetime
    """When the request that was answered went out; earlier attempts are not told."""
    fetched_at: datetime

    @property
    def unchanged(self) -> bool:
        """Whether the API says that nothing changed since the answer we remember (RFC 9110 §15.4.5)."""
        return self.status == 304


class Client:
    """Sends requests for one source, within one budget."""

    def __init__(
        self, source: str, connection: RestConnection, access: Access, pace: Pace | None = None
    ) -> None:
        """Prepare; must run in the event loop that will send.

        Args:
            source: name of the source.
            connection: how gently to ask.
            access: whom to ask.
            pace: the budget to share; one of its own when None.
        """
        self._access, self._retries = access, connection.retries
        self._limit = connection.rate_limit
        self.credential: Credential | None = None
        """What each request is signed with, beside what the access holds."""
        self.pace = pace or Pace(source, connection.requests_per_second, connection.max_wait_seconds)
        self._headers = {
            "Accept": "application/json, */*;q=0.5",
            "Accept-Encoding": ACCEPTED,
            "User-Agent": "groundwork",
            **access.headers,
        }
        quiet = connection.timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connection.concurrent_requests),
            timeout=aiohttp.ClientTimeout(total=10 * quiet, sock_connect=quiet, sock_read=quiet),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,
            **HEAD_LIMITS,
        )

    async def close(self) -> None:
        """Sign out and close all connections."""
        try:
            if self.credential:
                await self.credential.close()
        finally:
            await self._session.close()

    async def ask(self, request: Request, read: Callable[[Answer], T]) -> T:
        """Send until there is an answer, and read it.

        Args:
            request: what to ask.
            read: turns an answer with a 2xx status into what is wanted; raises `CutOff` for a
                body that ends early.

        Raises:
            SourceRefused: wrong credentials, missing rights, a wrong path or parameter.
            SourceUnreachable: no answer within the retries and the wait that the catalog allows.
            AnswerUnusable: an answer that is not data.
        """
        failures = limits = 0
        renewed = False
        while True:
            await self.pace.turn()
            outcome = await self._attempt(request)
            if isinstance(outcome, Answer):
                try:
                    return read(outcome)
                except CutOff as cut:
                    outcome = Failure(str(cut), cut_off=True)
            if outcome.refused:
                await self._sign_anew(outcome.refused, outcome, renewed)
                renewed = True
                continue
            if outcome.limited:
                limits += 1
            else:
                failures += 1
                self._check_retry(request, outcome, failures)
            wait = back_off(limits if outcome.limited else failures)
            if outcome.wait is not None:
                # The server's word is a minimum; the jitter keeps a crowd from coming back as one.
                wait = outcome.wait + back_off(1) if outcome.wait else wait
            self.pace.hold(wait, request.where, outcome.what)

    async def once(self, request: Request) -> bool:
        """Send once, for things that may fail; whether there was a good answer."""
        try:
            return isinstance(await self._attempt(request), Answer)
        except SourceError:
            return False

    async def _sign_anew(self, refused: Refused, failure: Failure, renewed: bool) -> None:
        """Return if the request is worth sending again with a newer signature; else raise."""
        if self.credential is None or failure.signature is None:
            raise refused
        if not renewed and await self.credential.refused(refused.status, failure.signature):
            return
        if renewed:
            raise Refused(
                refused.status, refused.where, refused.what,
                why="a token renewed just before was refused as well", fix=refused.fix,
            )  # fmt: skip
        raise refused

    def _check_retry(self, request: Request, failure: Failure, failures: int) -> None:
        repeatable = request.repeatable or not failure.sent
        if repeatable and failures <= self._retries:
            return
        error: SourceError
        if not repeatable:
            error = SourceUnreachable(
                request.where,
                f"the request failed ({failure.what}) and was not sent again",
                why=f"a {request.method} may have an effect",
                fix="set 'repeatable: true' if it only searches, or 'idempotency_header' if the API has one",
            )
        elif failure.cut_off:
            error = AnswerUnusable(
                request.where,
                f"the answer is not whole, {failures} times ({failure.what})",
                fix="ask for smaller pages (paging.size), or tell the API's owner",
            )
        else:
            error = SourceUnreachable(
                request.where,
                f"no answer after {failures} attempts ({failure.what})",
                fix=f"check {self._access.key} and that the API is up; an incremental stream goes on here in "
                "the next run",
            )
        raise error from self._access.secrets.safe_cause(failure.cause)

    async def _attempt(self, request: Request) -> Answer | Failure:
        failure: BaseException
        is_http = True
        try:
            return await self._send(request)
        except CutOff as error:
            return Failure(str(error), cut_off=True)
        except aiohttp.ClientResponseError as error:
            failure, is_http = error, False
        except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError) as error:
            return Failure("the body was cut off", cut_off=True, cause=error)
        except aiohttp.ClientConnectorCertificateError as error:
            failure = error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Failure("no connection", sent=False, cause=error)
        except TimeoutError as error:
            return Failure("no answer in time", cause=error)
        except (aiohttp.ClientError, OSError) as error:
            return Failure(f"connection broke: {type(error).__name__}", cause=error)
        if not is_http:
            raise unreadable_head(request.where) from self._access.secrets.safe_cause(failure)
        raise SourceUnreachable(
            request.where,
            "the server's certificate is not trusted",
            fix=f"check the host name in {self._access.key} and this machine's certificates",
        ) from self._access.secrets.safe_cause(failure)

    async def _send(self, request: Request) -> Answer | Failure:
        url, method, body = self._access.signed(request.url), request.method, request.body
        for _ in range(6):
            url = self._access.gate.passed(url, request.where)
            headers, signature = await self._signed(request, method, url, body)
            sent_at = datetime.now(UTC)
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status in _REDIRECTS and request.follow and not self._refuses(response.status):
                    url = self._redirected(request, url, response)
                    if response.status == 303:
                        method, body = "GET", None
                    continue
                if not _good(request, response.status):
                    return await _failed(request, response, signature, self._limit)
                return Answer(
                    body=await body_of(response, request.where, request.into, request.most),
                    url=url,
                    status=response.status,
                    content_type=response.content_type or "",
                    headers=response.headers,
                    next_link=next_link(response.headers.getall("Link", ())),
                    sent_at=sent_at,
                    fetched_at=datetime.now(UTC),
                )
        raise AnswerUnusable(request.where, "the API redirects us in a circle")

    def _refuses(self, status: int) -> bool:
        """Whether a redirect is this API's way to say that a session is over (it leads to the login)."""
        return self.credential is not None and status in self.credential.renew_on

    async def _signed(
        self, request: Request, method: str, url: URL, body: bytes | None
    ) -> tuple[dict[str, str], Mapping[str, str] | None]:
        """The headers of one request, and those of them that are its signature."""
        headers = dict(request.headers)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.credential is None:
            return headers, None
        outgoing = Outgoing(method, str(url), {**self._headers, **headers}, body or b"")
        signature = await self.credential.sign(outgoing)
        return {**headers, **signature}, signature

    def _redirected(self, request: Request, url: URL, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location", "")
        if not location:
            raise AnswerUnusable(
                request.where, f"the API redirects us ({response.status}) and does not say where to"
            )
        target = self._access.gate.resolved(url, location, request.where, "the target of a redirect")
        return self._access.signed(target)


def _good(request: Request, status: int) -> bool:
    """Whether an answer is one to read."""
    if status == 304:
        return request.headers.keys() & {"If-None-Match", "If-Modified-Since"} != set()
    return 200 <= status < 300 or (status in _REDIRECTS and not request.follow)


async def _failed(
    request: Request,
    response: aiohttp.ClientResponse,
    signature: Mapping[str, str] | None,
    declared: RestRateLimit | None,
) -> Failure:
    failure = failure_of(response.status, response.headers, request.where, declared)
    failure.signature = signature
    if request.for_token and failure.refused:
        failure.refused.code = oauth_code(await body_of(response, request.where, None, LARGEST_BODY))
    return failure
