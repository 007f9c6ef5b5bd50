"""REST sources against a real server: pages, authentication, exact text."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from groundwork.errors import CatalogError, SourceRefused
from groundwork.sources import Rows
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import SECRET, Read, entry, resolve

BOOKS = [{"id": number, "name": f"book {number}"} for number in range(1, 24)]


def page_of(request: web.Request, start: int, size: int = 5) -> list[dict[str, Any]]:
    return BOOKS[start : start + size]


async def page_number(request: web.Request) -> web.Response:
    return answer({"items": page_of(request, (int(request.query["page"]) - 1) * 5)})


async def page_number_with_total(request: web.Request) -> web.Response:
    start = (int(request.query["page"]) - 1) * 5
    return answer({"items": page_of(request, start), "meta": {"total": len(BOOKS)}})


async def offset(request: web.Request) -> web.Response:
    size = min(int(request.query["limit"]), 4)  # a cap it does not tell
    return answer(page_of(request, int(request.query["skip"]), size))


async def cursor(request: web.Request) -> web.Response:
    start = int(base64.urlsafe_b64decode(request.query.get("after", "") or "MA=="))
    more = start + 5 < len(BOOKS)
    token = base64.urlsafe_b64encode(str(start + 5).encode()).decode() if more else None
    return answer({"data": page_of(request, start), "next": token, "has_more": more})


async def keyset(request: web.Request) -> web.Response:
    after = int(request.query.get("after_id", 0))
    return answer([book for book in BOOKS if book["id"] > after][:5])  # type: ignore[operator]


async def json_link(request: web.Request) -> web.Response:
    start = int(request.query.get("from", 0))
    link = f"/books?from={start + 5}&q=a%2Bb%20c" if start + 5 < len(BOOKS) else None
    if link and start % 10:
        link = f"http://{request.host}{link}"
    return answer({"data": page_of(request, start), "@odata.nextLink": link})


async def header_link(request: web.Request) -> web.Response:
    start = int(request.query.get("from", 0))
    links = '</books?from=0>; rel="first"'
    if start + 5 < len(BOOKS):
        links += f', </books?from={start + 5}>; title="a, b"; rel="next nofollow"'
    return answer(page_of(request, start), Link=links)


async def single(request: web.Request) -> web.Response:
    return answer({"data": {"list": BOOKS}})


async def search(request: web.Request) -> web.Response:
    asked = json.loads(await request.read())
    assert request.method == "POST" and asked["deep"] is True
    return answer({"items": page_of(request, (asked["page"] - 1) * 5)})


PAGING: dict[str, tuple[Any, dict[str, Any]]] = {
    "page number": (
        page_number, {"records": "items", "paging": {"kind": "page_number", "parameter": "page"}},
    ),
    "page number and total": (
        page_number_with_total,
        {
            "records": "items",
            "paging": {"kind": "page_number", "parameter": "page", "total": "meta.total"},
        },
    ),
    "offset, pages capped in silence": (
        offset,
        {"paging": {"kind": "offset", "parameter": "skip", "size_parameter": "limit", "size": 7}},
    ),
    "cursor in the body": (
        cursor,
        {
            "records": "data",
            "paging": {"kind": "cursor", "parameter": "after", "next": "next", "more": "has_more"},
        },
    ),
    "keyset by the last record": (
        keyset, {"paging": {"kind": "cursor", "parameter": "after_id", "last_field": "id"}},
    ),
    "link in the body": (
        json_link,
        {"records": "data", "paging": {"kind": "json_link", "next": r"@odata\.nextLink"}},
    ),
    "link in the header": (header_link, {"paging": {"kind": "header_link"}}),
    "single page": (single, {"records": "data.list"}),
    "page number in a POST body": (
        search,
        {
            "records": "items", "method": "POST", "repeatable": True, "parameters": {"deep": True},
            "paging": {"kind": "page_number", "parameter": "page"},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAGING)
@pytest.mark.parametrize("concurrent", [1, 4])
def test_every_record_comes_exactly_once(serve: Callable[..., Api], kind: str, concurrent: int) -> None:
    handler, stream = PAGING[kind]
    api = serve(handler)
    read = Read(RestSource(entry(api.url, stream, concurrent_requests=concurrent), resolve))
    assert read.ids == [book["id"] for book in BOOKS]
    assert read.frame["_operation"].to_list() == ["truncate"] + ["snapshot"] * len(BOOKS)


def test_each_record_stands_as_it_was_sent(serve: Callable[..., Api]) -> None:
    records = [
        '{"id": 1, "big": 123456789012345678901234567890, "dec": 0.10000000000000000005}',
        '{"id":2,"twice":1,"twice":2,  "exp":1E+400,"code":"007" }',
        '{"id":3,"text":"\\u00e9\\ud83d\\ude00 ü \\u0000","deep":{"a":[1.0,[],{}]}}',
        "[1, 2]", "17.50", '"text"', "null", "{}",
    ]  # fmt: skip

    async def odd(request: web.Request) -> web.Response:
        return answer(('\ufeff{"data" : [ ' + " ,\n ".join(records) + " ] }").encode())

    read = Read(RestSource(entry(serve(odd).url, {"records": "data"}), resolve))
    assert read.records == records
    assert read.frame.schema["record"] == pl.String


def test_every_row_tells_the_request_it_came_from(serve: Callable[..., Api]) -> None:
    api = serve(page_number)
    auth = {"kind": "api_key", "in": "query", "name": "key", "token": {"secret": "books-key"}}
    stream = {**PAGING["page number"][1], "parameters": {"sort": "id", "all": True}}
    read = Read(RestSource(entry(api.url, stream, auth=auth), resolve))
    request = json.loads(read.frame["_request"][7])
    assert request["sent_at"] <= request["fetched_at"]
    assert request.pop("sent_at").endswith("+00:00") and request.pop("fetched_at").endswith("+00:00")
    assert request == {
        "url": f"{api.url}/books?sort=id&all=true&page=2", "method": "GET", "page": 2, "status": 200
    }  # fmt: skip
    assert api.queries[0]["key"] == SECRET


AUTH = [
    ({"kind": "bearer", "token": {"secret": "t"}}, "Authorization", f"Bearer {SECRET}"),
    ({"kind": "api_key", "token": {"secret": "t"}}, "X-API-Key", SECRET),
    (
        {"kind": "api_key", "token": {"secret": "t"}, "name": "Authorization", "prefix": "Token"},
        "Authorization", f"Token {SECRET}",
    ),
    (
        {"kind": "basic", "username": "ann", "password": {"secret": "p"}},
        "Authorization", "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode(),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("auth", "header", "value"), AUTH)
def test_each_kind_of_authentication_is_sent(
    serve: Callable[..., Api], auth: dict[str, Any], header: str, value: str
) -> None:
    async def guarded(request: web.Request) -> web.Response:
        known = request.headers.get(header) == value
        return answer(BOOKS) if known else answer({"message": "who are you?"}, 401)

    api = serve(guarded)
    assert len(Read(RestSource(entry(api.url, {}, auth=auth), resolve)).ids) == len(BOOKS)
    with pytest.raises(SourceRefused, match=r"stream 'books', page 1: the API does not know us"):
        Read(RestSource(entry(api.url, {}), resolve))


@pytest.mark.parametrize("place", ["json", "header", "redirect"])
def test_the_token_goes_to_no_other_host(serve: Callable[..., Api], place: str) -> None:
    thief = serve(single)

    async def luring(request: web.Request) -> web.Response:
        if place == "redirect":
            return web.Response(status=302, headers={"Location": f"{thief.url}/books"})
        header = {"Link": f'<{thief.url}/books>; rel="next"'} if place == "header" else {}
        return answer({"data": BOOKS, "next": f"{thief.url}/books"}, **header)

    paging = {"kind": "header_link"} if place == "header" else {"kind": "json_link", "next": "next"}
    auth = {"kind": "bearer", "token": {"secret": "t"}}
    source = RestSource(entry(serve(luring).url, {"records": "data", "paging": paging}, auth=auth), resolve)
    with pytest.raises(SourceRefused, match="another host"):
        Read(source)
    assert thief.requests == []


def test_a_redirect_on_the_same_host_is_followed_with_the_token(serve: Callable[..., Api]) -> None:
    async def moved(request: web.Request) -> web.Response:
        if request.path == "/books":
            return web.Response(status=301, headers={"Location": "/v2/books"})
        assert request.headers["Authorization"] == f"Bearer {SECRET}"
        return answer(BOOKS)

    auth = {"kind": "bearer", "token": {"secret": "t"}}
    assert len(Read(RestSource(entry(serve(moved).url, {}, auth=auth), resolve)).ids) == 23


def test_closing_a_read_ends_its_thread_and_asks_no_more(serve: Callable[..., Api]) -> None:
    async def endless(request: web.Request) -> web.Response:
        at = int(request.query.get("page", 1))
        return answer([{"id": at * 10 + n} for n in range(10)])

    api = serve(endless)
    before = threading.active_count()
    stream = {"paging": {"kind": "page_number", "parameter": "page"}}
    source = RestSource(entry(api.url, stream), resolve, sizes=Sizes(batch_rows=50))
    reading = source.read({})
    assert isinstance(next(reading), Rows)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    asked = len(api.requests)
    assert asked < 30  # read ahead within a bound
    with pytest.raises(StopIteration):
        next(reading)
    assert len(api.requests) == asked


@pytest.mark.parametrize("url", ["ftp://host", "not a url", "", "http://user:pw@host", "http://"])
def test_a_base_url_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(CatalogError, match=r"connection\.base_url") as caught:
        RestSource(entry(url, {}), resolve)
    assert "pw" not in str(caught.value)
