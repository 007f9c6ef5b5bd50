"""Lists of files over HTTP: each new or changed file is read once, and the list is the cursor."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from groundwork import manifest
from groundwork.bucket import open_bucket
from groundwork.errors import AnswerUnusable, SourceRefused, SourceUnreachable
from groundwork.extract import extract
from groundwork.sources import Checkpoint, Rows
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer, cut_off
from tests.integration.rest_reading import Read, entry, resolve

LINES: dict[str, Any] = {
    "endpoint": "/exports/", "format": "ndjson", "replication": "incremental",
    "files": {"records": "files", "link": "href", "version": ["size", "changed"]},
}  # fmt: skip


class Folder:
    """A server of files, and of lists of them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken: set[str] = set()
        self.failing: set[str] = set()
        self.listing: Any = None
        self.api = Api(self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/exports/")
        if not name:
            return self.listing() if self.listing else self.as_json()
        if name in self.failing:
            return answer({}, 500)
        if name in self.broken:
            return await cut_off(request, self.files[name])
        etag = {"ETag": f'"{hash(self.files[name])}"'}
        return web.Response(body=self.files[name], content_type="text/plain", headers=etag)

    def as_json(self) -> web.Response:
        entries = [
            {"href": name, "size": len(body), "changed": hash(body)} for name, body in self.files.items()
        ]
        return answer({"files": entries})

    def as_html(self, beside: str = "") -> web.Response:
        rows = "".join(f'<a href="{name}">{name}</a>  {beside}\n' for name in self.files)
        links = '<a href="?C=N">Name</a><a href="/">..</a><a href="sub/">sub/</a><a href="http://x/y">y</a>'
        return web.Response(text=f"<html><pre>{links}{rows}</pre></html>", content_type="text/html")

    @property
    def asked(self) -> list[str]:
        return [f"{one.method} {one.path.removeprefix('/exports/')}" for one in self.api.requests]

    def source(self, sizes: Sizes | None = None, **stream: Any) -> RestSource:
        return RestSource(entry(self.api.url, {**LINES, **stream}, retries=0), resolve, sizes=sizes)


@pytest.fixture
def folder() -> Iterator[Folder]:
    served = Folder()
    yield served
    served.api.close()


def test_each_new_or_changed_file_is_read_once(folder: Folder) -> None:
    folder.files = {"a.ndjson": b'{"id": 1}\n{"id": 2}\n', "b.ndjson.gz": gzip.compress(b'{"id": 3}')}
    first = Read(folder.source())
    assert first.ids == [1, 2, 3]
    folder.files |= {"a.ndjson": b'{"id": 1}\n{"id": 22}\n', "c.ndjson": b'{"id": 4}'}
    second = Read(folder.source(), first.cursors)
    assert second.ids == [1, 22, 4]
    third = Read(folder.source(), second.cursors)
    assert third.ids == [] and third.cursors == second.cursors
    assert folder.asked == [
        "GET ", "GET a.ndjson", "GET b.ndjson.gz", "GET ", "GET a.ndjson", "GET c.ndjson", "GET ",
    ]  # fmt: skip
    told = json.loads(first.frame["_request"][0])
    assert told["file"] == "a.ndjson" and told["answer_sha256"] and told["url"].endswith("/exports/a.ndjson")


def test_a_file_that_is_not_listed_any_more_leaves_the_cursor(folder: Folder) -> None:
    folder.files = {"a": b'{"id": 1}', "b": b'{"id": 2}'}
    first = Read(folder.source())
    del folder.files["a"]
    second = Read(folder.source(), first.cursors)
    assert second.ids == [] and list(second.cursors["books"]["files"]) == ["b"]


def test_an_index_page_is_a_list_and_what_stands_beside_a_link_its_version(folder: Folder) -> None:
    folder.files = {"a.csv": b"id\n1\n", "b.csv": b"id\n2\n", "readme.txt": b"no"}
    folder.listing = lambda: folder.as_html("2026-01-01 10:00  5")
    stream: dict[str, Any] = {"format": "csv", "files": {"listing": "html", "pattern": "*.csv"}}
    first = Read(folder.source(**stream))
    assert first.ids == ["1", "2"]
    assert Read(folder.source(**stream), first.cursors).ids == []
    folder.listing = lambda: folder.as_html("2026-01-01 10:01  5")
    assert Read(folder.source(**stream), first.cursors).ids == ["1", "2"]
    assert {one for one in folder.asked if one.startswith("HEAD")} == set()


def test_a_list_that_says_nothing_of_versions_has_each_file_asked(folder: Folder) -> None:
    folder.files = {"a.csv": b"id\n1\n", "b.csv": b"id\n2\n"}
    folder.listing = folder.as_html
    stream: dict[str, Any] = {"format": "csv", "files": {"listing": "html", "pattern": "*.csv"}}
    first = Read(folder.source(**stream))
    folder.files["b.csv"] = b"id\n3\n"
    assert Read(folder.source(**stream), first.cursors).ids == ["3"]
    assert folder.asked[-3:] == ["HEAD a.csv", "HEAD b.csv", "GET b.csv"]


def test_a_bad_file_is_told_at_the_end_and_blocks_none_of_those_after_it(folder: Folder) -> None:
    folder.files = {name: f'{{"id": "{name}"}}'.encode() for name in "abc"}
    folder.broken = {"b"}
    items: list[Any] = []
    with pytest.raises(AnswerUnusable, match=r"stream 'books', file 'b': the answer is not whole"):
        items.extend(folder.source().read({}))  # what came before the error stays in the list
    assert [type(item) for item in items] == [Rows, Checkpoint] and items[0].frame.num_rows == 2
    assert items[-1].events == [{"event": "files left out", "stream": "books", "files": 1}]
    cursors = items[-1].cursors
    folder.broken = set()
    assert Read(folder.source(), cursors).ids == ["b"]


def test_a_server_that_fails_ends_the_pull_and_the_next_goes_on_there(folder: Folder) -> None:
    folder.files = {name: f'{{"id": "{name}"}}'.encode() for name in "abc"}
    folder.failing = {"b"}
    items: list[Any] = []
    with pytest.raises(SourceUnreachable, match=r"stream 'books', file 'b': no answer after 1 attempt"):
        items.extend(folder.source().read({}))
    assert folder.asked[-1] == "GET b"
    folder.failing = set()
    assert Read(folder.source(), items[-1].cursors).ids == ["b", "c"]


def test_of_a_large_file_that_ends_within_a_record_nothing_is_committed(
    folder: Folder, tmp_path: Path
) -> None:
    line = b'{"id": 1, "text": "' + b"x" * 200 + b'"}\n'
    folder.files = {"a": b'{"id": 0}', "b": line * 100_000 + b'{"id": ', "c": b'{"id": 2}'}
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    books = entry(folder.api.url, LINES, retries=0)
    with pytest.raises(AnswerUnusable, match=r"file 'b': the file is not whole"):
        extract(books, folder.source(Sizes(frame_bytes=1 << 20)), bucket)
    newest = manifest.latest(bucket, "books")
    assert newest is not None and list(newest.cursors["books"]["files"]) == ["a", "c"]
    found = [manifest.read(bucket, "books", number) for number in range(1, newest.batch_id + 1)]
    assert sum(one.rows for one in found if one) == 2


def test_an_index_of_several_pages_is_followed_where_it_says_how(folder: Folder) -> None:
    folder.files = {f"{number:02d}.csv": b"id\n%d\n" % number for number in range(7)}

    async def paged(request: web.Request) -> web.StreamResponse:
        if request.path != "/exports/":
            return await folder.handle(request)
        page = int(request.query.get("page", 0))
        names = sorted(folder.files)[page * 3 : page * 3 + 3]
        rows = "".join(f'<a href="{name}">{name}</a> 5 bytes\n' for name in names)
        more = f'<a rel="next" href="?page={page + 1}">more</a>' if (page + 1) * 3 < len(folder.files) else ""
        return web.Response(text=f"<pre>{rows}</pre>{more}", content_type="text/html")

    folder.api.handler = paged
    stream: dict[str, Any] = {"format": "csv", "files": {"listing": "html", "pattern": "*.csv"}}
    first = Read(folder.source(**stream))
    assert first.ids == [str(number) for number in range(7)]
    assert Read(folder.source(**stream), first.cursors).ids == []

    async def in_a_circle(request: web.Request) -> web.StreamResponse:
        return web.Response(
            text='<a href="a.csv">a</a><a rel="next" href="?page=1">more</a>', content_type="text/html"
        )

    folder.api.handler = in_a_circle
    with pytest.raises(AnswerUnusable, match="a page that was read already"):
        Read(folder.source(**stream))


def test_a_file_that_ends_within_a_record_is_an_error_and_takes_nothing_else_along(folder: Folder) -> None:
    folder.files = {"a": b'{"id": 1}', "b": b'{"id": 2}\n{"id'}
    items: list[Any] = []
    with pytest.raises(
        AnswerUnusable, match=r"file 'b': the file is not whole.*It may still be being written"
    ):
        items.extend(folder.source().read({}))  # what came before the error stays in the list
    assert list(items[-1].cursors["books"]["files"]) == ["a"]


def test_a_large_file_is_read_in_pieces_and_is_a_batch_of_its_own(folder: Folder) -> None:
    line = json.dumps({"id": 1, "text": "x" * 1000}).encode()
    folder.files = {"a": b'{"id": 0}', "large.gz": gzip.compress(b"\n".join([line] * 120_000), 1), "z": line}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows, batches = 0, []
    for item in folder.source(Sizes(frame_bytes=4 << 20)).read({}):
        if isinstance(item, Rows):
            rows += len(item.frame)
        else:
            batches.append((rows, list(item.cursors["books"]["files"])))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert rows == 120_002 and batches[0] == (1, ["a"]) and batches[-1][0] == rows
    assert grown < 100 << 10, f"{grown} KiB for a file of 120 MB"


def test_files_of_json_have_their_own_path_to_the_records(folder: Folder) -> None:
    folder.files = {"a.json": b'{"data": {"items": [{"id": 1.0}]}}'}
    read = Read(folder.source(format="json", records="data.items"))
    assert read.records == ['{"id": 1.0}']


def test_an_empty_list_after_a_full_one_is_an_error(folder: Folder) -> None:
    folder.files = {"a": b'{"id": 1}'}
    first = Read(folder.source())
    folder.files = {}
    with pytest.raises(AnswerUnusable, match=r"listing is empty, where the last one had 1 files"):
        Read(folder.source(), first.cursors)
    assert Read(folder.source(shrink_tolerance=1), first.cursors).cursors["books"]["files"] == {}


def test_a_file_on_another_host_is_refused(folder: Folder) -> None:
    folder.listing = lambda: answer({"files": [{"href": "http://elsewhere.example/a"}]})
    with pytest.raises(SourceRefused, match="on another host"):
        Read(folder.source())


def test_a_signed_link_is_not_what_a_file_is_known_by_and_is_not_written(folder: Folder) -> None:
    folder.files = {"a": b'{"id": 1}'}
    signed = iter(("s1gned", "s2gned"))
    folder.listing = lambda: answer({"files": [{"href": f"a?sig={next(signed)}", "key": "2026/a", "v": 1}]})
    stream: dict[str, Any] = {"files": {"records": "files", "link": "href", "name": "key", "version": ["v"]}}
    first = Read(folder.source(**stream))
    assert first.ids == [1] and list(first.cursors["books"]["files"]) == ["2026/a"]
    assert "gned" not in first.frame["_request"][0]
    assert Read(folder.source(**stream), first.cursors).ids == []
