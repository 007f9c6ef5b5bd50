"""NDJSON, CSV and packed bodies through the same contract; and what looks like data, but is none."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve


@pytest.fixture
def serve() -> Iterator[Callable[..., Api]]:
    with ExitStack() as stack:

        def start(body: bytes, kind: str = "text/plain", **headers: str) -> Api:
            async def handle(request: web.Request) -> web.StreamResponse:
                return web.Response(body=body, content_type=kind, headers=headers or None)

            api = Api(handle)
            stack.callback(api.close)
            return api

        yield start


def zipped(*members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"part-{number}.txt", member)
    return packed.getvalue()


def read(api: Api, **stream: Any) -> Read:
    return Read(RestSource(entry(api.url, stream, retries=0), resolve))


LINES = b'{"id": 9007199254740993, "n": 1.10}\n\r\n  {"id":"007","id":2}\r\n{"a":"\\u00e9 \xc3\xa9"}'
RECORDS = ['{"id": 9007199254740993, "n": 1.10}', '{"id":"007","id":2}', '{"a":"\\u00e9 é"}']


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_lines_of_json_are_records_letter_for_letter_packed_or_not(
    serve: Callable[..., Api], pack: Callable[[bytes], bytes]
) -> None:
    assert read(serve(pack(LINES)), format="ndjson").records == RECORDS


def test_json_is_unpacked_too_and_its_envelope_read(serve: Callable[..., Api]) -> None:
    api = serve(gzip.compress(b'{"items": [{"id": 1.0}]}'), "application/gzip")
    assert read(api, records="items").records == ['{"id": 1.0}']


def test_an_empty_file_of_lines_has_no_records(serve: Callable[..., Api]) -> None:
    assert read(serve(b""), format="ndjson").records == []


def test_rows_of_csv_are_objects_of_text_in_the_order_of_the_header(serve: Callable[..., Api]) -> None:
    body = '\ufeffid;name;id;;name\r\n007;"a ""b"";\nc";1.10;;ä\r\n\r\n'.encode()
    found = read(serve(body, "text/csv"), format="csv", delimiter=";")
    assert found.records == ['{"id":"007","name":"a \\"b\\";\\nc","id#2":"1.10","#4":"","name#2":"ä"}']
    assert json.loads(found.frame["_request"].drop_nulls()[0])["answer_sha256"]


def test_a_csv_of_another_encoding_is_read_as_declared(serve: Callable[..., Api]) -> None:
    api = serve("id,name\n1,Zoë €\n".encode("windows-1252"), "text/csv")
    assert read(api, format="csv", encoding="windows-1252").records == ['{"id":"1","name":"Zoë €"}']
    with pytest.raises(AnswerUnusable, match=r"the answer is not utf-8.*'delimiter' and 'encoding'"):
        read(api, format="csv")


def test_a_csv_of_a_header_only_has_no_records(serve: Callable[..., Api]) -> None:
    assert read(serve(b"id,name\n", "text/csv"), format="csv").records == []


def test_csv_has_cursors_and_pages_like_json() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        page = int(request.query["page"])
        rows = ["1,2026-01-01", "2,2026-01-02", "3,2026-01-03"]
        rows = [row for row in rows if row[2:] >= request.query.get("since", "")][(page - 1) * 2 : page * 2]
        return web.Response(text="\n".join(["id,changed", *rows]), content_type="text/csv")

    api = Api(handle)
    stream = {
        "format": "csv", "replication": "incremental",
        "cursor": {"field": "changed", "parameter": "since"},
        "paging": {"kind": "page_number", "parameter": "page"},
    }  # fmt: skip
    try:
        first = read(api, **stream)
        second = Read(RestSource(entry(api.url, stream), resolve), first.cursors)
    finally:
        api.close()
    assert first.ids == ["1", "2", "3"] and second.records == []
    assert api.queries[-1]["since"] == "2026-01-02"


@pytest.mark.parametrize(
    ("form", "body", "told"),
    [
        ("ndjson", LINES[:-5], "not whole.*lines after byte 61"),
        ("ndjson", b'{"id": 1}\n{"id":\n{"id": 3}\n', "the line at byte 10 is not one JSON text"),
        ("ndjson", b'{"id": 1}\n{"id": NaN}\n', r"NaN is no JSON \(byte 7\)"),
        ("ndjson", gzip.compress(LINES, mtime=0)[:-9], "not whole.*packed bytes end too early"),
        ("ndjson", zipped(LINES)[:-9], "not whole.*packed bytes end too early"),
        ("ndjson", zipped(LINES, LINES), "the zip holds 2 files"),
        ("ndjson", b'{"a": "\xff"}', r"not UTF-8 \(byte 7\)"),
        ("csv", b'a,b\n1,"2', "not whole.*within quotes that began before line 2"),
        ("csv", b"a,b\n1,2\n3", "not whole.*last row of the CSV is not whole"),
        ("csv", b"a,b\n1,2,3\n4,5\n", "line 2 has 3 fields, the header has 2"),
        ("csv", b'a,b\n1,"2"3\n', "line 2 is not CSV"),
        ("csv", b"", "the answer is empty.*still has its header"),
        ("csv", b'{"error": "bad token"}', "is JSON, not CSV.*error that came with status 200"),
        ("csv", b"<html>Sign in</html>", "a page .*login page"),
        ("ndjson", b"<!doctype html><html>", "a page .*login page"),
    ],
)
def test_what_is_not_whole_or_not_the_format_is_an_error(
    serve: Callable[..., Api], form: str, body: bytes, told: str
) -> None:
    with pytest.raises(AnswerUnusable, match=rf"stream 'books', page 1[:,] .*{told}"):
        read(serve(body), format=form)


@pytest.mark.parametrize(
    ("kind", "form", "expect", "told"),
    [
        ("text/csv", "json", {}, "is of type text/csv, which is not json"),
        ("application/pdf", "ndjson", {}, "is of type application/pdf, which is not ndjson"),
        ("application/json", "csv", {}, "is of type application/json, which is not csv"),
        ("text/plain", "json", {"content_type": "application/json"}, "text/plain, not application/json"),
    ],
)
def test_a_wrong_content_type_is_an_error(
    serve: Callable[..., Api], kind: str, form: str, expect: dict[str, str], told: str
) -> None:
    with pytest.raises(AnswerUnusable, match=told):
        read(serve(b"[]", kind), format=form, expect=expect)


def test_a_vague_content_type_is_none_and_a_declared_one_is_right(serve: Callable[..., Api]) -> None:
    assert read(serve(b'[{"id": 1}]', "text/plain")).ids == [1]
    assert read(serve(b'[{"id": 1}]', "image/png"), expect={"content_type": "image/png"}).ids == [1]


@pytest.mark.parametrize(
    "beside", [{"error": "bad token"}, {"errors": ["x"]}, {"ok": False}, {"success": False}]
)
def test_no_records_beside_an_error_are_an_error_without_any_word_in_the_catalog(
    serve: Callable[..., Api], beside: dict[str, Any]
) -> None:
    api = serve(json.dumps({"items": [], **beside}).encode(), "application/json")
    with pytest.raises(AnswerUnusable, match=r"holds no records, but .* something is wrong"):
        read(api, records="items")


def test_words_that_deny_an_error_are_none(serve: Callable[..., Api]) -> None:
    body = b'{"items": [], "error": null, "errors": [], "ok": true}'
    assert read(serve(body, "application/json"), records="items").records == []


def test_an_empty_answer_where_records_are_expected_is_an_error(serve: Callable[..., Api]) -> None:
    api = serve(b"[]", "application/json")
    assert read(api).records == []
    with pytest.raises(AnswerUnusable, match=r"brought 0 records, at least 1 are expected.*token"):
        read(api, expect={"minimum": 1})


def test_the_fewest_records_count_over_all_pages() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        page = int(request.query["page"])
        return answer([{"id": page}] if page < 4 else [])

    api = Api(handle)
    paging = {"kind": "page_number", "parameter": "page", "size": 1}
    try:
        assert read(api, paging=paging, expect={"minimum": 3}).ids == [1, 2, 3]
        with pytest.raises(AnswerUnusable, match="brought 3 records, at least 4"):
            read(api, paging=paging, expect={"minimum": 4})
    finally:
        api.close()


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ({"expect": {"required": ["id", "at.day"]}}, "record 2 of the page .*missing required field 'day'"),
        ({"primary_key": ["key"], "columns": {"key": {"type": "text"}}}, "record 1 .*field 'key'"),
        (
            {"primary_key": ["key"], "columns": {"key": {"type": "text", "path": "id"}}, "records": ""},
            "record 3 .*field 'id'",
        ),
    ],
)
def test_records_without_the_keys_they_must_have_are_an_error(
    serve: Callable[..., Api], stream: dict[str, Any], told: str
) -> None:
    body = b'[{"id": 1, "at": {"day": null}}, {"id": 2, "at": {}}, {"at": {"day": 1}}]'
    if "expect" in stream:
        body = body.replace(b'{"at": {"day": 1}}', b'{"id": 3, "at": {"day": 1}}')
    with pytest.raises(AnswerUnusable, match=told):
        read(serve(body, "application/json"), **stream)
