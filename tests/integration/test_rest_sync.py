"""Tokens that one pull ends with and the next one begins with: delta links, sync tokens, stored cursors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from groundwork import manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.extract import Extracted, extract
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import entry, resolve

SIZE = 4


class Book:
    """An API of events that remembers every change, and gives a token that stands for all before it."""

    def __init__(self, way: str) -> None:
        self._way = way
        self.log: list[dict[str, Any]] = []
        self.forgotten: set[str] = set()
        """Tokens that are refused."""
        self.status = 410
        self.tokenless = self.refuse_page = False
        self.asked: list[str] = []
        for number in range(10):
            self.change(number)

    def change(self, number: int, *, gone: bool = False) -> None:
        self.log.append({"id": number, "version": len(self.log), "gone": gone})

    @property
    def alive(self) -> dict[int, int]:
        """The version of each record that is there."""
        newest = {one["id"]: one for one in self.log}
        return {id_: one["version"] for id_, one in newest.items() if not one["gone"]}

    async def handle(self, request: web.Request) -> web.Response:
        asked = request.query
        token, start = asked.get("token", ""), int(asked.get("page", "0"))
        if self._way == "stored cursor" and asked.get("cursor"):
            token, start = asked["cursor"], 0
        self.asked.append(f"{token}+{start}")
        since = int(token.removeprefix("t")) if token else -1
        if token in self.forgotten:
            return answer({"error": {"code": "gone"}}, self.status)
        if not token or self._way == "stored cursor":
            assert asked.get("kind") == "all" or token
        else:
            assert "kind" not in asked
        if start and self.refuse_page:
            return answer({}, 403)
        return self._page(token, since, start)

    def _page(self, token: str, since: int, start: int) -> web.Response:
        newest = {one["id"]: one for one in self.log}
        found = [one for one in newest.values() if one["version"] > since and (token or not one["gone"])]
        found.sort(key=lambda one: one["version"])
        items = [
            {"id": one["id"], "version": one["version"], "state": "cancelled" if one["gone"] else "open"}
            for one in found[start : start + SIZE]
        ]
        more = start + SIZE < len(found)
        if self._way == "stored cursor":  # as Zendesk: one cursor for pages and pulls
            reached = items[-1]["version"] if items else since
            return answer({"items": items, "after": f"t{reached}", "end_of_stream": not more})
        new = "" if self.tokenless else f"t{len(self.log) - 1}"
        if self._way == "delta link":  # as OData and Microsoft Graph
            link = (
                f"/books?token={token}&page={start + SIZE}"
                if token
                else f"/books?kind=all&page={start + SIZE}"
            )
            way = {"@odata.nextLink": link} if more else {"@odata.deltaLink": f"/books?token={new}"}
            return answer({"items": items, **(way if more or new else {})})
        if self._way == "header":
            headers = {} if more or not new else {"X-Sync-Token": new}
            return answer({"items": items, "next": start + SIZE if more else None}, **headers)
        body = {"items": items, "next": start + SIZE} if more else {"items": items, "syncToken": new or None}
        return answer(body)


WAYS: dict[str, dict[str, Any]] = {
    "delta link": {
        "paging": {"kind": "json_link", "next": r"@odata\.nextLink"},
        "sync": {"next": r"@odata\.deltaLink", "full_read": {"kind": "all"}},
    },
    "sync token": {
        "paging": {"kind": "cursor", "parameter": "page", "next": "next"},
        "sync": {"next": "syncToken", "parameter": "token", "full_read": {"kind": "all"}},
    },
    "stored cursor": {
        "paging": {"kind": "cursor", "parameter": "cursor", "next": "after", "end": "end_of_stream"},
        "sync": {"next": "after", "parameter": "cursor", "full_read": {"kind": "all"}},
    },
    "header": {
        "paging": {"kind": "cursor", "parameter": "page", "next": "next"},
        "sync": {"header": "X-Sync-Token", "parameter": "token", "full_read": {"kind": "all"}},
    },
}


def stream(way: str, **more: Any) -> dict[str, Any]:
    return {
        "replication": "incremental",
        "records": "items",
        "primary_key": ["id"],
        "columns": {"id": {"type": "integer"}},
        "deleted": "state",
        "deleted_values": ["cancelled"],
        **WAYS[way],
        **more,
    }


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket((tmp_path / "bucket").as_uri())


def pulled(api: Api, what: dict[str, Any], bucket: Bucket, **sizes: Any) -> Extracted:
    source = entry(api.url, what, concurrent_requests=1)
    return extract(source, RestSource(source, resolve, sizes=Sizes(**sizes)), bucket)


def standing(bucket: Bucket, directory: Path) -> dict[int, int]:
    """The version of each record that is there by what was committed."""
    found: dict[int, int] = {}
    for batch in manifest.since(bucket, "books", 0):
        for stored in batch.objects:
            path = directory / "object.parquet"
            bucket.download(stored.key, path)
            read = pq.read_table(path)
            for text, operation in zip(
                read["record"].to_pylist(), read["_operation"].to_pylist(), strict=True
            ):
                if operation == "truncate":
                    found.clear()
                    continue
                record = json.loads(text)
                if operation == "delete":
                    found.pop(record["id"], None)
                else:
                    found[record["id"]] = record["version"]
    return found


@pytest.mark.parametrize("way", WAYS)
def test_each_pull_begins_where_the_one_before_ended(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, way: str
) -> None:
    book = Book(way)
    api = serve(book.handle)
    first = pulled(api, stream(way), bucket)
    assert standing(bucket, tmp_path) == book.alive and sum(first.rows.values()) == 11
    asked = len(book.asked)
    assert pulled(api, stream(way), bucket).rows == {}
    assert len(book.asked) == asked + 1 and book.asked[-1].startswith("t")
    for number in (3, 12, 13, 14, 15, 16):
        book.change(number)
    book.change(5, gone=True)
    assert pulled(api, stream(way), bucket).rows == {"books": 7}
    assert standing(bucket, tmp_path) == book.alive
    book.change(12, gone=True)
    assert pulled(api, stream(way), bucket).rows == {"books": 1}
    assert standing(bucket, tmp_path) == book.alive


@pytest.mark.parametrize("status", [410, 400])
@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_the_api_forgot_has_everything_read_again(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, way: str, status: int
) -> None:
    book = Book(way)
    what = stream(way)
    what["sync"] = {**what["sync"], "expired": [410, 400]}
    api = serve(book.handle)
    pulled(api, what, bucket)
    book.forgotten, book.status = {"t9"}, status
    book.change(3, gone=True)  # in no answer of a full read, so only a truncate row says it
    book.change(20)
    done = pulled(api, what, bucket)
    assert standing(bucket, tmp_path) == book.alive and 3 not in book.alive
    assert [event["event"] for event in done.events] == ["everything is read again"]
    book.change(22)
    assert pulled(api, what, bucket).rows == {"books": 1}
    assert standing(bucket, tmp_path) == book.alive


def test_a_status_that_is_not_named_is_no_expired_token(serve: Callable[..., Api], bucket: Bucket) -> None:
    book = Book("sync token")
    api = serve(book.handle)
    pulled(api, stream("sync token"), bucket)
    book.forgotten, book.status = {"t9"}, 400
    with pytest.raises(SourceRefused, match="status 400"):
        pulled(api, stream("sync token"), bucket)


@pytest.mark.parametrize("way", ["delta link", "sync token", "header"])
def test_a_pull_that_ends_without_a_token_is_an_error(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, way: str
) -> None:
    book = Book(way)
    api = serve(book.handle)
    book.tokenless = True
    with pytest.raises(AnswerUnusable, match="ended without a token"):
        pulled(api, stream(way), bucket)
    assert standing(bucket, tmp_path) == {}
    book.tokenless = False
    pulled(api, stream(way), bucket)
    before = standing(bucket, tmp_path)
    book.tokenless = True
    book.change(30)
    with pytest.raises(AnswerUnusable, match="ended without a token"):
        pulled(api, stream(way), bucket)
    assert standing(bucket, tmp_path) == before
    book.tokenless = False
    pulled(api, stream(way), bucket)
    assert standing(bucket, tmp_path) == book.alive


@pytest.mark.parametrize("rows", [3, 50_000])
@pytest.mark.parametrize("way", ["delta link", "sync token"])
def test_a_pull_that_breaks_off_loses_nothing_whether_full_or_of_changes(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path, way: str, rows: int
) -> None:
    book = Book(way)
    api = serve(book.handle)
    for _ in range(2):
        book.refuse_page = True
        with pytest.raises(SourceRefused, match="status 403"):
            pulled(api, stream(way), bucket, batch_rows=rows)
        book.refuse_page = False
        pulled(api, stream(way), bucket, batch_rows=rows)
        assert standing(bucket, tmp_path) == book.alive
        for number in range(4, 16):
            book.change(number, gone=number % 5 == 0)


def test_a_token_that_is_forgotten_in_the_middle_of_a_pull_has_everything_read_again(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path
) -> None:
    book = Book("sync token")
    api = serve(book.handle)
    pulled(api, stream("sync token"), bucket)
    for number in range(4, 16):
        book.change(number, gone=number % 5 == 0)
    book.refuse_page = True
    with pytest.raises(SourceRefused):
        pulled(api, stream("sync token"), bucket)
    book.refuse_page, book.forgotten = False, {"t9"}
    pulled(api, stream("sync token"), bucket)
    assert standing(bucket, tmp_path) == book.alive


def test_another_question_is_not_asked_with_an_old_token(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path
) -> None:
    book = Book("sync token")
    api = serve(book.handle)
    pulled(api, stream("sync token"), bucket)
    done = pulled(api, stream("sync token", parameters={"shelf": "2"}), bucket)
    assert [event["why"] for event in done.events] == ["the stream's entry in the catalog has changed"]
    assert standing(bucket, tmp_path) == book.alive


def test_all_records_that_are_gone_are_gone_after_a_full_read(
    serve: Callable[..., Api], bucket: Bucket, tmp_path: Path
) -> None:
    book = Book("sync token")
    book.log.clear()
    book.change(0, gone=True)
    api = serve(book.handle)
    pulled(api, stream("sync token"), bucket)
    book.change(1)
    pulled(api, stream("sync token"), bucket)
    assert standing(bucket, tmp_path) == {1: 1}
    book.change(1, gone=True)
    book.forgotten = {"t1"}
    pulled(api, stream("sync token"), bucket)
    assert standing(bucket, tmp_path) == {}
