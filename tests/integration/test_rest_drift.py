"""Fields that come, go and change their type are told, kept in the cursor, and stop nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec import Raw

from groundwork import manifest
from groundwork.bucket import open_bucket
from groundwork.extract import extract
from groundwork.sources.rest import RestSource
from groundwork.sources.rest.fields import Fields
from groundwork.sources.rest.pull import Moved
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

STREAM: dict[str, Any] = {"shrink_tolerance": 1}
BEFORE = [
    {"id": 1, "at": {"day": "1", "hour": 2}, "note": None, "price": 1, "rare": True},
    {"id": 2, "at": {"day": "1", "hour": 2}, "note": None, "price": 1},
]


class Books:
    """An API whose records change their shape."""

    def __init__(self) -> None:
        self.records: list[Any] = BEFORE
        self.api = Api(self.handle)
        self.cursors: dict[str, Any] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return answer(self.records)

    def read(self, records: list[Any]) -> Read:
        self.records = records
        found = Read(RestSource(entry(self.api.url, STREAM), resolve), self.cursors)
        self.cursors = found.cursors
        return found


@pytest.fixture
def books() -> Iterator[Books]:
    served = Books()
    yield served
    served.api.close()


def test_the_first_run_learns_the_fields_and_tells_nothing(books: Books) -> None:
    first = books.read(BEFORE)
    assert first.events == []
    assert first.cursors["books"]["fields"] == {
        "id": "integer", "at": "object", "at.day": "string", "at.hour": "integer", "note": "null",
        "price": "integer", "rare": "boolean?",
    }  # fmt: skip


def test_new_gone_and_changed_fields_are_told_once_and_every_record_is_landed(books: Books) -> None:
    books.read(BEFORE)
    after = [{"id": "x", "at": {"day": "1", "minute": 3}, "note": "n", "price": 1.5, "isbn": None}]
    second = books.read(after)
    assert second.events == [
        {
            "event": "fields_changed",
            "stream": "books",
            "new": {"at.minute": "integer", "isbn": "null"},
            "gone": ["at.hour"],
            "changed": {"id": "integer -> string", "price": "integer -> number"},
            "looked_at": 1,
        }
    ]
    assert second.records == [json.dumps(record) for record in after]
    assert books.read([*after, *after]).events == []


def test_a_field_that_not_every_record_has_is_never_gone(books: Books) -> None:
    books.read(BEFORE)
    assert books.read(BEFORE[1:]).events == []


def test_a_pull_without_records_tells_of_nothing_gone(books: Books) -> None:
    books.read(BEFORE)
    assert books.read([]).events == []
    assert books.read(BEFORE).events == []


def test_keys_that_are_data_are_no_fields(books: Books) -> None:
    books.read([{"id": 1, "2026-01-01": 1, "a@b.c": 1, "many": {f"k{n}": n for n in range(60)}}])
    assert books.cursors["books"]["fields"] == {"id": "integer", "many": "object"}


@pytest.mark.parametrize("mark", ["pull", "waiting", "unfinished"])
def test_only_the_end_of_a_pull_tells_what_is_gone(mark: str) -> None:
    fields = Fields("books", {"fields": {"id": "integer", "late": "integer"}}, lambda text: True)

    def items() -> Iterator[Moved]:
        fields.look([Raw(b'{"id": 1}')])
        yield Moved({mark: 1}, [])
        fields.look([Raw(b'{"id": 1, "late": 2}')])
        yield Moved({}, [])

    kept = [item for item in fields.keep(items()) if isinstance(item, Moved)]
    assert [item.events for item in kept] == [[], []]
    assert kept[-1].state["fields"] == {"id": "integer", "late": "integer?"}


def test_a_secret_is_no_field() -> None:
    fields = Fields("books", {}, lambda text: text != "s3cr3t")
    fields.look([Raw(b'{"id": 1, "s3cr3t": 2}')])
    kept = list(fields.keep(iter([Moved({}, [])])))
    assert kept == [Moved({"fields": {"id": "integer"}}, [])]


def test_records_that_are_no_objects_have_no_fields(books: Books) -> None:
    assert books.read([1, "a", [2]]).records == ["1", '"a"', "[2]"]
    assert "fields" not in books.cursors["books"]


def test_the_change_stands_in_the_manifest_and_in_the_report(books: Books, tmp_path: Path) -> None:
    one, bucket = entry(books.api.url, STREAM), open_bucket(f"file://{tmp_path}")
    extract(one, RestSource(one, resolve), bucket)
    books.records = [{"id": 1}]
    report = extract(one, RestSource(one, resolve), bucket)
    newest = manifest.latest(bucket, "books")
    assert newest is not None and newest.events == report.events
    assert report.events[0]["gone"] == ["at", "note", "price"]
    assert newest.cursors["books"]["fields"] == {"id": "integer", "rare": "boolean?"}


def test_a_pull_of_many_pages_tells_of_all_of_them_in_one_event() -> None:
    shapes = [{"id": 1}]

    async def handle(request: web.Request) -> web.StreamResponse:
        page = int(request.query["page"])
        return answer([{"id": page, **({"late": 1} if page == 3 and len(shapes) > 1 else {})}] * (page < 5))

    api = Api(handle)
    stream = {"paging": {"kind": "page_number", "parameter": "page", "size": 1}}
    try:
        first = Read(RestSource(entry(api.url, stream), resolve))
        shapes.append({})
        second = Read(RestSource(entry(api.url, stream), resolve), first.cursors)
    finally:
        api.close()
    assert [event["new"] for event in second.events] == [{"late": "integer"}]
    assert second.cursors["books"]["fields"] == {"id": "integer", "late": "integer?"}
