"""Streams read in parts: windows of time, and the children of one parent after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from groundwork.catalog import RestSource as Entry
from groundwork.catalog.increments import RestWindows
from groundwork.errors import SourceError, SourceRefused
from groundwork.sources import Rows
from groundwork.sources.rest import RestSource, Sizes
from groundwork.sources.rest.windows import DueWindows
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve, table


def committed(
    entry: Entry, cursors: dict[str, Any], sizes: Sizes | None = None
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Ids per stream and cursors of the committed batches, whatever ends the read."""
    held: list[tuple[str, Any]] = []
    ids: dict[str, list[Any]] = {name: [] for name in entry.streams}
    try:
        for item in RestSource(entry, resolve, sizes=sizes, clock=lambda: NOW).read(cursors):
            if isinstance(item, Rows):
                records = table(item)["record"].drop_nulls()
                held += [(item.stream, json.loads(record)["id"]) for record in records]
            else:
                for stream, one in held:
                    ids[stream].append(one)
                held, cursors = [], json.loads(json.dumps(item.cursors))
    except SourceError:
        pass
    return ids, cursors


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
"""What the clock says to all windows here: none begins while a test runs."""
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
START = MIDNIGHT - timedelta(days=10)
WINDOWS = {"start": START.date().isoformat(), "step": "1 day", "from": "since", "to": "until"}
BY_DAY: dict[str, Any] = {
    "replication": "incremental", "records": "items", "windows": {**WINDOWS, "format": "date"},
    "paging": {"kind": "page_number", "parameter": "page"},
}  # fmt: skip


def reader(url: str, stream: dict[str, Any]) -> RestSource:
    return RestSource(entry(url, stream), resolve, clock=lambda: NOW)


class Sales:
    """An API that lists sales by the day they belong to, four a page."""

    def __init__(self) -> None:
        self.days = {
            START.date() + timedelta(days=day): list(range(day * 10, day * 10 + 9)) for day in range(11)
        }
        self.fail_on = ""

    async def handle(self, request: web.Request) -> web.Response:
        since, until = request.query["since"][:10], request.query["until"][:10]
        page = int(request.query["page"])
        if self.fail_on == f"{since} {page}":
            return answer({}, 500)
        found = [one for day, ids in self.days.items() if since <= day.isoformat() < until for one in ids]
        return answer({"items": [{"id": one} for one in found[(page - 1) * 4 : page * 4]]})


def test_windows_follow_each_other_without_a_gap_up_to_now(serve: Callable[..., Api]) -> None:
    api = serve(Sales().handle)
    read = Read(reader(api.url, BY_DAY))
    assert read.ids == [one for day in range(11) for one in range(day * 10, day * 10 + 9)]
    asked = [(query["since"], query["until"]) for query in api.queries if query["page"] == "1"]
    assert all(before[1] == after[0] for before, after in pairwise(asked))
    assert asked[0][0] == WINDOWS["start"] and asked[-1][0] == MIDNIGHT.date().isoformat()
    assert json.loads(read.frame["_request"][0])["window"] == list(asked[0])


def test_the_next_run_reads_the_newest_window_again_and_no_other(serve: Callable[..., Api]) -> None:
    sales = Sales()
    api = serve(sales.handle)
    cursors = Read(reader(api.url, BY_DAY)).cursors
    sales.days[MIDNIGHT.date()].append(999)
    api.requests.clear()
    assert 999 in Read(reader(api.url, BY_DAY), cursors).ids
    assert {query["since"] for query in api.queries} == {MIDNIGHT.date().isoformat()}


def test_a_window_that_is_read_again_is_committed_only_if_it_says_something_new(
    serve: Callable[..., Api],
) -> None:
    sales = Sales()
    api = serve(sales.handle)
    stream = {**BY_DAY, "windows": {**BY_DAY["windows"], "reread": ["2 days", "5 days"]}}
    cursors = Read(reader(api.url, stream)).cursors
    idle = Read(reader(api.url, stream), cursors)
    assert idle.records == [] and idle.cursors == cursors
    four, three = (MIDNIGHT - timedelta(days=days) for days in (4, 3))
    cursors["books"]["until"]["172800"] = four.isoformat()  # both have just become two days old
    sales.days[four.date()].append(777)
    api.requests.clear()
    late = Read(reader(api.url, stream), cursors)
    asked = {query["since"] for query in api.queries}
    assert asked == {one.date().isoformat() for one in (four, three, MIDNIGHT)}
    assert late.ids == sales.days[four.date()]


def test_a_pull_that_broke_off_goes_on_in_the_middle_of_its_window(serve: Callable[..., Api]) -> None:
    sales = Sales()
    api = serve(sales.handle)
    day = (START + timedelta(days=6)).date().isoformat()
    sales.fail_on = f"{day} 3"
    before, cursors = committed(entry(api.url, BY_DAY, retries=0), {})
    assert before["books"] == [one for d in range(6) for one in range(d * 10, d * 10 + 9)] + list(
        range(60, 68)
    )
    sales.fail_on = ""
    api.requests.clear()
    after, cursors = committed(entry(api.url, BY_DAY, retries=0), cursors)
    assert api.queries[0]["since"] == day and api.queries[0]["page"] == "2"  # is it still what it was?
    assert sorted({*before["books"], *after["books"]}) == sorted(
        one for ids in sales.days.values() for one in ids
    )
    assert after["books"][0] == 68
    assert "pull" not in cursors["books"]


def test_late_data_is_found_when_a_window_has_the_age_to_be_read_again() -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    windows = RestWindows.model_validate(
        {**WINDOWS, "start": "2026-03-01", "format": "date", "reread": ["1 day", "7 days"]}
    )
    first = DueWindows.of(windows, {}, at)
    assert [start.day for start in first.starts()] == list(range(1, 11))
    state = json.loads(json.dumps(first.read()))
    assert DueWindows.of(windows, state, at + timedelta(hours=2)).starts() == [at.replace(hour=0)]
    next_day = DueWindows.of(windows, state, at + timedelta(days=1))
    # 3 is 7 days old, 9 is 1 day old, 10 is over and 11 is running
    assert [start.day for start in next_day.starts()] == [3, 9, 10, 11]
    later = DueWindows.of(windows, next_day.read(), at + timedelta(days=3))
    assert [start.day for start in later.starts()] == [4, 5, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        ({}, ("2026-03-10T00:00:00Z", "2026-03-10T12:00:00Z")),
        ({"format": "date"}, ("2026-03-10", "2026-03-11")),
        ({"format": "date", "to_included": True}, ("2026-03-10", "2026-03-10")),
        ({"format": "seconds"}, (1773100800, 1773144000)),
        ({"format": "milliseconds"}, (1773100800000, 1773144000000)),
    ],
)
def test_a_window_is_written_as_the_api_wants_it_and_never_ends_in_the_future(
    form: dict[str, Any], asked: tuple[object, object]
) -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    windows = RestWindows.model_validate({**WINDOWS, "start": "2026-03-01", **form})
    part = DueWindows.of(windows, {}, at).part(at.replace(hour=0))
    assert tuple(part.parameters.values()) == asked


class Issues:
    """Issues that change, and comments that are listed per issue, three a page."""

    def __init__(self, count: int) -> None:
        self.issues = [
            {"id": n, "key": f"a/{n}?", "updated_at": f"2026-01-01T00:{n:02}:00Z"} for n in range(count)
        ]
        self.gone: set[int] = set()
        self.fail_on = ""
        self.asked: list[str] = []

    def comments(self, issue: int) -> list[int]:
        return [issue * 100 + n for n in range(issue % 5)]

    async def handle(self, request: web.Request) -> web.Response:
        parts = request.raw_path.split("?")[0].split("/")
        page = int(request.query.get("page", 1))
        if len(parts) == 2:
            since = request.query.get("updated_since", "")
            found = [issue for issue in self.issues if issue["updated_at"] >= since]  # type: ignore[operator]
            return answer({"items": found[(page - 1) * 4 : page * 4]})
        self.asked.append(f"{parts[2]} {page}")
        issue = int(parts[2].removeprefix("a%2F").removesuffix("%3F"))
        if self.fail_on == f"{issue} {page}":
            return answer({}, 500)
        if issue in self.gone:
            return answer({}, 404)
        found = [{"id": one} for one in self.comments(issue)]
        return answer({"items": found[(page - 1) * 3 : page * 3]})


PAGES = {"records": "items", "columns": {}, "paging": {"kind": "page_number", "parameter": "page"}}


def family(url: str, replication: str = "incremental", **parent: Any) -> Entry:
    issues: dict[str, Any] = {"endpoint": "/issues", "replication": replication, **PAGES}
    if replication == "incremental":
        issues["cursor"] = {"field": "updated_at", "parameter": "updated_since"}
    comments = {
        "endpoint": "/issues/{parent.key}/comments", "replication": replication,
        "parent": {"stream": "issues", **parent}, **PAGES,
    }  # fmt: skip
    whole = entry(url, {}, retries=0).model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Entry.model_validate(
        {**whole, "update_every": "1 hour", "streams": {"issues": issues, "comments": comments}}
    )


def comments_of(shelf: Issues) -> list[int]:
    return [one for issue in shelf.issues for one in shelf.comments(issue["id"])]  # type: ignore[arg-type]


def test_children_are_read_for_new_and_changed_parents_only(serve: Callable[..., Api]) -> None:
    shelf = Issues(12)
    api = serve(shelf.handle)
    first, cursors = committed(family(api.url), {}, Sizes(batch_rows=5))
    assert first == {"issues": list(range(12)), "comments": comments_of(shelf)}
    shelf.asked.clear()
    idle, cursors = committed(family(api.url), cursors)
    assert idle == {"issues": [], "comments": []} and shelf.asked == []
    shelf.issues[3]["updated_at"] = "2026-01-02T00:00:00Z"
    changed, _ = committed(family(api.url), cursors)
    assert changed == {"issues": [3], "comments": shelf.comments(3)}
    assert shelf.asked == ["a%2F3%3F 1", "a%2F3%3F 2"]


def test_each_child_tells_its_parent(serve: Callable[..., Api]) -> None:
    items = list(RestSource(family(serve(Issues(4).handle).url), resolve).read({}))
    frames = [table(item) for item in items if isinstance(item, Rows) and item.stream == "comments"]
    parents = [json.loads(request)["parent"] for frame in frames for request in frame["_request"]]
    assert parents == [{"key": "a/1?"}, *[{"key": "a/2?"}] * 2, *[{"key": "a/3?"}] * 3]


def test_a_pull_that_broke_off_goes_on_in_the_middle_of_the_parents(serve: Callable[..., Api]) -> None:
    shelf = Issues(12)
    api = serve(shelf.handle)
    shelf.fail_on = "9 2"
    before, cursors = committed(family(api.url), {})
    assert before["issues"] == list(range(12))
    assert before["comments"][-1] == 902 and len(cursors["comments"]["waiting"]) == 3
    shelf.fail_on = ""
    shelf.asked.clear()
    after, cursors = committed(family(api.url), cursors)
    assert before["comments"] + after["comments"] == comments_of(shelf)
    assert after["issues"] == [] and shelf.asked[0] == "a%2F9%3F 1" and len(shelf.asked) <= 6
    assert not cursors["comments"].keys() & {"waiting", "pull"}


def test_a_new_child_has_all_parents_read_again(serve: Callable[..., Api]) -> None:
    shelf = Issues(12)
    api = serve(shelf.handle)
    _, cursors = committed(family(api.url), {})
    del cursors["comments"]
    again, _ = committed(family(api.url), cursors)
    assert again["comments"] == comments_of(shelf)


def test_a_parent_that_is_gone_is_told_or_skipped_where_that_may_be(serve: Callable[..., Api]) -> None:
    shelf = Issues(6)
    shelf.gone = {2}
    api = serve(shelf.handle)
    with pytest.raises(SourceRefused, match=r"stream 'comments', parent 3 of 6, page 1: .*no such path"):
        Read(RestSource(family(api.url), resolve))
    ids, _ = committed(family(api.url, may_be_gone=True), {})
    assert ids["comments"] == [one for one in comments_of(shelf) if one // 100 != 2]


def test_a_full_listing_of_all_parents_says_what_is_gone(serve: Callable[..., Api]) -> None:
    shelf = Issues(6)
    api = serve(shelf.handle)
    source = family(api.url, "full_table")
    first, cursors = committed(source, {})
    assert first["comments"] == comments_of(shelf)
    del shelf.issues[4]  # its comments vanish with it
    items = list(RestSource(source, resolve).read(cursors))
    children = [table(item) for item in items if isinstance(item, Rows) and item.stream == "comments"]
    assert children[0]["_operation"][0] == "truncate"
    told = [json.loads(record)["id"] for frame in children for record in frame["record"].drop_nulls()]
    assert told == comments_of(shelf)
