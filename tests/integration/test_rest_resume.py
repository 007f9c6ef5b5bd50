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

from groundwork import manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.extract import extract
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import SECRET, Read, entry, resolve
from tests.integration.test_rest_parts import BY_DAY, Issues, Sales, comments_of, family

PROJECT = Path(__file__).parents[2]
BOOKS = [{"id": n, "at": n} for n in range(60)]
SIZE, KILLED_AT = 5, 8
RUN = """
import json, sys
from groundwork.bucket import open_bucket
from groundwork.extract import extract
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
        self.pages: list[int] = []

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
        body = {"items": BOOKS[start : start + SIZE]}
        if (following := start + SIZE) >= len(BOOKS):
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
            ids += [json.loads(text)["id"] for text in pq.read_table(path)["record"].to_pylist()]
    return ids


def killed_in_mid_pull(url: str, stream: dict[str, Any], bucket: Bucket, batches: int) -> None:
    """A run in a process of its own that gets SIGKILL once it has committed some batches."""
    argv = [sys.executable, "-c", RUN, url, json.dumps(stream), bucket.url]
    killed = subprocess.Popen(argv, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    try:
        deadline = time.monotonic() + 120
        while (found := manifest.latest(bucket, "books")) is None or found.batch_id < batches:
            assert time.monotonic() < deadline and killed.poll() is None
            time.sleep(0.05)
    finally:
        killed.kill()
        killed.wait()


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
    killed_in_mid_pull(api.url, stream, bucket, batches=KILLED_AT)
    shelf.hang_at = None
    time.sleep(0.1)  # what hung is answered into the void
    shelf.pages.clear()
    source = entry(api.url, stream)
    extract(source, RestSource(source, resolve), bucket)
    # where places count, the page before is asked for once more, to see that it is what it was
    again = KILLED_AT - (kind in ("page_number", "offset"))
    assert min(shelf.pages) == again
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]


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
    killed_in_mid_pull(api.url, stream, bucket, batches=KILLED_AT - 1)
    folder.hang_at = None
    folder.asked.clear()
    source = entry(api.url, stream)
    extract(source, RestSource(source, resolve), bucket)
    assert folder.asked[0] == f"{KILLED_AT - 1:02d}" and len(folder.asked) == 12 - KILLED_AT + 1
    assert committed(bucket, tmp_path) == [book["id"] for book in BOOKS]


RUN_PARTS = """
import sys
from groundwork.bucket import open_bucket
from groundwork.extract import extract
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
        killed.wait()
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
    """A way on that holds our secret is not written down; a full_table is one batch."""

    async def books(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 0))
        link = f"/books?page={page + 1}&token={quote(SECRET)}" if page < 2 else None
        return answer({"items": [{"id": page, "at": page}], "link": link})

    caplog.set_level(logging.INFO)
    api = serve(books)
    auth = {"kind": "bearer", "token": {"secret": "books-token"}}
    stream = {"records": "items", "paging": {"kind": "json_link", "next": "link"}}
    once = {**stream, "replication": "incremental", "cursor": {"field": "at", "parameter": "since"}}
    for asked, why in ((once, "the way on holds a secret"), (stream, "a full_table is one batch")):
        caplog.clear()
        sizes = Sizes(batch_rows=1)
        read = Read(RestSource(entry(api.url, asked, auth=auth), resolve, sizes=sizes))
        assert read.ids == [0, 1, 2]
        told = [line for line in caplog.messages if line.startswith("no place to go on from stream=books")]
        assert len(told) == 1 and why in told[0]
