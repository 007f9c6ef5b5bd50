"""The total of an API, compared with the different records that came: no proven loss is committed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from groundwork import manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.extract import Extracted, extract
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

SIZE = 10
KEY = {"primary_key": ["id"], "columns": {"id": {"type": "integer"}}}
PAGING: dict[str, dict[str, Any]] = {
    "page_number": {"kind": "page_number", "parameter": "page", "size": SIZE},
    "offset": {"kind": "offset", "parameter": "skip", "size_parameter": "n", "size": SIZE},
    "cursor": {"kind": "cursor", "parameter": "after", "next": "next"},
    "header_cursor": {"kind": "header_cursor", "parameter": "after", "header": "X-After"},
    "continue_object": {"kind": "continue_object", "next": "continue"},
    "json_link": {"kind": "json_link", "next": "link"},
    "header_link": {"kind": "header_link"},
}


COUNTED = ("page_number", "offset")


def stream(kind: str, replication: str = "full_table", *, key: bool = True) -> dict[str, Any]:
    what = {"records": "items", "paging": {**PAGING[kind], "total": "total"}, **(KEY if key else {})}
    if replication == "incremental":
        what["cursor"] = {"field": "at", "parameter": "since"}
    return {**what, "replication": replication}


def ways_on(request: web.Request, following: str | None) -> dict[str, Any]:
    """How an answer leads to the next one, in all ways at once."""
    if following is None:
        return {"next": None}
    link = str(request.rel_url.update_query(after=following))
    headers = {"X-After": following, "Link": f'<{link}>; rel="next"'}
    return {"next": following, "link": link, "continue": {"after": following}, **headers}


class Shelf:
    """An API that counts its records. ``orders`` says which of them each reading sees, in which order."""

    def __init__(self, count: int) -> None:
        self.ids = list(range(count))
        self.orders: Iterator[list[int]] = iter(())
        self.order = self.ids
        self.total: int | None = None
        self.refuse_at = -1
        self.ignores_tokens = self.knows_since = False
        self.before_page: Callable[[int], None] = lambda start: None
        self.readings = 0

    async def handle(self, request: web.Request) -> web.Response:
        asked = request.query
        start = int(asked.get("after", asked.get("skip", 0)))
        start = (int(asked["page"]) - 1) * SIZE if "page" in asked else start
        if not start:
            self.readings += 1
            self.order = next(self.orders, self.ids)
        if start == self.refuse_at:
            return answer({}, 403)
        self.before_page(start)
        if self.ignores_tokens:
            start, self.ignores_tokens = 0, False
        since = int(asked.get("since", 0)) if self.knows_since else 0
        order = [one for one in self.order if one >= since]
        found = order[start : start + SIZE]
        following = str(start + SIZE) if start + SIZE < len(order) else None
        total = len(order) if self.total is None else self.total
        items = [{"id": one, "at": one} for one in found]
        way = ways_on(request, following)
        headers = {name: way.pop(name) for name in ("Link", "X-After") if name in way}
        return answer({"items": items, "total": total, **way}, **headers)


def pulled(api: Api, what: dict[str, Any], bucket: Bucket, **sizes: Any) -> Extracted:
    source = entry(api.url, what, concurrent_requests=1)
    return extract(source, RestSource(source, resolve, sizes=Sizes(**sizes)), bucket)


def committed(bucket: Bucket, directory: Path) -> list[int]:
    """Ids of the rows that count: those after the last truncate row."""
    ids: list[int] = []
    for batch in manifest.since(bucket, "books", 0):
        for stored in batch.objects:
            path = directory / "object.parquet"
            bucket.download(stored.key, path)
            for text in pq.read_table(path)["record"].to_pylist():
                ids = [*ids, json.loads(text)["id"]] if text else []
    return ids


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket((tmp_path / "bucket").as_uri())


def tied(count: int) -> list[int]:
    """An order with ties: two records come twice, on other pages, and two never."""
    order = list(range(count))
    order[count // 2], order[count - 2] = 3, 7
    return order


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
@pytest.mark.parametrize("kind", PAGING)
def test_an_order_with_ties_that_loses_two_records_each_time_is_not_committed(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, kind: str, replication: str
) -> None:
    shelf = Shelf(251)
    api, what = serve(shelf.handle), stream(kind, replication)
    pulled(api, what, bucket)
    before, cursors = committed(bucket, tmp_path), manifest.latest(bucket, "books")
    assert sorted(before) == shelf.ids and cursors
    shelf.ids += [251, 252]
    shelf.orders = iter([tied(253)] * 3)
    told = r"held 251 different records \(253 in all\), but the API counts 253"
    if replication == "incremental":  # an API that does not know 'since' gives everything again
        shelf.total = 253
    with pytest.raises(AnswerUnusable, match=told):
        pulled(api, what, bucket)
    assert shelf.readings == 4
    assert committed(bucket, tmp_path) == before
    newest = manifest.latest(bucket, "books")
    assert newest and newest.cursors == cursors.cursors
    shelf.total = None
    pulled(api, what, bucket)
    assert sorted(set(committed(bucket, tmp_path))) == list(range(253))


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
@pytest.mark.parametrize("kind", PAGING)
def test_a_pull_that_lost_records_once_is_read_again_until_it_is_whole(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, kind: str, replication: str
) -> None:
    shelf = Shelf(95)
    shelf.orders = iter([tied(95), tied(95)])
    done = pulled(serve(shelf.handle), stream(kind, replication), bucket, batch_rows=30)
    assert sorted(set(committed(bucket, tmp_path))) == list(range(95))
    assert shelf.readings == 3
    assert [event["event"] for event in done.events] == ["pull read again"] * 2


@pytest.mark.parametrize("kind", PAGING)
def test_fewer_and_more_records_than_the_total_are_errors_without_a_key_too(
    serve: Callable[..., Api], kind: str
) -> None:
    for total in (94, 96):
        shelf = Shelf(95)
        shelf.total = total
        if kind in COUNTED and total == 94:
            shelf.total = 88  # pages that are counted end with the page that reaches the total
        with pytest.raises(AnswerUnusable, match=rf"held 9\d records, but the API counts {shelf.total}"):
            Read(RestSource(entry(serve(shelf.handle).url, stream(kind, key=False)), resolve))
        assert shelf.readings == 3


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
def test_a_server_that_came_back_with_fewer_records_is_read_from_the_beginning(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, replication: str
) -> None:
    shelf = Shelf(110)
    api, what = serve(shelf.handle), stream("cursor", replication)
    shelf.refuse_at = 60
    with pytest.raises(SourceRefused):
        pulled(api, what, bucket)
    shelf.refuse_at, shelf.ignores_tokens = -1, True
    shelf.ids = shelf.order = list(range(50))
    done = pulled(api, what, bucket)
    if replication == "full_table":
        assert sorted(committed(bucket, tmp_path)) == list(range(50))
    assert set(range(50)) <= set(committed(bucket, tmp_path))
    assert [event["event"] for event in done.events] == ["pull read again"]


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
@pytest.mark.parametrize("kind", PAGING)
def test_records_that_come_twice_across_a_resume_are_no_whole_pull(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, kind: str, replication: str
) -> None:
    """Each session alone looks right: only over both is it seen that two records came twice."""
    shelf = Shelf(95)
    api, what = serve(shelf.handle), stream(kind, replication)
    shelf.refuse_at = 60
    with pytest.raises(SourceRefused):
        pulled(api, what, bucket)
    shelf.refuse_at = -1
    shelf.order = tied(95)
    shelf.order[:60] = range(60)
    shelf.order[70:72] = [3, 7]
    done = pulled(api, what, bucket)
    assert sorted(set(committed(bucket, tmp_path))) == list(range(95))
    assert [event["event"] for event in done.events] == ["pull read again"]
    assert "92 different records (95 in all)" in done.events[0]["why"]


@pytest.mark.parametrize("kind", PAGING)
def test_a_pull_that_is_resumed_and_whole_is_read_once(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, kind: str
) -> None:
    shelf = Shelf(95)
    api = serve(shelf.handle)
    for what in (stream(kind), stream(kind, "incremental")):
        shelf.refuse_at, shelf.readings = 60, 0
        with pytest.raises(SourceRefused):
            pulled(api, what, bucket)
        shelf.refuse_at = -1
        done = pulled(api, what, bucket)
        assert (done.events, shelf.readings) == ([], 1)
        assert sorted(committed(bucket, tmp_path)[-95:]) == list(range(95))
        for batch in manifest.since(bucket, "books", 0):
            bucket.delete(f"books/manifests/{batch.name}.json")


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
@pytest.mark.parametrize("kind", PAGING)
@pytest.mark.parametrize("how", ["grows", "shrinks", "both"])
def test_a_total_that_moves_while_we_read_does_not_fail(
    serve: Callable[..., Api], how: str, kind: str, replication: str
) -> None:
    shelf = Shelf(95)
    fresh = iter(range(1000, 2000))

    def change(start: int) -> None:
        if how == "grows" or (how == "both" and start % 20):
            shelf.ids.append(next(fresh))
        else:
            shelf.ids.pop(1)

    shelf.before_page = change
    read = Read(RestSource(entry(serve(shelf.handle).url, stream(kind, replication), concurrent_requests=1),
                           resolve))  # fmt: skip
    stayed = {one for one in shelf.ids if one < 1000}
    if kind in COUNTED:  # what is asked for by a place moves too; a cursor here does, without going back
        assert stayed <= set(read.ids)


@pytest.mark.parametrize("kind", PAGING)
def test_a_loss_that_a_moving_total_proves_is_not_committed(serve: Callable[..., Api], kind: str) -> None:
    shelf = Shelf(95)

    def grow(start: int) -> None:
        shelf.total = 200 + start

    shelf.before_page = grow
    seen: list[object] = []
    with pytest.raises(AnswerUnusable, match=r"held 95 records, but the API counts 200 to 29\d|300"):
        source = RestSource(entry(serve(shelf.handle).url, stream(kind)), resolve)
        seen.extend(source.read({}))
    assert not [item for item in seen if isinstance(item, Checkpoint)]


@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_pages_that_moved_because_a_record_vanished_are_read_again(
    serve: Callable[..., Api], kind: str
) -> None:
    shelf = Shelf(95)
    gone = {12: [2, 11], 40: [12, 13], 78: [34]}

    def vanish(start: int) -> None:
        for at in [at for at in gone if start >= at]:
            for one in gone.pop(at):
                shelf.ids.remove(one)

    shelf.before_page = vanish
    read = Read(RestSource(entry(serve(shelf.handle).url, stream(kind), concurrent_requests=1), resolve))
    assert gone == {} and set(shelf.ids) <= set(read.ids)
    assert read.events == []


def test_the_total_of_each_part_is_compared(serve: Callable[..., Api]) -> None:
    """Children of parents: the second parent's list loses one, in each reading."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/books":
            return answer({"items": [{"id": 1, "at": 1}, {"id": 2, "at": 2}], "total": 2})
        parent = int(request.path.split("/")[2])
        children = [{"id": n} for n in range(3)] if request.query["page"] == "1" else []
        return answer({"items": children, "total": 3 if parent == 1 else 4})

    what = entry(serve(handle).url, stream("page_number", "incremental"))
    child = {
        **stream("page_number", "incremental"), "endpoint": "/books/{parent.id}/notes",
        "parent": {"stream": "books"}, "cursor": None, "primary_key": ["book", "id"],
        "columns": {"id": {"type": "integer"}, "book": {"type": "integer", "parent": "id"}},
    }  # fmt: skip
    raw = what.model_dump(mode="json", by_alias=True, exclude_unset=True)
    raw["streams"]["notes"] = child
    raw["update_every"] = "1 hour"
    with pytest.raises(AnswerUnusable, match=r"'notes', parent 2 of 2: .*held 3 records, .* counts 4"):
        Read(RestSource(type(what).model_validate(raw), resolve))


def test_a_first_pull_without_a_key_that_starts_over_has_each_record_once(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path
) -> None:
    shelf = Shelf(95)
    shelf.total = 96
    api, what = serve(shelf.handle), stream("cursor", "incremental", key=False)
    with pytest.raises(AnswerUnusable, match="counts 96"):
        pulled(api, what, bucket, batch_rows=30)
    shelf.total = None
    pulled(api, what, bucket, batch_rows=30)
    assert committed(bucket, tmp_path) == list(range(95))


def test_a_later_pull_without_a_key_that_starts_over_is_an_error_and_doubles_nothing(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path
) -> None:
    shelf = Shelf(5)
    api, what = serve(shelf.handle), stream("cursor", "incremental", key=False)
    pulled(api, what, bucket)
    shelf.ids, shelf.total, shelf.knows_since = list(range(95)), 96, True
    for told in ("a pull starts over of which a part is committed",) * 2:
        with pytest.raises(AnswerUnusable, match=told):
            pulled(api, what, bucket, batch_rows=30)
    ids = committed(bucket, tmp_path)
    assert len(ids) == len(set(ids))
