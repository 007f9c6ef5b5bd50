"""Well-known ways of APIs, each said by configuration alone and read from a server: every record once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

BOOKS = [{"id": n, "updated_at": f"2026-01-01T00:{n:02}:00Z"} for n in range(23)]
SIZE = 5
Reply = Callable[[web.Request, int, list[dict[str, Any]], bool], web.Response]


def paged(reply: Reply, first: int = 1) -> Any:
    """A handler of an API whose pages have numbers; past its last page it answers 404."""

    async def handle(request: web.Request) -> web.Response:
        page = int(request.query.get("page", first)) - first
        if page * SIZE >= len(BOOKS):
            return answer({"code": "no such page"}, 404)
        return reply(request, page, BOOKS[page * SIZE : (page + 1) * SIZE], (page + 1) * SIZE < len(BOOKS))

    return handle


def fhir(request: web.Request, page: int, books: list[dict[str, Any]], more: bool) -> web.Response:
    links = [{"relation": "self", "url": "/"}, {"relation": "next", "url": f"/books?page={page + 2}"}]
    return answer({"total": len(BOOKS), "link": links if more else links[:1], "books": books})


def rels(request: web.Request, page: int, books: list[dict[str, Any]], more: bool) -> web.Response:
    links = [{"rel": ["last", "self"], "href": "?page=9"}, {"rel": ["next"], "href": f"?page={page + 2}"}]
    return answer({"meta": {"links": links if more else links[:1]}, "books": books})


def first_of_list(request: web.Request, page: int, books: list[dict[str, Any]], more: bool) -> web.Response:
    return answer({"cursors": [page, page + 2] if more else [page, None], "books": books})


def listed(request: web.Request, page: int, books: list[dict[str, Any]], more: bool) -> web.Response:
    return answer([{"page": page, "total": len(BOOKS)}, books])


def saying(name: str, of_more: Any, of_last: Any) -> Reply:
    def reply(request: web.Request, page: int, books: list[dict[str, Any]], more: bool) -> web.Response:
        return answer({name: of_more if more else of_last, "books": books})

    return reply


NUMBERED = {"kind": "page_number", "parameter": "page"}
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "FHIR's links": (
        paged(fhir),
        {"kind": "json_link", "next": "link[relation=next].url", "total": "total"},
    ),
    "relations in a list": (paged(rels), {"kind": "json_link", "next": "meta.links[rel=next].href"}),
    "a cursor at a place of a list": (
        paged(first_of_list),
        {"kind": "cursor", "parameter": "page", "next": "cursors[-1]"},
    ),
    "an end flag": (paged(saying("last", False, True)), {**NUMBERED, "end": "last"}),
    "an end flag, as text": (paged(saying("is_last", "false", "true")), {**NUMBERED, "end": "is_last"}),
    "a state that is the end": (
        paged(saying("state", "RUNNING", "DONE")),
        {**NUMBERED, "end": "state", "end_values": ["DONE"]},
    ),
    "a flag of more": (paged(saying("has_more", True, False)), {**NUMBERED, "more": "has_more"}),
    "a flag of more, as text": (paged(saying("has_more", "True", "False")), {**NUMBERED, "more": "has_more"}),
    "a flag of more, Y or N": (paged(saying("more", "Y", "N")), {**NUMBERED, "more": "more"}),
    "how many are left": (paged(saying("left", 3, 0)), {**NUMBERED, "more": "left"}),
    "a state that is more": (
        paged(saying("state", "PARTIAL", "FULL")),
        {**NUMBERED, "more": "state", "more_values": ["PARTIAL"]},
    ),
    "404 past the end": (
        paged(saying("a", 1, 1)),
        {**NUMBERED, "past_the_end": [404]},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_record_comes_once_by_configuration_alone(serve: Callable[..., Api], way: str) -> None:
    handler, paging = WAYS[way]
    read = Read(RestSource(entry(serve(handler).url, {"records": "books", "paging": paging}), resolve))
    assert read.ids == [book["id"] for book in BOOKS]
    assert read.events == []


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
def test_records_may_stand_in_a_list_beside_what_is_said_of_the_page(
    serve: Callable[..., Api], replication: str
) -> None:
    what = {
        "records": "[1]",
        "paging": {**NUMBERED, "total": "[0].total"},
        "replication": replication,
        "primary_key": ["id"],
        "columns": {"id": {"type": "integer"}},
    }
    if replication == "incremental":
        what["cursor"] = {"field": "updated_at", "parameter": "since"}
    read = Read(RestSource(entry(serve(paged(listed)).url, what), resolve))
    assert read.ids == [book["id"] for book in BOOKS]


def test_a_cursor_may_stand_in_a_list_of_the_record(serve: Callable[..., Api]) -> None:
    async def handle(request: web.Request) -> web.Response:
        times = [{"of": "made", "at": "2020-01-01"}, {"of": "changed", "at": "2026-01-02"}]
        return answer([{"id": 1, "times": times}, {"id": 2, "times": times}])

    what = {"replication": "incremental", "cursor": {"field": "times[of=changed].at", "parameter": "since"}}
    read = Read(RestSource(entry(serve(handle).url, what), resolve))
    assert read.cursors["books"]["highest"] == "2026-01-02"


@pytest.mark.parametrize("size", [400, 416, 410])
def test_a_page_past_the_end_ends_the_pull_with_any_status_that_the_catalog_names(
    serve: Callable[..., Api], size: int
) -> None:
    async def handle(request: web.Request) -> web.Response:
        start = int(request.query["from"])
        return answer(BOOKS[start : start + SIZE], 200 if start < len(BOOKS) else size)

    paging = {"kind": "offset", "parameter": "from", "size_parameter": "n", "size": SIZE}
    ends = {"paging": {**paging, "past_the_end": [400, 410, 416]}}
    assert Read(RestSource(entry(serve(handle).url, ends), resolve)).ids == [book["id"] for book in BOOKS]
    with pytest.raises(SourceRefused):
        Read(RestSource(entry(serve(handle).url, {"paging": paging}), resolve))


async def nothing_there(request: web.Request) -> web.Response:
    return answer({}, 404)


NO_END = [
    ("the first page", nothing_there, {}, "knows no such path"),
    ("a page that says more", paged(saying("has_more", True, True)), {"more": "has_more"}, "no such path"),
    ("a page that is not the last", paged(saying("last", False, False)), {"end": "last"}, "no such path"),
    ("a total that is not reached", paged(saying("total", 30, 30)), {"total": "total"}, "the API counts 30"),
]


@pytest.mark.parametrize(
    ("handler", "more", "told"), [case[1:] for case in NO_END], ids=[case[0] for case in NO_END]
)
def test_a_refused_page_is_no_end_where_something_speaks_against_it(
    serve: Callable[..., Api], handler: Any, more: dict[str, Any], told: str
) -> None:
    what = {"records": "books", "paging": {**NUMBERED, "past_the_end": [404], **more}}
    seen: list[object] = []
    with pytest.raises((SourceRefused, AnswerUnusable), match=told):
        seen.extend(RestSource(entry(serve(handler).url, what), resolve).read({}))
    assert not [item for item in seen if isinstance(item, Checkpoint) and item.whole]


def test_no_end_and_no_way_on_is_an_error(serve: Callable[..., Api]) -> None:
    async def handle(request: web.Request) -> web.Response:
        return answer({"books": BOOKS[:5], "end_of_stream": False, "after": None})

    paging = {"kind": "cursor", "parameter": "cursor", "next": "after", "end": "end_of_stream"}
    with pytest.raises(AnswerUnusable, match="'end_of_stream' says that more follow, but not how"):
        Read(RestSource(entry(serve(handle).url, {"records": "books", "paging": paging}), resolve))


DELETED = [
    ("flag", [True, False], [], [0]),
    ("text", ["true", "false"], [], [0]),
    ("yes or no", ["Y", "N"], [], [0]),
    ("number as text", ["1", "0"], [], [0]),
    ("zero date", ["2026-01-01 00:00:00", "0000-00-00 00:00:00"], [], [0]),
    ("status", ["cancelled", "confirmed"], ["cancelled"], [0]),
    ("object", [{"reason": "deleted"}, None], [], [0]),
]


@pytest.mark.parametrize(
    ("values", "saying_so", "gone"), [case[1:] for case in DELETED], ids=[case[0] for case in DELETED]
)
def test_only_records_whose_flag_says_so_are_deleted(
    serve: Callable[..., Api], values: list[Any], saying_so: list[str], gone: list[int]
) -> None:
    async def handle(request: web.Request) -> web.Response:
        return answer([{"id": n, "state": value} for n, value in enumerate(values)])

    what = {"deleted": "state", "deleted_values": saying_so}
    read = Read(RestSource(entry(serve(handle).url, what), resolve))
    operations = [one for one in read.frame["_operation"].to_list() if one != "truncate"]
    assert [n for n, operation in enumerate(operations) if operation == "delete"] == gone
