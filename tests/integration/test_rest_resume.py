"""A run that is killed in the middle of a pull: the next one goes on, in every way that pages can follow."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from groundwork import drafts, manifest, time_limit
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import AnswerUnusable, ManifestConflict, SourceRefused
from groundwork.extract import Extracted, extract
from groundwork.sources.rest import RestSource, Sizes
from tests.conditions import until
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import SECRET, Read, entry, resolve
from tests.integration.test_rest_parts import BY_DAY, Issues, Sales, comments_of, family

PROJECT = Path(__file__).parents[2]
BOOKS = [{"id": n, "at": n} for n in range(60)]
SIZE, KILLED_AT = 5, 8
RUN = """
import json, sys
from groundwork.bucket import open_bucket
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.extract import Extracted, extract
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.rest_reading import entry, resolve
found = entry(sys.argv[1], json.loads(sys.argv[2]))
extract(found, RestSource(found, resolve, sizes=Sizes(batch_rows=5)), open_bucket(sys.argv[3]))
"""


CURSOR = {"kind": "cursor", "parameter": "after", "next": "next"}
KINDS: dict[str, dict[str, Any]] = {
    "page_number": {"paging": {"kind": "page_number", "parameter": "page", "size": SIZE}},
    "offset": {"paging": {"kind": "offset", "parameter": "skip", "size_parameter": "n", "size": SIZE}},
    "cursor": {"paging": CURSOR},
    "keyset": {"paging": {"kind": "cursor", "parameter": "after_id", "last_field": "id"}},
    "POST": {"method": "POST", "repeatable": True, "paging": {**CURSOR, "parameter": "page.after"}},
    "GraphQL": {"query": "{ items }", "paging": CURSOR},
    "header_cursor": {"paging": {"kind": "header_cursor", "header": "X-Next", "parameter": "after"}},
    "continue_object": {"paging": {"kind": "continue_object", "next": "continue"}},
    "json_link": {"paging": {"kind": "json_link", "next": "link"}},
    "header_link": {"paging": {"kind": "header_link"}},
}


class Shelf:
    """Knows all ways to a page at once; can hang at one, as long as it is told to."""

    def __init__(self) -> None:
        self.hang_at: int | None = None
        self.refuse_at: int | None = None
        self.pages: list[int] = []
        self.books = BOOKS

    async def handle(self, request: web.Request) -> web.Response:
        asked: dict[str, Any] = dict(request.query)
        if request.method == "POST":
            body = json.loads(await request.read())
            asked = body.get("variables") or body.get("page") or {}
        start = int(asked.get("after", asked.get("skip", asked.get("from", 0))))
        start = int(asked["after_id"]) + 1 if "after_id" in asked else start
        start = (int(asked["page"]) - 1) * SIZE if "page" in asked else start
        page = start // SIZE
        self.pages.append(page)
        while page == self.hang_at:
            await asyncio.sleep(0.05)
        if page == self.refuse_at and request.path == "/books":
            return answer({"error": "no longer yours"}, 403)
        body = {"items": self.books[start : start + SIZE]}
        if (following := start + SIZE) >= len(self.books):
            return answer(body)
        link = f"/books?from={following}"
        way = {"next": str(following), "continue": {"from": following, "x": ""}, "link": link}
        return answer({**body, **way}, 200, **{"X-Next": str(following), "Link": f'<{link}>; rel="next"'})


def committed(bucket: Bucket, directory: Path) -> list[int]:
    """Ids of all committed rows."""
    newest = manifest.latest(bucket, "books")
    ids: list[int] = []
    for batch in range(1, (newest.batch_id if newest else 0) + 1):
        found = manifest.read(bucket, "books", batch)
        for stored in found.objects if found else []:
            path = directory / "object.parquet"
            bucket.download(stored.key, path)
            ids += [json.loads(text)["id"] for text in pq.read_table(path)["record"].to_pylist() if text]
    return ids


def killed_in_mid_pull(url: str, stream: dict[str, Any], bucket: Bucket, reached: Callable[[], bool]) -> None:
    """A run in a process of its own that gets SIGKILL once it has come so far."""
    argv = [sys.executable, "-c", RUN, url, json.dumps(stream), bucket.url]
    killed = subprocess.Popen(argv, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    try:
        until(lambda: reached() or killed.poll() is not None, seconds=120, what="the run has come so far")
        assert killed.poll() is None
    finally:
        killed.kill()
        killed.wait(60)


def committed_are(bucket: Bucket, batches: int) -> Callable[[], bool]:
    """Whether so many batches are committed."""
    return lambda: manifest.latest_id(bucket, "books") >= batches


def kept_are(bucket: Bucket, records: int) -> Callable[[], bool]:
    """Whether so many records stand in the draft."""

    def there() -> bool:
        draft = drafts.found(bucket, "books", None)
        return draft is not None and draft.cursors["books"]["pull"]["records"] >= records

    return there


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_costs_one_page_and_no_record(
    serve: Callable[..., Api], tmp_path: Path, kind: str
) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    stream = {
        "replication": "incremental", "records": "items", "cursor": {"field": "at", "parameter": "since"},
        **KINDS[kind],
    }  # fmt: skip
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    shelf.hang_at = KILLED_AT
    killed_in_mid_pull(api.url, stream, bucket, committed_are(bucket, KILLED_AT))
    shelf.hang_at = None
    time.sleep(0.1)  # what hung is answered into the void
    shelf.pages.clear()
    source = entry(api.url, stream)
    extract(source, RestSource(source, resolve), bucket)
    # where places count, the page before is asked for once more, to see that it is what it was
    again = KILLED_AT - (kind in ("page_number", "offset"))
    assert min(shelf.pages) == again
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_table_that_is_killed_goes_on_at_the_next_page_and_is_one_batch(
    serve: Callable[..., Api], tmp_path: Path, kind: str
) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    stream = {"records": "items", **KINDS[kind]}
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    shelf.hang_at = KILLED_AT
    killed_in_mid_pull(api.url, stream, bucket, kept_are(bucket, KILLED_AT * SIZE))
    assert manifest.latest_id(bucket, "books") == 0
    shelf.hang_at = None
    time.sleep(0.1)  # what hung is answered into the void
    shelf.pages.clear()
    done = pulled(api.url, stream, bucket)
    assert min(shelf.pages) == KILLED_AT - (kind in ("page_number", "offset"))
    assert (done.batches, done.operations) == ([1], {"truncate": 1, "snapshot": len(BOOKS)})
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]
    assert not bucket.exists(drafts.draft_key("books"))


def pulled(url: str, stream: dict[str, Any], bucket: Bucket, sizes: Sizes | None = None) -> Extracted:
    source = entry(url, stream)
    return extract(source, RestSource(source, resolve, sizes=sizes), bucket)


WHOLE = {"records": "items", "paging": CURSOR}


@pytest.fixture
def broken_off(serve: Callable[..., Api], tmp_path: Path) -> tuple[Shelf, Api, Bucket]:
    """A whole table whose first pull was refused at a page, and would be answered now."""
    shelf = Shelf()
    api = serve(shelf.handle)
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    shelf.refuse_at = KILLED_AT
    with pytest.raises(SourceRefused):
        pulled(api.url, WHOLE, bucket)
    assert kept_are(bucket, KILLED_AT * SIZE)() and manifest.latest_id(bucket, "books") == 0
    shelf.refuse_at = None
    shelf.pages.clear()
    return shelf, api, bucket


def test_an_error_in_the_middle_of_a_whole_table_costs_one_page(
    broken_off: tuple[Shelf, Api, Bucket], tmp_path: Path
) -> None:
    shelf, api, bucket = broken_off
    assert pulled(api.url, WHOLE, bucket).rows == {"books": len(BOOKS) + 1}
    assert min(shelf.pages) == KILLED_AT
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]
    # and its digest went on too, so that saying the same again is known to be nothing new
    shelf.pages.clear()
    assert pulled(api.url, WHOLE, bucket, Sizes(batch_seconds=0)).batches == []
    assert min(shelf.pages) == 0 and not bucket.exists(drafts.draft_key("books"))


def test_the_batch_of_a_table_that_was_begun_holds_no_other_stream(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    films = {
        **WHOLE,
        "endpoint": "/films",
        "replication": "incremental",
        "cursor": {"field": "at", "parameter": "since"},
    }
    whole = entry(api.url, WHOLE)
    first = entry(api.url, films).streams["books"]
    both = whole.model_copy(update={"streams": {"films": first, **whole.streams}})

    def streams() -> list[set[str]]:
        return [{stored.stream for stored in batch.objects} for batch in manifest.since(bucket, "books", 0)]

    shelf.refuse_at = KILLED_AT
    with pytest.raises(SourceRefused):
        extract(both, RestSource(both, resolve), bucket)
    assert streams() == [{"films"}] and drafts.draft_key("books")
    shelf.refuse_at, shelf.books = None, [*BOOKS, {"id": 60, "at": 60}]
    extract(both, RestSource(both, resolve), bucket)
    assert streams() == [{"films"}, {"books"}, {"films"}]
    found = manifest.read(bucket, "books", 2)
    assert found is not None and found.rows == 1 + 61
    assert "pull" not in found.cursors["books"]


@pytest.mark.parametrize("why", ["object", "catalog", "age", "batch", "refresh"])
def test_a_draft_that_does_not_fit_any_more_is_not_gone_on_with(
    broken_off: tuple[Shelf, Api, Bucket], tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, api, bucket = broken_off
    draft = drafts.found(bucket, "books", None)
    assert draft is not None
    stream: dict[str, Any] = WHOLE
    match why:
        case "object":
            bucket.delete(draft.objects[-1].key)
        case "catalog":
            stream = {**WHOLE, "parameters": {"shelf": "all"}}
        case "age":
            monkeypatch.setattr(drafts, "AGE", manifest.now() - draft.started_at)
        case "batch":  # the run was taken for dead, and another one committed
            bucket.delete(drafts.draft_key("books"))
            pulled(api.url, WHOLE, bucket)
            drafts.save(bucket, draft)
            shelf.pages.clear()
    source = entry(api.url, stream)
    refresh = ["books"] if why == "refresh" else []
    extract(source, RestSource(source, resolve), bucket, refresh=refresh)
    assert min(shelf.pages) == 0
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]
    if why == "catalog":
        told = manifest.read(bucket, "books", 1)
        assert told and [event["event"] for event in told.events] == ["pull started over"]


def test_a_draft_that_is_erased_under_the_run_that_writes_it_is_not_committed(
    broken_off: tuple[Shelf, Api, Bucket],
) -> None:
    _, api, bucket = broken_off

    class Erased(RestSource):
        def read(self, cursors: Any) -> Any:
            for item in super().read(cursors):
                drafts.purge(bucket, "books")
                yield item

    source = entry(api.url, WHOLE)
    with pytest.raises(ManifestConflict, match="removed by an erasure"):
        extract(source, Erased(source, resolve), bucket)
    assert manifest.latest_id(bucket, "books") == 0
    assert pulled(api.url, WHOLE, bucket).rows == {"books": len(BOOKS) + 1}


def test_a_whole_table_that_is_longer_than_the_time_limit_is_read_in_several_runs(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    runs = 0
    while not manifest.latest_id(bucket, "books"):
        asked = len(shelf.pages)
        with time_limit.limited(lambda asked=asked: 100.0 - 30 * (len(shelf.pages) - asked)) as limit:  # type: ignore[misc]
            done = pulled(api.url, WHOLE, bucket)
        runs += 1
        assert limit.cut_short is not done.complete
    assert 2 < runs < 12
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]


def test_a_whole_table_that_shrank_too_far_leaves_no_draft(
    broken_off: tuple[Shelf, Api, Bucket],
) -> None:
    shelf, api, bucket = broken_off
    pulled(api.url, WHOLE, bucket)
    shelf.books = BOOKS[:20]
    with pytest.raises(AnswerUnusable, match="20 records came, where the last pull had 60"):
        pulled(api.url, WHOLE, bucket, Sizes(batch_rows=5))
    assert not bucket.exists(drafts.draft_key("books"))


class Folder:
    """Twelve files of five lines, and a list of them; can hang at one."""

    def __init__(self) -> None:
        self.hang_at: str | None = None
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/books":
            return answer([{"url": f"/files/{n:02d}", "size": 5} for n in range(len(BOOKS) // SIZE)])
        name = request.path.removeprefix("/files/")
        self.asked.append(name)
        while name == self.hang_at:
            await asyncio.sleep(0.05)
        first = int(name) * SIZE
        lines = "\n".join(json.dumps(book) for book in BOOKS[first : first + SIZE])
        return web.Response(text=lines, content_type="text/plain")


def test_a_run_that_is_killed_costs_one_file_of_a_list(serve: Callable[..., Api], tmp_path: Path) -> None:
    folder = Folder()
    api = serve(folder.handle)
    stream = {"replication": "incremental", "format": "ndjson", "files": {"version": ["size"]}}
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    folder.hang_at = f"{KILLED_AT:02d}"
    # each file is a batch; the one that was read when the next was asked for is not committed yet
    killed_in_mid_pull(api.url, stream, bucket, committed_are(bucket, KILLED_AT - 1))
    folder.hang_at = None
    folder.asked.clear()
    source = entry(api.url, stream)
    extract(source, RestSource(source, resolve), bucket)
    assert folder.asked[0] == f"{KILLED_AT - 1:02d}" and len(folder.asked) == 12 - KILLED_AT + 1
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]


RUN_PARTS = """
import sys
from groundwork.bucket import open_bucket
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.extract import Extracted, extract
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.rest_reading import entry, resolve
from tests.integration.test_rest_parts import BY_DAY, family
found = family(sys.argv[1]) if sys.argv[2] == "children" else entry(sys.argv[1], BY_DAY)
extract(found, RestSource(found, resolve, sizes=Sizes(batch_rows=5)), open_bucket(sys.argv[3]))
"""


@pytest.mark.parametrize("kind", ["windows", "children"])
def test_a_run_that_is_killed_goes_on_in_the_part_that_it_was_in(
    serve: Callable[..., Api], tmp_path: Path, kind: str
) -> None:
    sales, issues = Sales(), Issues(12)
    handle = issues.handle if kind == "children" else sales.handle
    reached, released = threading.Event(), threading.Event()

    async def hang(request: web.Request) -> web.Response:
        if len(api.requests) >= 15:
            reached.set()
            while not released.is_set():
                await asyncio.sleep(0.05)
        return await handle(request)

    api = serve(hang)
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    argv = [sys.executable, "-c", RUN_PARTS, api.url, kind, bucket.url]
    killed = subprocess.Popen(argv, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    try:
        assert reached.wait(120)
    finally:
        killed.kill()
        killed.wait(60)
    released.set()
    before = committed(bucket, tmp_path)
    source = family(api.url) if kind == "children" else entry(api.url, BY_DAY)
    whole = [one for ids in sales.days.values() for one in ids]
    if kind == "children":
        whole = [*range(12), *comments_of(issues)]
    assert 0 < len(before) < len(whole)
    extract(source, RestSource(source, resolve), bucket)
    assert sorted(committed(bucket, tmp_path)) == sorted(whole)


def test_where_no_place_can_be_kept_the_log_says_so(
    serve: Callable[..., Api], caplog: pytest.LogCaptureFixture
) -> None:
    """A way on that holds our secret is not written down."""

    async def books(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 0))
        link = f"/books?page={page + 1}&token={quote(SECRET)}" if page < 2 else None
        return answer({"items": [{"id": page, "at": page}], "link": link})

    caplog.set_level(logging.INFO)
    api = serve(books)
    auth = {"kind": "bearer", "token": {"secret": "books-token"}}
    stream = {"records": "items", "paging": {"kind": "json_link", "next": "link"}}
    once = {**stream, "replication": "incremental", "cursor": {"field": "at", "parameter": "since"}}
    for asked in (once, stream):
        caplog.clear()
        sizes = Sizes(batch_rows=1)
        read = Read(RestSource(entry(api.url, asked, auth=auth), resolve, sizes=sizes))
        assert read.ids == [0, 1, 2]
        told = [line for line in caplog.messages if line.startswith("no place to go on from stream=books")]
        assert len(told) == 1 and "the way on holds a secret" in told[0]
