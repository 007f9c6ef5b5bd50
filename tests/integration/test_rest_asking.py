"""What varies in a request, wherever an API wants it: in the body, within a text, in the path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

KEY = {"primary_key": ["id"], "columns": {"id": {"type": "integer"}}}
AT = datetime(2026, 1, 1, tzinfo=UTC)


def moment(number: int) -> str:
    return (AT + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


Found = Callable[[web.Request, Any], tuple[str, Any]]
"""The cursor and the page that a request asks for, as it says them."""


class Changes:
    """An API of changed records, three a page, that finds cursor and page where ``found`` looks."""

    def __init__(self, found: Found, numbers: bool = False) -> None:
        self._found, self._numbers = found, numbers
        self.count = 8

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.read()
        since, page = self._found(request, json.loads(text) if text else None)
        start = int(page or 0)
        records = [
            {"id": n, "changed": int(AT.timestamp()) + 60 * n if self._numbers else moment(n)}
            for n in range(self.count)
        ]
        found = [one for one in records if not since or str(one["changed"]) >= since]
        following = str(start + 3) if start + 3 < len(found) else None
        return answer({"items": found[start : start + 3], "next": following})


def within(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    assert match, f"{text!r} does not ask as the catalog says"
    return match[1]


def in_a_list(request: web.Request, body: Any) -> tuple[str, Any]:
    first, second = body["filterGroups"][0]["filters"]
    assert second == {"propertyName": "kind", "value": "book"} and first["operator"] == "GTE"
    return first.get("value", ""), body.get("after")


def as_number(request: web.Request, body: Any) -> tuple[str, Any]:
    value = body["query"]["range"]["changed"].get("gte", 0)
    assert isinstance(value, int)
    return str(value or ""), body.get("from")


def in_a_variable(request: web.Request, body: Any) -> tuple[str, Any]:
    assert body["query"] == GRAPHQL
    return body["variables"].get("where", {}).get("changed", {}).get("gte", ""), body["variables"].get(
        "after"
    )


def in_graphql(request: web.Request, body: Any) -> tuple[str, Any]:
    return within(body["query"], r'changed: "(.*?)"'), within(body["query"], r'after: "(.*?)"')


def in_a_filter(request: web.Request, body: Any) -> tuple[str, Any]:
    return within(request.query["filter"], r"changed gt '(.*)' and"), request.query.get("after")


def in_the_path(request: web.Request, body: Any) -> tuple[str, Any]:
    assert re.fullmatch(r"/since/[^/]*/books", request.path)
    return request.path.split("/")[2], request.query.get("after")


GRAPHQL = "query ($after: String, $where: Where) { items(after: $after, where: $where) { id changed } }"
BY_AFTER = {"kind": "cursor", "parameter": "after", "next": "next"}
CURSOR = {"field": "changed", "start": "2020-01-01T00:00:00Z"}
FILTERS = [{"propertyName": "changed", "operator": "GTE"}, {"propertyName": "kind", "value": "book"}]
PLACES: dict[str, tuple[Found, dict[str, Any]]] = {
    "in a list of the body": (
        in_a_list,
        {
            "method": "POST",
            "parameters": {"filterGroups": [{"filters": FILTERS}]},
            "paging": BY_AFTER,
            "cursor": {"field": "changed", "parameter": "filterGroups[0].filters[0].value"},
        },
    ),
    "a number deep in the body": (
        as_number,
        {
            "method": "POST",
            "parameters": {"query": {"range": {"changed": {"format": "epoch_second"}}}},
            "cursor": {
                "field": "changed",
                "parameter": "query.range.changed.gte",
                "number": True,
                "epoch": "seconds",
            },
            "paging": {**BY_AFTER, "parameter": "from"},
        },
    ),
    "in a variable of GraphQL": (
        in_a_variable,
        {
            "query": GRAPHQL,
            "paging": BY_AFTER,
            "cursor": {"field": "changed", "parameter": "where.changed.gte"},
        },
    ),
    "in the text of GraphQL": (
        in_graphql,
        {
            "query": '{ items(where: {changed: "{cursor}"}, after: "{page}") { id changed } }',
            "paging": {"kind": "cursor", "next": "next", "first": ""},
            "cursor": CURSOR,
        },
    ),
    "in a filter": (
        in_a_filter,
        {
            "parameters": {"filter": "changed gt '{cursor}' and kind eq 'book'"},
            "paging": BY_AFTER,
            "cursor": CURSOR,
        },
    ),
    "in the path": (
        in_the_path,
        {"endpoint": "/since/{cursor}/books", "paging": BY_AFTER, "cursor": CURSOR},
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_cursor_is_asked_for_wherever_the_api_wants_it(serve: Callable[..., Api], place: str) -> None:
    found, stream = PLACES[place]
    changes = Changes(found, numbers=place.startswith("a number"))
    api = serve(changes.handle)
    what = entry(api.url, {"replication": "incremental", "records": "items", **KEY, **stream})
    first = Read(RestSource(what, resolve))
    assert first.ids == list(range(8))
    changes.count = 12
    assert Read(RestSource(what, resolve), first.cursors).ids == [8, 9, 10, 11]
    assert len(api.requests) == 5


def test_pages_may_be_asked_for_in_the_path(serve: Callable[..., Api]) -> None:
    async def handle(request: web.Request) -> web.Response:
        page = int(request.path.removeprefix("/books/page/"))
        return answer([{"id": n} for n in range(7)][(page - 1) * 3 : page * 3])

    what = {"endpoint": "/books/page/{page}", "paging": {"kind": "page_number"}}
    assert Read(RestSource(entry(serve(handle).url, what), resolve)).ids == list(range(7))


def test_an_offset_may_stand_in_a_statement(serve: Callable[..., Api]) -> None:
    async def handle(request: web.Request) -> web.Response:
        start = int(within(request.query["q"], r"order by id limit 3 offset (\d+)$"))
        return answer([{"id": n} for n in range(7)][start : start + 3])

    paging = {"kind": "offset", "size_parameter": "n", "size": 3}
    what = {"parameters": {"q": "select id order by id limit 3 offset {page}"}, "paging": paging}
    assert Read(RestSource(entry(serve(handle).url, what), resolve)).ids == list(range(7))


def test_a_value_never_ends_the_text_that_it_is_written_into(serve: Callable[..., Api]) -> None:
    async def handle(request: web.Request) -> web.Response:
        return answer({"items": [{"id": 1, "changed": "b' or 'a' gt 'a"}]})

    what = {
        "replication": "incremental",
        "records": "items",
        "cursor": {**CURSOR, "exact": True},
        "parameters": {"filter": "changed gt '{cursor}'"},
    }
    api = serve(handle)
    first = Read(RestSource(entry(api.url, what), resolve))
    with pytest.raises(AnswerUnusable, match=r"the value of \{cursor\} holds a quote"):
        Read(RestSource(entry(api.url, what), resolve), first.cursors)
    assert len(api.requests) == 1


def test_a_value_is_escaped_in_the_text_of_a_query(serve: Callable[..., Api]) -> None:
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(json.loads(await request.read())["query"])
        return answer({"items": [{"id": 1, "changed": 'b" { all }'}]})

    what = {
        "replication": "incremental",
        "records": "items",
        "cursor": {**CURSOR, "exact": True},
        "query": '{ items(since: "{cursor}") { id } }',
    }
    api = serve(handle)
    first = Read(RestSource(entry(api.url, what), resolve))
    Read(RestSource(entry(api.url, what), resolve), first.cursors)
    assert asked[1] == r'{ items(since: "b\" { all }") { id } }'


FORMS = [
    ("instant", "1 hour", "%Y-%m-%dT%H:%M:%SZ"),
    ("date", "1 day", "%Y-%m-%d"),
    ("%Y%m%d", "1 day", "%Y%m%d"),
    ("%d/%m/%Y", "2 days", "%d/%m/%Y"),
    ("%Y-%m-%dT%H:%M", "6 hours", "%Y-%m-%dT%H:%M"),
    ("%Y%m%d%H", "3 hours", "%Y%m%d%H"),
    ("%Y-%m-%d %H:%M:%S+00:00", "6 hours", "%Y-%m-%d %H:%M:%S+00:00"),
]


@pytest.mark.parametrize(
    ("form", "step", "pattern", "excluded"),
    # an API of days includes the first one: decision 0054
    [(*form, excluded) for form in FORMS for excluded in (True, False) if "H" in form[2] or not excluded],
)
def test_windows_are_asked_for_within_a_text_and_in_any_form(
    serve: Callable[..., Api], form: str, step: str, pattern: str, excluded: bool
) -> None:
    start = datetime(2026, 3, 10, tzinfo=UTC)
    records = [{"id": n, "at": start + timedelta(minutes=30 * n)} for n in range(200)]

    async def handle(request: web.Request) -> web.Response:
        since, until = within(request.query["q"], r"at:\[(.*) TO").strip(), request.query["q"]
        begin = datetime.strptime(since, pattern).replace(tzinfo=UTC)
        end = datetime.strptime(within(until, r" TO (.*)\} open:1"), pattern).replace(tzinfo=UTC)
        found = [one for one in records if begin <= one["at"] < end and not (excluded and one["at"] == begin)]
        return answer([{"id": one["id"], "at": one["at"].isoformat()} for one in found])

    what = {
        "replication": "incremental",
        "parameters": {"q": "at:[{from} TO {to}} open:1"},
        **KEY,
        "windows": {"start": "2026-03-10", "step": step, "format": form},
    }
    now = start + timedelta(minutes=30 * 150, seconds=7)
    api = serve(handle)
    first = Read(RestSource(entry(api.url, what), resolve, clock=lambda: now))
    assert set(range(151)) <= set(first.ids)
    later = now + timedelta(days=1, hours=1)
    second = Read(RestSource(entry(api.url, what), resolve, clock=lambda: later), first.cursors)
    assert set(range(200)) <= {*first.ids, *second.ids}
