"""One request, until it is answered: redirects, limits, failures that pass, and answers that are none.

Nothing here quotes what the server said: an answer may hold records, or our own token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
from yarl import URL

from groundwork.errors import AnswerUnusable, SourceError, SourceRefused, SourceUnreachable
from groundwork.rest_catalog import RestConnection
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.pace import Pace, back_off, retry_after

T = TypeVar("T")

LARGEST_BODY = 256 << 20
"""Bytes of one answer that we are ready to hold in memory."""

_PASSING = {408, 425, 500, 502, 503, 504, *range(520, 531)}
"""Statuses that say "try again"; 520 to 530 are Cloudflare's."""

_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Request:
    """What we ask, before it is signed."""

    url: URL
    where: str
    """Source, stream and page, for messages."""
    method: str = "GET"
    body: bytes | None = None
    repeatable: bool = True
    """Sending it twice does no harm."""


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
    """Target of the ``Link`` header whose relation is ``next`` (RFC 8288), absolute."""
    fetched_at: datetime


class CutOff(Exception):
    """An answer that is not whole: worth asking again."""


@dataclass
class _Failure:
    """Why an attempt brought nothing, and what that means for the next."""

    what: str
    sent: bool = True
    """The server may have acted on the request."""
    cut_off: bool = False
    limited: bool = False
    """The server refused because we ask too often."""
    wait: float | None = None
    cause: BaseException | None = None


class Client:
    """Sends requests for one source, within one budget."""

    def __init__(self, source: str, connection: RestConnection, access: Access) -> None:
        """Prepare; must run in the event loop that will send."""
        self._access, self._retries = access, connection.retries
        self.pace = Pace(source, connection.requests_per_second, connection.max_wait_seconds)
        quiet = connection.timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connection.concurrent_requests),
            timeout=aiohttp.ClientTimeout(total=10 * quiet, sock_connect=quiet, sock_read=quiet),
            headers={"Accept": "application/json", "User-Agent": "groundwork", **access.headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
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
        while True:
            await self.pace.turn()
            outcome = await self._attempt(request)
            if isinstance(outcome, Answer):
                try:
                    return read(outcome)
                except CutOff as cut:
                    outcome = _Failure(str(cut), cut_off=True)
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

    def _check_retry(self, request: Request, failure: _Failure, failures: int) -> None:
        repeatable = request.repeatable or not failure.sent
        if repeatable and failures <= self._retries:
            return
        error: SourceError
        if not repeatable:
            error = SourceUnreachable(
                request.where,
                f"the request failed ({failure.what}) and was not sent again",
                why=f"a {request.method} may have an effect",
                fix="set 'repeatable: true' if it only searches",
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
                fix="check connection.base_url and that the API is up; the next run goes on here",
            )
        raise error from self._access.secrets.safe_cause(failure.cause)

    async def _attempt(self, request: Request) -> Answer | _Failure:
        failure: BaseException
        try:
            return await self._send(request)
        except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError) as error:
            return _Failure("the body was cut off", cut_off=True, cause=error)
        except aiohttp.ClientConnectorCertificateError as error:
            failure = error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return _Failure("no connection", sent=False, cause=error)
        except TimeoutError as error:
            return _Failure("no answer in time", cause=error)
        except (aiohttp.ClientError, OSError) as error:
            return _Failure(f"connection broke: {type(error).__name__}", cause=error)
        raise SourceUnreachable(
            request.where,
            "the server's certificate is not trusted",
            fix="check the host name in connection.base_url and this machine's certificates",
        ) from self._access.secrets.safe_cause(failure)

    async def _send(self, request: Request) -> Answer | _Failure:
        url, method, body = self._access.signed(request.url), request.method, request.body
        headers = {"Content-Type": "application/json"} if body is not None else None
        for _ in range(6):
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status in _REDIRECTS:
                    url = self._redirected(request, url, response)
                    if response.status == 303:
                        method, body = "GET", None
                    continue
                if not 200 <= response.status < 300:
                    return _refusal(request, response)
                return Answer(
                    body=await _whole(request, response),
                    url=url,
                    status=response.status,
                    content_type=response.content_type or "",
                    headers=response.headers,
                    next_link=_next_link(response),
                    fetched_at=datetime.now(UTC),
                )
        raise AnswerUnusable(request.where, "the API redirects us in a circle")

    def _redirected(self, request: Request, url: URL, response: aiohttp.ClientResponse) -> URL:
        target = url.join(URL(response.headers.get("Location", ""), encoded=True))
        if not self._access.ours(target):
            raise SourceRefused(
                request.where,
                f"the API redirects to another host ({target.scheme}://{target.host})",
                why="the token goes nowhere else",
                fix="if that host is right, write it in connection.base_url",
            )
        return self._access.signed(target)


async def _whole(request: Request, response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > LARGEST_BODY:
            raise AnswerUnusable(
                request.where, f"the answer is larger than {LARGEST_BODY >> 20} MB",
                fix="ask for smaller pages (paging.size)",
            )  # fmt: skip
        pieces.append(piece)
    return b"".join(pieces)


def _next_link(response: aiohttp.ClientResponse) -> str | None:
    if "Link" not in response.headers:
        return None
    for link in response.links.values():
        if "next" in str(link.get("rel", "")).lower().split():
            return str(link["url"])
    return None


def _refusal(request: Request, response: aiohttp.ClientResponse) -> _Failure:
    """What a status other than 2xx means: a failure that may pass, or an error now."""
    status, said = response.status, f"status {response.status}"
    wait = retry_after(response.headers, datetime.now(UTC))
    spent = response.headers.get("X-RateLimit-Remaining") == "0"
    if status == 429 or (status == 503 and wait is not None):
        return _Failure(said, limited=True, wait=wait)
    if status == 403 and (spent or wait is not None):  # GitHub's way of saying 429
        return _Failure(said, limited=True, wait=wait)
    if status in _PASSING:
        return _Failure(said, wait=wait)
    if status in (401, 407):
        what, fix = "the API does not know us", "check the secret that connection.auth names"
    elif status == 403:
        what, fix = "the API does not let us read this", "check the rights of the token"
    elif status in (404, 410):
        what = "the API knows no such path"
        fix = "check the stream's endpoint and the path in connection.base_url"
    elif status in (400, 422):
        what = "the API does not accept the request"
        fix = "check parameters, paging and cursor of the stream against the API's manual"
    elif status >= 500:
        what, fix = "the API failed", "tell its owner; trying again does not help"
    else:
        what, fix = "the API refuses", "look the status up in the API's manual"
    raise Refused(status, request.where, f"{what} ({said})", fix=fix)


class Refused(SourceRefused):
    """A refusal whose status is known, so that a lost position can be told from a wrong path."""

    def __init__(self, status: int, where: str, what: str, *, why: str = "", fix: str = "") -> None:
        """Keep the status."""
        super().__init__(where, what, why=why, fix=fix)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling as a plain `SourceRefused`."""
        return (_as_refused, (self.where, self.what, self.why, self.fix))


def _as_refused(where: str, what: str, why: str, fix: str) -> SourceRefused:
    return SourceRefused(where, what, why=why, fix=fix)
