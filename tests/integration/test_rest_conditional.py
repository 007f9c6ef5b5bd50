"""Conditional requests, the record of each request, and what may be sent twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import SourceRefused
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer, reset
from tests.integration.rest_reading import Read, entry, resolve


class Shelf:
    """Books whose state has a name (ETag) and a time, by which the API answers 304 (RFC 9110 §13.2)."""

    def __init__(self, *, by: str = "etag", age: timedelta = timedelta(hours=1)) -> None:
        self.by, self.books, self.answered = by, [{"id": 1}, {"id": 2}], list[int]()
        self.changed = datetime.now(UTC).replace(microsecond=0) - age

    @property
    def etag(self) -> str:
        return f'W/"{hashlib.sha256(json.dumps(self.books).encode()).hexdigest()[:8]}"'

    async def __call__(self, request: web.Request) -> web.Response:
        last = format_datetime(self.changed, usegmt=True)
        headers = {"ETag": self.etag} if self.by == "etag" else {"Last-Modified": last}
        headers["Date"] = format_datetime(datetime.now(UTC), usegmt=True)
        same = (
            request.headers.get("If-None-Match") == self.etag
            if self.by == "etag"
            else request.headers.get("If-Modified-Since") == last
        )
        self.answered.append(304 if same else 200)
        since = request.query.get("since", "")
        books = [book for book in self.books if str(book.get("at", since)) >= since]
        return web.Response(status=304, headers=headers) if same else answer(books, **headers)


@pytest.mark.parametrize("by", ["etag", "last modified"])
def test_what_did_not_change_is_not_sent_again(serve: Callable[..., Api], by: str) -> None:
    shelf = Shelf(by=by)
    api = serve(shelf)
    first = Read(RestSource(entry(api.url, {}), resolve))
    second = Read(RestSource(entry(api.url, {}), resolve), first.cursors)
    assert shelf.answered == [200, 304]
    assert second.frame.is_empty() and second.cursors == first.cursors

    shelf.books, shelf.changed = [{"id": 3}, {"id": 4}], shelf.changed + timedelta(minutes=5)
    third = Read(RestSource(entry(api.url, {}), resolve), second.cursors)
    assert third.ids == [3, 4] and third.frame["_operation"][0] == "truncate"
    Read(RestSource(entry(api.url, {}), resolve), third.cursors)
    assert shelf.answered == [200, 304, 200, 304]


def test_a_time_so_young_that_a_change_could_hide_behind_it_is_not_relied_on(
    serve: Callable[..., Api],
) -> None:
    shelf = Shelf(by="last modified", age=timedelta(seconds=1))
    api = serve(shelf)
    first = Read(RestSource(entry(api.url, {}), resolve))
    shelf.books = [{"id": 5}, {"id": 6}]  # changed within the same second
    assert Read(RestSource(entry(api.url, {}), resolve), first.cursors).ids == [5, 6]


@pytest.mark.parametrize(
    "changed",
    [
        {"conditional": False},
        {"parameters": {"all": True}},
        {"null_is_empty": True, "paging": {"kind": "page_number", "parameter": "page"}},
    ],
)
def test_another_question_or_an_opt_out_is_asked_in_full(
    serve: Callable[..., Api], changed: dict[str, Any]
) -> None:
    shelf = Shelf()

    async def once(request: web.Request) -> web.Response:
        if int(request.query.get("page", 1)) > 1:
            return answer([])
        return await shelf(request)

    api = serve(once)
    first = Read(RestSource(entry(api.url, {}), resolve))
    second = Read(RestSource(entry(api.url, changed), resolve), first.cursors)
    assert shelf.answered == [200, 200] and second.cursors["books"]["records"] == 2


def test_an_incremental_stream_of_one_page_is_asked_conditionally_too(serve: Callable[..., Api]) -> None:
    shelf = Shelf()
    shelf.books = [{"id": n, "at": f"2026-01-0{n}T00:00:00Z"} for n in (1, 2)]  # type: ignore[dict-item]
    api = serve(shelf)
    stream = {"replication": "incremental", "cursor": {"field": "at", "parameter": "since"}}
    cursors: dict[str, Any] = {}
    counts = []
    for _ in range(4):
        read = Read(RestSource(entry(api.url, stream), resolve), cursors)
        cursors = read.cursors
        counts.append(len(read.records))
    # asked from another time on in the second pull, and the same from then on
    assert shelf.answered == [200, 200, 304, 304] and counts == [2, 0, 0, 0]
    shelf.books.append({"id": 3, "at": "2026-01-03T00:00:00Z"})  # type: ignore[dict-item]
    assert Read(RestSource(entry(api.url, stream), resolve), cursors).ids == [3]


def test_a_304_that_nobody_asked_for_is_no_answer(serve: Callable[..., Api]) -> None:
    async def odd(request: web.Request) -> web.Response:
        return web.Response(status=304)

    with pytest.raises(SourceRefused, match="status 304"):
        Read(RestSource(entry(serve(odd).url, {}), resolve))


def test_the_body_and_the_chosen_headers_stand_beside_each_record(serve: Callable[..., Api]) -> None:
    async def search(request: web.Request) -> web.Response:
        headers = {"ETag": '"5"', "X-Request-Id": "r-1", "X-Echo": request.headers["Authorization"]}
        return answer([{"id": 1}], **headers)

    api = serve(search)
    stream = {
        "method": "POST", "repeatable": True, "parameters": {"q": "ä"},
        "keep_headers": ["etag", "X-Request-Id", "X-Echo", "X-None"],
    }  # fmt: skip
    auth = {"kind": "bearer", "token": {"secret": "t"}}
    read = Read(RestSource(entry(api.url, stream, auth=auth), resolve))
    request = json.loads(read.frame["_request"][1])
    sent = '{"q":"ä"}'.encode()
    assert request["body_sha256"] == hashlib.sha256(sent).hexdigest()
    assert request["headers"] == {"etag": '"5"', "X-Request-Id": "r-1", "X-Echo": "Bearer ***"}
    assert (request["method"], request["page"], request["status"]) == ("POST", 1, 200)
    assert request["sent_at"] <= request["fetched_at"]


def test_a_post_with_an_idempotency_key_is_sent_again_with_the_same_one(serve: Callable[..., Api]) -> None:
    keys: list[str] = []

    async def shaky(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            return await reset(request)
        page = json.loads(await request.read())["page"]
        return answer([{"id": page}] if page < 3 else [])

    stream = {
        "method": "POST", "idempotency_header": "Idempotency-Key",
        "paging": {"kind": "page_number", "parameter": "page"},
    }  # fmt: skip
    read = Read(RestSource(entry(serve(shaky).url, stream), resolve))
    assert read.ids == [1, 2]
    assert keys[0] == keys[1] and len(set(keys)) == 3
