"""The edge of a cursor: what changes there after a pull is read by the next one, in any precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable, CatalogError
from groundwork.sources.rest import RestSource, Sizes, cursor
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

KEY = {"primary_key": ["id"], "columns": {"id": {"type": "integer"}}}
FORMS: dict[str, tuple[list[Any], str]] = {
    "date": (["2026-02-27", "2026-02-28", "2026-03-01"], ""),
    "seconds": (["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"], ""),
    "milliseconds": (["2026-01-01T00:00:00.999Z", "2026-01-01T00:00:01.000Z"], ""),
    "microseconds in a zone": (
        ["2026-01-01 00:00:00.000001+02:00", "2026-01-01 00:00:00.000002+02:00"], ""
    ),
    "minutes": (["2026-01-01T00:04Z", "2026-01-01T00:05Z", "2026-01-01T01:00Z"], ""),
    "a zone of hours": (["2026-01-01 00:00:00+00", "2026-01-01 00:00:01.5+00"], ""),
    "a zone with a name": (["2026-01-01 00:00:00 UTC", "2026-01-01 00:00:01 UTC"], ""),
    "compact instants": (["20260101T000000Z", "20260101T000001Z", "20260201T000000Z"], ""),
    "dates as numbers": ([20260131, 20260201], ""),
    "instants as numbers": ([20260131235959, 20260201000000], ""),
    "epoch seconds": ([1700000000, 1700000001, 1700000002], "seconds"),
    "epoch milliseconds": ([1700000000000, 1700000000001, 1700000000002], "milliseconds"),
    "fraction of epoch seconds": ([1700000000.25, 1700000000.5], "seconds"),
    "number": ([7, 8, 10], ""),
    "number of forty digits": ([10**39 - 1, 10**39], ""),
    "number from zero": ([0], ""),
    "sortable id": (["01ARZ3NDEKTSV4RRFFQ69G5FAU", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], ""),
    "text before which stands a number": (["a"], ""),
    "hexadecimal": (["018f-00a9", "018f-00b0"], ""),
}  # fmt: skip


class Changes:
    """An API that gives what changed since a value, two a page."""

    def __init__(
        self, values: list[Any], *, excluded: bool, compares: Callable[[Any], Any] | None = None
    ) -> None:
        self.records = [{"id": number, "changed": value} for number, value in enumerate(values)]
        numbers = isinstance(values[0], int | float)
        self.excluded = excluded
        self.compares = compares or ((lambda value: Decimal(str(value))) if numbers else str)

    async def handle(self, request: web.Request) -> web.Response:
        found = self.records
        if since := request.query.get("since"):
            at = self.compares(since)
            found = [
                one for one in found
                if self.compares(one["changed"]) > at
                or (not self.excluded and self.compares(one["changed"]) == at)
            ]  # fmt: skip
        start = int(request.query.get("after", 0))
        following = str(start + 2) if start + 2 < len(found) else None
        return answer({"items": found[start : start + 2], "next": following})


def stream(epoch: str = "", *, key: bool = True, **cursor: Any) -> dict[str, Any]:
    return {
        "replication": "incremental", "records": "items",
        "paging": {"kind": "cursor", "parameter": "after", "next": "next"},
        "cursor": {"field": "changed", "parameter": "since", "epoch": epoch, **cursor},
        **(KEY if key else {}),
    }  # fmt: skip


def read(api: Api, what: dict[str, Any], cursors: dict[str, Any] | None = None) -> Read:
    return Read(RestSource(entry(api.url, what), resolve, sizes=Sizes(batch_rows=4)), cursors)


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
@pytest.mark.parametrize("excluded", [True, False], ids=["excluded", "included"])
@pytest.mark.parametrize("form", FORMS)
def test_a_change_at_the_edge_is_read_once_whether_the_api_includes_it_or_not(
    serve: Callable[..., Api], form: str, excluded: bool, key: bool
) -> None:
    values, epoch = FORMS[form]
    changes = Changes(values, excluded=excluded)
    api, what = serve(changes.handle), stream(epoch, key=key)
    first = read(api, what)
    assert first.ids == list(range(len(values)))
    # three more at the very same value: they do not fit on the page that the edge ends on
    changes.records += [{"id": 100 + n, "changed": values[-1]} for n in range(3)]
    second = read(api, what, first.cursors)
    assert second.ids == [100, 101, 102]
    assert read(api, what, second.cursors).ids == []


@pytest.mark.parametrize("excluded", [True, False])
def test_an_api_that_compares_whole_seconds_of_finer_values_loses_nothing(
    serve: Callable[..., Api], excluded: bool
) -> None:
    changes = Changes(["2026-01-01T00:00:05.100Z"], excluded=excluded, compares=lambda value: value[:19])
    api, what = serve(changes.handle), stream()
    first = read(api, what)
    changes.records.append({"id": 9, "changed": "2026-01-01T00:00:05.900Z"})
    assert read(api, what, first.cursors).ids == [9]


def test_a_record_that_changes_back_in_the_same_second_is_read_each_time(serve: Callable[..., Api]) -> None:
    changes = Changes(["2026-01-01T00:00:00Z"], excluded=True)
    api, what = serve(changes.handle), stream()
    cursors = read(api, what).cursors
    for state in ("lent", None, "lent"):
        changes.records[0].pop("state", None)
        changes.records[0] |= {"state": state} if state else {}
        changed = read(api, what, cursors)
        assert [json.loads(record).get("state") for record in changed.records] == [state]
        cursors = changed.cursors


def test_an_exact_cursor_is_asked_for_as_it_is(serve: Callable[..., Api]) -> None:
    changes = Changes(["b-2", "c-1"], excluded=True)
    api = serve(changes.handle)
    first = read(api, stream(exact=True))
    read(api, stream(exact=True), first.cursors)
    assert api.queries[-1]["since"] == "c-1"


def test_a_value_that_is_no_day_of_a_calendar_asks_for_everything(serve: Callable[..., Api]) -> None:
    changes = Changes(["0000-00-00"], excluded=True)
    api, what = serve(changes.handle), stream()
    first = read(api, what)
    changes.records.append({"id": 7, "changed": "0000-00-00"})
    assert read(api, what, first.cursors).ids == [7]
    assert "since" not in api.queries[-1]


def test_more_records_at_the_edge_than_can_be_told_apart_are_an_error_without_a_key(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor, "KEYLESS_EDGE_LIMIT", 20)
    monkeypatch.setattr(cursor, "EDGE_LIMIT", 20)
    changes = Changes(["2026-01-01"] * 21, excluded=False)
    api = serve(changes.handle)
    with pytest.raises(AnswerUnusable, match="more than 20 records will come again"):
        read(api, stream(key=False))
    first = read(api, stream())
    assert len(first.ids) == 21  # and the one that is not remembered comes again, under its key
    assert len(read(api, stream(), first.cursors).ids) == 1


class ByValue:
    """An API whose pages follow the value of the last record, two a page."""

    def __init__(self, values: list[int], *, excluded: bool) -> None:
        self.records = [{"id": number, "changed": value} for number, value in enumerate(values)]
        self.excluded = excluded

    async def handle(self, request: web.Request) -> web.Response:
        at = int(request.query.get("after", -1))
        found = [one for one in self.records if one["changed"] >= at + self.excluded]
        return answer(found[:3])


KEYSET: dict[str, Any] = {"paging": {"kind": "cursor", "parameter": "after", "last_field": "changed"}, **KEY}


def test_pages_by_a_value_that_records_share_are_an_error_where_one_would_be_left_out(
    serve: Callable[..., Api],
) -> None:
    shelf = ByValue([1, 2, 3, 3, 4, 5, 5, 6, 7], excluded=True)  # page 1 ends between the two of value 3
    with pytest.raises(AnswerUnusable, match="several records have the same 'changed'"):
        Read(RestSource(entry(serve(shelf.handle).url, KEYSET), resolve))
    shelf.records = [{"id": value, "changed": value} for value in range(1, 9)]
    assert Read(RestSource(entry(serve(shelf.handle).url, KEYSET), resolve)).ids == list(range(1, 9))


def test_windows_that_exclude_their_beginning_lose_nothing(serve: Callable[..., Api]) -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    records = [{"id": n, "at": f"2026-03-10T{n:02}:00:00Z"} for n in range(12)]

    async def handle(request: web.Request) -> web.Response:
        since, until = request.query["since"], request.query["until"]
        return answer([one for one in records if since < str(one["at"]) < until])

    windows = {"start": "2026-03-10", "step": "1 hour", "from": "since", "to": "until"}
    what = {"replication": "incremental", "windows": windows, **KEY}
    found = Read(RestSource(entry(serve(handle).url, what), resolve, clock=lambda: at))
    assert sorted(set(found.ids)) == list(range(12))


def test_a_lookback_needs_a_value_that_time_can_be_taken_from(serve: Callable[..., Api]) -> None:
    api = serve(Changes(["b", "c"], excluded=False).handle)
    with pytest.raises(CatalogError, match=r"cursor\.lookback: needs a cursor that is an instant"):
        read(api, stream(lookback="1 minute"))
