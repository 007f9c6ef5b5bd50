"""Incremental streams: only what changed, everything that changed, and pulls that go on where they died."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable, CatalogError, SourceUnreachable
from groundwork.sources import Checkpoint, Rows
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve, table

CURSOR = {"field": "updated_at", "parameter": "updated_since", "lookback": "10 minutes"}
STREAM: dict[str, Any] = {
    "replication": "incremental", "records": "data", "cursor": CURSOR,
    "paging": {
        "kind": "cursor", "parameter": "after", "next": "next", "more": "more",
        "size_parameter": "limit", "size": 10,
    },
}  # fmt: skip
SMALL = Sizes(batch_rows=20)


class Shelf:
    """An API over records that change; pages by cursor, page number or offset."""

    def __init__(self, count: int = 0) -> None:
        self.records = [
            {"id": n, "updated_at": f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z"} for n in range(count)
        ]
        self.inclusive = True
        self.fail_at: int | None = None
        self.forgotten: set[str] = set()

    async def handle(self, request: web.Request) -> web.Response:
        query = request.query
        since = query.get("updated_since", "")
        found = [
            record for record in self.records
            if record["updated_at"] > since or (self.inclusive and record["updated_at"] == since)
        ]  # fmt: skip
        found.sort(key=lambda record: (record["updated_at"], record["id"]))
        at = int(query.get("after", 0))
        if "page" in query:
            at = (int(query["page"]) - 1) * 10
        if self.fail_at is not None and at >= self.fail_at:
            return answer({}, 500)
        if query.get("after") in self.forgotten:
            return answer({"message": "cursor expired"}, 410)
        more = at + 10 < len(found)
        return answer({"data": found[at : at + 10], "next": str(at + 10) if more else None,
                       "more": more})  # fmt: skip


def reader(api: Api, stream: dict[str, Any] | None = None, **connection: Any) -> RestSource:
    connection = {"retries": 0, **connection}
    return RestSource(entry(api.url, stream or STREAM, **connection), resolve, sizes=SMALL)


def committed(source: RestSource, cursors: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
    """Records and cursors of the committed batches, whatever ends the read."""
    open_ids: list[int] = []
    ids: list[int] = []
    try:
        for item in source.read(cursors):
            if isinstance(item, Rows):
                open_ids += [json.loads(record)["id"] for record in table(item)["record"].drop_nulls()]
            else:
                ids, open_ids = ids + open_ids, []
                cursors = json.loads(json.dumps(item.cursors))
    except (SourceUnreachable, AnswerUnusable):
        pass
    return ids, cursors


def test_an_idle_run_commits_nothing_though_the_edge_comes_again(
    serve: Callable[..., Api],
) -> None:
    api = serve(Shelf(95).handle)
    first = Read(reader(api))
    assert first.ids == list(range(95))
    assert first.frame["_committed_at"][94] == datetime(2026, 1, 1, 1, 34)
    idle = list(reader(api).read(first.cursors))
    assert api.queries[-1]["updated_since"] == "2026-01-01T01:24:00Z"
    assert idle == [Checkpoint(first.cursors)]


@pytest.mark.parametrize("inclusive", [True, False])
def test_records_at_the_same_instant_as_the_edge_are_not_missed(
    serve: Callable[..., Api], inclusive: bool
) -> None:
    shelf = Shelf(30)
    shelf.inclusive = inclusive
    api = serve(shelf.handle)
    stream = {**STREAM, "cursor": CURSOR if not inclusive else {**CURSOR, "lookback": None}}
    cursors = Read(reader(api, stream)).cursors
    same = shelf.records[-1]["updated_at"]
    shelf.records += [{"id": 100, "updated_at": same}, {"id": 101, "updated_at": same}]
    late = Read(reader(api, stream), cursors)
    assert late.ids == [100, 101]
    assert Read(reader(api, stream), late.cursors).ids == []


def test_a_change_within_the_lookback_comes_once(serve: Callable[..., Api]) -> None:
    shelf = Shelf(30)
    api = serve(shelf.handle)
    cursors = Read(reader(api)).cursors
    shelf.records[25]["name"] = "changed in silence"
    shelf.records.append({"id": 77, "updated_at": "2026-01-01T00:21:30Z"})  # surfaces late
    late = Read(reader(api), cursors)
    assert sorted(late.ids) == [25, 77]
    assert Read(reader(api), late.cursors).ids == []


def test_a_cursor_that_is_asked_for_by_a_filter_is_written_into_it(serve: Callable[..., Api]) -> None:
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.query.get("filter", ""))
        return answer({"data": [{"id": 1, "updated_at": "2026-01-01 00:00:00.125Z"}]})

    cursor = {"field": "updated_at", "parameter": "filter", "written": "updated >= '{cursor}' && open"}
    stream = {**STREAM, "cursor": cursor, "paging": {}}
    api = serve(handle)
    Read(reader(api, stream), Read(reader(api, stream)).cursors)
    assert asked == ["", "updated >= '2025-12-31 23:59:59.125Z' && open"]


def test_two_identical_records_are_two_records(serve: Callable[..., Api]) -> None:
    shelf = Shelf(3)
    shelf.records.append(dict(shelf.records[2]))
    api = serve(shelf.handle)
    first = Read(reader(api))
    assert first.ids == [0, 1, 2, 2]
    assert Read(reader(api), first.cursors).ids == []
    shelf.records.append(dict(shelf.records[2]))
    assert Read(reader(api), first.cursors).ids == [2]


def test_a_clock_that_runs_ahead_does_not_hide_what_comes_before_it(
    serve: Callable[..., Api],
) -> None:
    shelf = Shelf(5)
    ahead = (datetime.now(UTC) + timedelta(days=900)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shelf.records.append({"id": 50, "updated_at": ahead})
    api = serve(shelf.handle)
    first = Read(reader(api))
    assert first.cursors["books"]["highest"] == "2026-01-01T00:04:00Z"
    shelf.records.append({"id": 51, "updated_at": "2026-01-01T00:05:00Z"})
    assert Read(reader(api), first.cursors).ids == [51]


def test_the_first_pull_starts_where_the_catalog_says(serve: Callable[..., Api]) -> None:
    api = serve(Shelf(30).handle)
    stream = {**STREAM, "cursor": {**CURSOR, "start": "2026-01-01T00:20:00Z"}}
    assert Read(reader(api, stream)).ids == list(range(20, 30))


def test_instants_are_compared_to_their_last_digit_and_in_their_zone(
    serve: Callable[..., Api],
) -> None:
    values = [
        "2026-01-01T10:00:00.123456789Z", "2026-01-01T10:00:00.12345679Z",
        "2026-01-01T12:30:00+03:00", "2026-01-01T10:00:00Z",
    ]  # fmt: skip
    queries = []

    async def books(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        return answer([{"id": n, "updated_at": value} for n, value in enumerate(values)])

    stream = {"replication": "incremental", "cursor": {**CURSOR, "lookback": "1 day"}}
    api = serve(books)
    first = Read(reader(api, stream))
    assert first.cursors["books"]["highest"] == values[1]
    assert Read(reader(api, stream), first.cursors).ids == []
    assert queries[-1]["updated_since"] == "2025-12-31T10:00:00.12345679Z"


def test_numbers_count_as_numbers_and_a_lookback_needs_their_unit(
    serve: Callable[..., Api],
) -> None:
    queries = []

    async def books(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        found = [at for at in (999, 1000, 1_000_000) if at >= int(request.query.get("since", 0))]
        return answer([{"id": at, "v": {"at": at}} for at in found])

    api = serve(books)
    cursor = {"field": "v.at", "parameter": "since"}
    plain = {"replication": "incremental", "cursor": cursor}
    first = Read(reader(api, plain))
    assert first.cursors["books"]["highest"] == "1000000"
    assert Read(reader(api, plain), first.cursors).ids == []
    vague = {**plain, "cursor": {**cursor, "lookback": "1 minute"}}
    with pytest.raises(CatalogError, match=r"cursor\.lookback: needs .*cursor\.epoch"):
        Read(reader(api, vague))
    clear = {**plain, "cursor": {**vague["cursor"], "epoch": "seconds"}}
    Read(reader(api, clear), first.cursors)
    assert queries[-1]["since"] == "999940"


def test_records_without_the_cursor_field_are_told(serve: Callable[..., Api]) -> None:
    async def books(request: web.Request) -> web.Response:
        return answer([{"id": 1}, {"id": 2}])

    stream = {"replication": "incremental", "cursor": CURSOR}
    with pytest.raises(AnswerUnusable, match="no record has a value at 'updated_at'"):
        Read(reader(serve(books), stream))


BY_PAGE = {**STREAM, "paging": {"kind": "page_number", "parameter": "page", "more": "more"}}


@pytest.mark.parametrize("stream", [STREAM, BY_PAGE], ids=["cursor", "page_number"])
def test_a_pull_that_broke_off_goes_on_at_the_next_page(
    serve: Callable[..., Api], stream: dict[str, Any]
) -> None:
    shelf = Shelf(95)
    api = serve(shelf.handle)
    shelf.fail_at = 70
    before, cursors = committed(reader(api, stream), {})
    assert before == list(range(70))  # what had come is kept
    assert cursors["books"]["pull"]["received"] in (60, 70)
    shelf.fail_at = None
    api.requests.clear()
    after, cursors = committed(reader(api, stream), cursors)
    assert after == list(range(70, 95))
    assert len(api.requests) <= 4
    assert "pull" not in cursors["books"] and cursors["books"]["highest"][11:16] == "01:34"
    assert committed(reader(api, stream), cursors)[0] == []


@pytest.mark.parametrize("stream", [STREAM, BY_PAGE], ids=["cursor", "page_number"])
def test_a_pull_that_was_killed_goes_on_from_its_last_commit(
    serve: Callable[..., Api], stream: dict[str, Any]
) -> None:
    api = serve(Shelf(95).handle)
    ids: list[int] = []
    cursors: dict[str, Any] = {}
    reading = reader(api, stream).read({})
    for item in reading:
        if isinstance(item, Checkpoint):
            cursors = json.loads(json.dumps(item.cursors))
            if len(ids) >= 40:
                break
        else:
            ids += [json.loads(record)["id"] for record in table(item)["record"]]
    reading.close()  # type: ignore[attr-defined]
    assert ids == list(range(40))
    after, cursors = committed(reader(api, stream), cursors)
    assert after == list(range(40, 95))


def test_a_forgotten_position_starts_the_pull_over_and_says_so(
    serve: Callable[..., Api],
) -> None:
    shelf = Shelf(95)
    api = serve(shelf.handle)
    shelf.fail_at = 70
    _, cursors = committed(reader(api), {})
    shelf.fail_at, shelf.forgotten = None, {"70"}
    handle = shelf.handle

    async def forget_once(request: web.Request) -> web.Response:
        response = await handle(request)
        shelf.forgotten = set()
        return response

    api.handler = forget_once
    items = list(reader(api).read(cursors))
    ids = [json.loads(r)["id"] for i in items if isinstance(i, Rows) for r in table(i)["record"].drop_nulls()]
    events = [event for item in items if isinstance(item, Checkpoint) for event in item.events]
    assert ids == list(range(95))
    assert [event["event"] for event in events] == ["pull started over"]


def test_pages_that_moved_since_start_the_pull_over(serve: Callable[..., Api]) -> None:
    shelf = Shelf(95)
    api = serve(shelf.handle)
    shelf.fail_at = 70
    _, cursors = committed(reader(api, BY_PAGE), {})
    del shelf.records[3]  # every later record is one place nearer: page 8 would skip one
    shelf.fail_at = None
    read = Read(reader(api, BY_PAGE), cursors)
    assert set(read.ids) == {record["id"] for record in shelf.records}
    assert "records have moved" in read.events[0]["why"]


def test_another_catalog_entry_does_not_go_on_with_an_old_pull(
    serve: Callable[..., Api],
) -> None:
    shelf = Shelf(95)
    api = serve(shelf.handle)
    shelf.fail_at = 70
    _, cursors = committed(reader(api), {})
    shelf.fail_at = None
    read = Read(reader(api, {**STREAM, "parameters": {"status": "all"}}), cursors)
    assert read.ids == list(range(95))
    assert "catalog has changed" in read.events[0]["why"]


def test_pages_that_lead_nowhere_are_read_again_from_the_start(
    serve: Callable[..., Api],
) -> None:
    shelf = Shelf(95)
    total = [96]

    async def counting(request: web.Request) -> web.Response:
        response = await shelf.handle(request)
        body = json.loads(response.body)  # type: ignore[arg-type]
        return answer({**body, "total": total[0]})

    api = serve(counting)
    stream = {**STREAM, "paging": {**STREAM["paging"], "total": "total"}}
    _, cursors = committed(reader(api, stream), {})
    del cursors["books"]["fields"]
    assert cursors["books"] == {"highest": None, "edge": []}
    total[0] = 95
    assert Read(reader(api, stream), cursors).ids == list(range(95))


def test_an_api_that_ignores_the_parameter_is_told_of(serve: Callable[..., Api]) -> None:
    async def deaf(request: web.Request) -> web.Response:
        return answer([{"id": n, "updated_at": f"2026-01-0{n}T00:00:00Z"} for n in range(1, 5)])

    stream = {"replication": "incremental", "cursor": CURSOR}
    api = serve(deaf)
    first = Read(reader(api, stream))
    again = Read(reader(api, stream), first.cursors)
    assert again.events[0]["event"] == "older records than asked for"
    assert again.events[0]["records"] == 3


def test_one_stream_after_the_other_and_all_cursors_at_each_checkpoint(
    serve: Callable[..., Api],
) -> None:
    api = serve(Shelf(15).handle)
    books = entry(api.url, STREAM)
    two = books.model_copy(update={"streams": {**books.streams, "again": books.streams["books"]}})
    read = Read(RestSource(two, resolve), {"gone": {"highest": "x"}})
    assert [sorted(point.cursors) for point in read.checkpoints] == [
        ["books", "gone"], ["again", "books", "gone"], ["again", "books", "gone"],
    ]  # fmt: skip
    assert read.ids == list(range(15)) * 2
