"""APIs that serve only the first so many records of one query: every record comes, or an error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

LIMIT, SIZE = 20, 5
START = datetime(2026, 1, 1, tzinfo=UTC)


class Search:
    """An API that serves the first 20 records of a query; some seconds have several records."""

    def __init__(self, count: int = 87, *, total: str = "", excluded: bool = False) -> None:
        self.records = [{"id": n, "at": self.moment(n // 3)} for n in range(count)]
        self.total, self.excluded = total, excluded
        self.refuse_after = 10**9
        self.served = 0

    @staticmethod
    def moment(seconds: int) -> str:
        return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def handle(self, request: web.Request) -> web.Response:
        asked = request.query
        since, start = asked.get("since", ""), int(asked.get("offset", asked.get("after", "0")))
        if self.served >= self.refuse_after:
            return answer({}, 403)
        if start + SIZE > LIMIT:
            return answer({"error": "result window is too large"}, 400)
        found = [
            one for one in self.records if one["at"] > since or (one["at"] == since and not self.excluded)
        ]
        page = found[start : min(start + SIZE, LIMIT)]
        self.served += len(page)
        body: dict[str, Any] = {"items": page}
        following = start + SIZE
        body["next"] = str(following) if following < min(len(found), LIMIT) else None
        if self.total:
            body["total"] = len(found) if self.total == "true" else min(len(found), LIMIT)
        return answer(body)


PAGING: dict[str, dict[str, Any]] = {
    "offset": {"kind": "offset", "parameter": "offset", "size_parameter": "limit", "size": SIZE},
    "cursor": {"kind": "cursor", "parameter": "after", "next": "next", "size": SIZE},
}


def stream(kind: str, total: str = "", **more: Any) -> dict[str, Any]:
    paging = {**PAGING[kind], "query_limit": LIMIT, **({"total": "total"} if total else {})}
    return {
        "records": "items",
        "paging": paging,
        "replication": "incremental",
        "primary_key": ["id"],
        "columns": {"id": {"type": "integer"}},
        "cursor": {"field": "at", "parameter": "since"},
        **more,
    }


@pytest.mark.parametrize("count", [7, 20, 21, 87])
@pytest.mark.parametrize("excluded", [True, False], ids=["edge excluded", "edge included"])
@pytest.mark.parametrize("total", ["", "true", "limited"])
@pytest.mark.parametrize("kind", PAGING)
def test_a_pull_goes_on_from_the_highest_value_where_a_query_ends(
    serve: Callable[..., Api], kind: str, total: str, excluded: bool, count: int
) -> None:
    search = Search(count, total=total, excluded=excluded)
    source = RestSource(entry(serve(search.handle).url, stream(kind, total)), resolve)
    first = Read(source)
    assert sorted(set(first.ids)) == list(range(count))
    assert len(first.ids) <= count + 6 * (count // 14)  # what two queries share: a second's records each
    assert first.cursors["books"]["highest"] == Search.moment((count - 1) // 3)
    search.records += [{"id": 500 + n, "at": Search.moment(100 + n)} for n in range(50)]
    second = Read(source, first.cursors)
    assert {500 + n for n in range(50)} <= set(second.ids)


@pytest.mark.parametrize("kind", PAGING)
def test_more_records_of_one_value_than_a_query_serves_are_an_error(
    serve: Callable[..., Api], kind: str
) -> None:
    search = Search(87)
    search.records[30:70] = [{"id": n, "at": Search.moment(10)} for n in range(30, 70)]
    seen: list[Any] = []
    with pytest.raises(AnswerUnusable, match="more records share one value of 'at' than the API serves"):
        seen.extend(RestSource(entry(serve(search.handle).url, stream(kind)), resolve).read({}))
    states = [item.cursors["books"] for item in seen if isinstance(item, Checkpoint)]
    assert all("pull" in state for state in states)  # not one that counts as read to its end


def test_records_in_another_order_are_an_error(serve: Callable[..., Api]) -> None:
    search = Search(87)
    search.records.reverse()
    with pytest.raises(AnswerUnusable, match="records do not come in the order of 'at'"):
        Read(RestSource(entry(serve(search.handle).url, stream("offset")), resolve))


@pytest.mark.parametrize("total", ["", "true"])
@pytest.mark.parametrize("kind", PAGING)
def test_a_pull_that_breaks_off_goes_on_from_the_highest_value(
    serve: Callable[..., Api], kind: str, total: str
) -> None:
    search = Search(87, total=total)
    api = serve(search.handle)
    source = RestSource(
        entry(api.url, stream(kind, total), concurrent_requests=1), resolve, sizes=Sizes(batch_rows=10)
    )
    search.refuse_after = 50
    states: list[dict[str, Any]] = []
    with pytest.raises(SourceRefused):
        states.extend(dict(item.cursors) for item in source.read({}) if isinstance(item, Checkpoint))
    search.refuse_after = 10**9
    before = search.served
    rest = Read(source, states[-1])
    highest = states[-1]["books"]["highest"]
    assert {one["id"] for one in search.records if one["at"] > highest} <= set(rest.ids)
    whole = Search(87, total=total)
    Read(RestSource(entry(serve(whole.handle).url, stream(kind, total)), resolve))
    assert search.served - before <= whole.served - 40  # queries overlap by a second's records


@pytest.mark.parametrize("way", ["windows", "full_table"])
def test_what_cannot_go_on_from_a_value_is_an_error_where_the_limit_is_reached(
    serve: Callable[..., Api], way: str
) -> None:
    search = Search(15)
    what = stream("offset", cursor=None, replication="full_table")
    if way == "windows":
        windows = {"start": "2026-01-01", "step": "1 day", "from": "since", "to": "until"}
        what = stream("offset", cursor=None, windows=windows)
    source = RestSource(
        entry(serve(search.handle).url, what), resolve, clock=lambda: START + timedelta(hours=1)
    )
    assert len(Read(source).ids) == 15
    search.records += [{"id": n, "at": Search.moment(n)} for n in range(100, 120)]
    with pytest.raises(AnswerUnusable, match=r"the query gave 20 records, and the API serves 20 of one"):
        Read(source)
