"""Every way pages follow each other: each record once, whatever leads on, and no way that leads nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

BOOKS = [{"id": n, "updated_at": f"2026-01-01T00:{n:02}:00Z"} for n in range(23)]


def following(start: int, size: int = 5) -> str | None:
    return f"after/{start + size}=" if start + size < len(BOOKS) else None


def start_of(token: Any) -> int:
    return int(str(token).removeprefix("after/").removesuffix("=")) if token else 0


async def header_cursor(request: web.Request) -> web.Response:
    start = start_of(request.query.get("cursor"))
    token = following(start)
    return answer(BOOKS[start : start + 5], 200, **({"X-Next-Cursor": token} if token else {}))


async def continue_object(request: web.Request) -> web.Response:
    """As MediaWiki does: all keys of ``continue`` go into the next request, and only they say where it is."""
    start = int(request.query.get("offset", 0)) + int(request.query.get("page.step", 0))
    assert ("offset" in request.query) == (request.query.get("continue") == "-||")
    way = {"continue": "-||", "offset": start, "page.step": 5}
    more = {"continue": way} if start + 5 < len(BOOKS) else {}
    return answer({**more, "query": {"books": BOOKS[start : start + 5]}})


QUERY = """
query ($shelf: ID!, $first: Int!, $after: String) {
  shelf(id: $shelf) { books(first: $first, after: $after) { nodes pageInfo { endCursor hasNextPage } } }
}
"""


async def graphql(request: web.Request) -> web.Response:
    asked = json.loads(await request.read())
    assert request.method == "POST" and asked["query"] == QUERY
    variables = asked["variables"]
    assert variables["shelf"] == "s1" and variables["first"] == 5
    start = start_of(variables.get("after"))
    page_info = {"endCursor": f"after/{start + 5}=", "hasNextPage": start + 5 < len(BOOKS)}
    books = {"nodes": BOOKS[start : start + 5], "pageInfo": page_info}
    return answer({"data": {"shelf": {"books": books}}})


async def post_body(request: web.Request) -> web.Response:
    asked = json.loads(await request.read())
    start = start_of(asked["page"].pop("after", None))
    assert asked == {"filter": {"tags": ["a", "b"], "open": True}, "page": {"limit": 5}, "a.b": 1}
    return answer({"items": BOOKS[start : start + 5], "next": following(start)})


async def capped_pages(request: web.Request) -> web.Response:
    start = (int(request.query["page"]) - 1) * 5
    return answer({"items": BOOKS[start : start + 5]})


async def header_with_a_link(request: web.Request) -> web.Response:
    """As Kinto does; and as PostgREST counts."""
    start = int(request.query.get("_token", 0))
    told = {"Content-Range": f"items {start}-{start + 4}/{len(BOOKS)}"}
    if start + 5 < len(BOOKS):
        told["Next-Page"] = str(request.url.with_query(_token=start + 5))
    return answer(BOOKS[start : start + 5], 200, **told)


async def counted_by_a_header(request: web.Request) -> web.Response:
    start = (int(request.query["page"]) - 1) * 5
    assert start < len(BOOKS)  # the count says that there is no page after the last
    return answer(BOOKS[start : start + 5], 200, **{"X-Total-Count": str(len(BOOKS))})


PAGING: dict[str, tuple[Any, dict[str, Any]]] = {
    "link in a header of its own": (
        header_with_a_link,
        {"paging": {"kind": "header_link", "header": "Next-Page", "total_header": "Content-Range"}},
    ),
    "page number, counted by a header": (
        counted_by_a_header,
        {"paging": {"kind": "page_number", "parameter": "page", "total_header": "X-Total-Count"}},
    ),
    "cursor in a header": (
        header_cursor,
        {"paging": {"kind": "header_cursor", "header": "X-Next-Cursor", "parameter": "cursor"}},
    ),
    "several keys at once": (
        continue_object,
        {"records": "query.books", "paging": {"kind": "continue_object", "next": "continue"}},
    ),
    "GraphQL": (
        graphql,
        {
            "query": QUERY, "parameters": {"shelf": "s1"}, "records": "data.shelf.books.nodes",
            "paging": {
                "kind": "cursor", "parameter": "after", "next": "data.shelf.books.pageInfo.endCursor",
                "more": "data.shelf.books.pageInfo.hasNextPage", "size_parameter": "first", "size": 5,
            },
        },
    ),
    "token at a path in a POST body": (
        post_body,
        {
            "method": "POST", "repeatable": True, "records": "items",
            "parameters": {"filter": {"tags": ["a", "b"]}, "filter.open": True, r"a\.b": 1},
            "paging": {
                "kind": "cursor", "parameter": "page.after", "next": "next",
                "size_parameter": "page.limit", "size": 5,
            },
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAGING)
def test_every_record_comes_exactly_once(serve: Callable[..., Api], kind: str) -> None:
    handler, stream = PAGING[kind]
    read = Read(RestSource(entry(serve(handler).url, stream), resolve))
    assert read.ids == [book["id"] for book in BOOKS]
    assert read.events == []


def test_a_size_that_the_server_caps_in_silence_is_told_and_the_pull_is_whole(
    serve: Callable[..., Api],
) -> None:
    paging = {"kind": "page_number", "parameter": "page", "size_parameter": "per_page", "size": 1000}
    read = Read(RestSource(entry(serve(capped_pages).url, {"records": "items", "paging": paging}), resolve))
    assert read.ids == [book["id"] for book in BOOKS]
    assert read.events == [{"event": "pages smaller than asked for", "stream": "books", "records": 5}]


def test_two_records_that_were_inserted_while_we_read_are_told_too(serve: Callable[..., Api]) -> None:
    async def shifting(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        shelf = BOOKS if page == 1 else [{"id": -2}, {"id": -1}, *BOOKS]
        return answer({"items": shelf[(page - 1) * 5 : page * 5]})

    stream = {"records": "items", "paging": {"kind": "page_number", "parameter": "page"}}
    read = Read(RestSource(entry(serve(shifting).url, stream), resolve))
    assert set(read.ids) == {book["id"] for book in BOOKS}
    assert read.events == [{"event": "pages overlapped", "stream": "books", "pages": 1}]


def graphql_answer(**body: Any) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return answer(body)

    return handle


async def vanishing(request: web.Request) -> web.Response:
    page = int(request.query["page"])
    shelf = BOOKS if page == 1 else BOOKS[1:]
    return answer({"items": shelf[(page - 1) * 5 : page * 5], "total": len(shelf)})


async def ever_the_same_header(request: web.Request) -> web.Response:
    return answer([{"at": len(request.query), "id": time.monotonic_ns()}], 200, **{"X-Next-Cursor": "abc"})


async def ever_the_same_object(request: web.Request) -> web.Response:
    return answer(
        {"query": {"books": [{"id": time.monotonic_ns()}]}, "continue": {"offset": 5, "continue": ""}}
    )


SOME = {"shelf": {"books": {"nodes": [1], "pageInfo": {"endCursor": None, "hasNextPage": True}}}}
ASTRAY = [
    ("GraphQL errors", graphql_answer(data=None, errors=[{"message": "no"}]), "GraphQL",
     "error at 'errors'"),
    ("GraphQL errors beside data", graphql_answer(data=SOME, errors=[{"message": "half"}]), "GraphQL",
     "error at 'errors'"),
    ("GraphQL: nothing there", graphql_answer(data={"shelf": None}), "GraphQL", "null instead of an array"),
    ("GraphQL: more, but no cursor", graphql_answer(data=SOME), "GraphQL", "but not how to get there"),
    ("the same header for ever", ever_the_same_header, "cursor in a header", "same next page twice"),
    ("the same object for ever", ever_the_same_object, "several keys at once", "same next page twice"),
    ("no object of parameters", graphql_answer(query={"books": [1]}, **{"continue": "x"}),
     "several keys at once", "is no object of parameters"),
    ("an object within the object", graphql_answer(query={"books": [1]}, **{"continue": {"a": {}}}),
     "several keys at once", "is no object of parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "kind", "told"), [case[1:] for case in ASTRAY],
                         ids=[case[0] for case in ASTRAY])  # fmt: skip
def test_a_way_that_leads_nowhere_never_passes_as_success(
    serve: Callable[..., Api], handler: Any, kind: str, told: str
) -> None:
    seen: list[object] = []
    with pytest.raises(AnswerUnusable, match=told):
        seen.extend(RestSource(entry(serve(handler).url, PAGING[kind][1]), resolve).read({}))
    assert not [item for item in seen if isinstance(item, Checkpoint)]


@pytest.mark.parametrize(
    ("count", "told"), [("24", "held 23 records, but the API counts 24"), ("many", "gives no total"),
                        ("items 0-4/*", "gives no total")],
)  # fmt: skip
def test_a_total_in_a_header_that_is_not_reached_or_none_is_told(
    serve: Callable[..., Api], count: str, told: str
) -> None:
    async def handle(request: web.Request) -> web.Response:
        start = (int(request.query["page"]) - 1) * 5
        return answer(BOOKS[start : start + 5], 200, **{"X-Total-Count": count})

    with pytest.raises(AnswerUnusable, match=told):
        Read(RestSource(entry(serve(handle).url, PAGING["page number, counted by a header"][1]), resolve))


@pytest.mark.parametrize(
    ("body", "told"), [({}, ""), ({"nextToken": None}, ""), ({"items": None}, ""),
                       ({"message": "no"}, "looks like an error"), ({"errors": [1]}, "error")],
)  # fmt: skip
def test_an_array_that_is_left_out_for_no_records_is_none_but_beside_an_error_it_is_told(
    serve: Callable[..., Api], body: dict[str, Any], told: str
) -> None:
    async def handle(request: web.Request) -> web.Response:
        return answer(body)

    source = RestSource(entry(serve(handle).url, {"records": "items", "null_is_empty": True}), resolve)
    if told:
        with pytest.raises(AnswerUnusable, match=told):
            Read(source)
    else:
        assert Read(source).records == []


def test_records_that_vanish_while_pages_are_counted_are_no_success(serve: Callable[..., Api]) -> None:
    """One is gone from page 1, so page 2 begins one too far: record 5 is on neither."""
    paging = {"kind": "page_number", "parameter": "page", "total": "total"}
    with pytest.raises(AnswerUnusable, match=r"1 records vanished while we read: 23 were 22 later"):
        Read(RestSource(entry(serve(vanishing).url, {"records": "items", "paging": paging}), resolve))


@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_no_page_beyond_a_known_total_is_asked_for(serve: Callable[..., Api], kind: str) -> None:
    async def handle(request: web.Request) -> web.Response:
        asked = request.query
        start = int(asked["at"]) if kind == "offset" else (int(asked["at"]) - 1) * 5
        return answer({"items": BOOKS[start : start + 5], "total": len(BOOKS)})

    paging = {"kind": kind, "parameter": "at", "size_parameter": "n", "size": 5, "total": "total"}
    api = serve(handle)
    source = entry(api.url, {"records": "items", "paging": paging}, concurrent_requests=4)
    assert Read(RestSource(source, resolve)).ids == [book["id"] for book in BOOKS]
    assert len(api.requests) == 5
