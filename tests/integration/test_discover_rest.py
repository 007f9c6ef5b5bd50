"""Drafts of catalog entries: from two pages of an API, and from an OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from groundwork.__main__ import main
from groundwork.catalog import RestSource as Entry
from groundwork.catalog import load_source
from groundwork.settings import Named
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read

BOOKS = [
    {
        "id": f"b{number}", "title": "x", "customer_email": "a@b.c", "pages": number, "price": 1.5,
        "lent": False, "printed": "2026-01-01", "updated_at": f"2026-01-01T00:00:{number:02}Z",
        "by": {"name": "n", "born": 1900}, "tags": ["a"], "note": None,
    }
    for number in range(1, 8)
]  # fmt: skip


def cut(request: web.Request, first: int, size: int = 3) -> list[dict[str, Any]]:
    return BOOKS[first : first + size]


def by_cursor(request: web.Request) -> web.Response:
    first = int(request.query.get("cursor", "0"))
    following = str(first + 3) if first + 3 < len(BOOKS) else None
    return answer({"data": {"items": cut(request, first)}, "meta": {"next_cursor": following}})


def by_link(request: web.Request) -> web.Response:
    first = int(request.query.get("from", "0"))
    following = f"{request.path}?from={first + 3}" if first + 3 < len(BOOKS) else None
    return answer({"results": cut(request, first), "next": following, "count": len(BOOKS)})


def by_header(request: web.Request) -> web.Response:
    first = int(request.query.get("from", "0"))
    link: dict[str, Any] = (
        {"Link": f'<{request.path}?from={first + 3}>; rel="next"'} if first + 3 < len(BOOKS) else {}
    )
    return answer(cut(request, first), **link)


def by_number(request: web.Request) -> web.Response:
    page, size = int(request.query.get("page", "1")), int(request.query.get("per_page", "3"))
    return answer({"books": cut(request, (page - 1) * size, size), "total": len(BOOKS)})


def by_offset(request: web.Request) -> web.Response:
    first, size = int(request.query.get("offset", "0")), int(request.query.get("limit", "3"))
    return answer(cut(request, first, size))


def by_last_record(request: web.Request) -> web.Response:
    first = int(request.query.get("starting_after", "b0")[1:])
    return answer({"data": cut(request, first), "has_more": first + 3 < len(BOOKS)})


def loaded(text: str, directory: Path, source: str = "library") -> Entry:
    file = directory / f"{source}.yml"
    file.write_text(text, encoding="utf-8")
    found = load_source(file)
    assert isinstance(found, Entry)
    return found


@pytest.mark.parametrize(
    ("handler", "query", "kind"),
    [
        (by_cursor, "", "cursor"),
        (by_link, "", "json_link"),
        (by_header, "", "header_link"),
        (by_number, "?per_page=2", "page_number"),
        (by_offset, "", "offset"),
        (by_last_record, "", "cursor"),
    ],
)
def test_what_is_drafted_from_two_pages_reads_the_whole(
    handler: Callable[[web.Request], web.Response], query: str, kind: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Key"] == "s3cr3t"
        return handler(request)

    monkeypatch.setenv("LIBRARY_TOKEN", "s3cr3t")
    api = Api(handle)
    try:
        words = ["discover", "library", "--url", f"{api.url}/v1/books{query}"]
        assert main([*words, "--secret", "library-token", "--header", "X-Key"]) == 0
        asked = len(api.requests)
        text = capsys.readouterr().out
        entry = loaded(text, tmp_path)
        read = Read(RestSource(entry, lambda named: "s3cr3t"))
    finally:
        api.close()
    stream = entry.streams["books"]
    assert stream.paging.kind == kind and stream.primary_key == ["id"] and asked <= 12
    assert read.ids == [book["id"] for book in BOOKS]
    assert "s3cr3t" not in text
    assert text.count("# guess: ") >= 8 and "updated_at" in text.split("replication:")[1].splitlines()[0]
    types = {name: column.type for name, column in stream.columns.items()}
    assert types == {
        "id": "text", "title": "text", "customer_email": "text", "pages": "integer", "price": "float",
        "lent": "boolean", "printed": "date", "updated_at": "timestamp", "by_name": "text",
        "by_born": "integer", "tags": "json", "note": "text",
    }  # fmt: skip
    assert stream.columns["by_born"].path == "by.born" and stream.columns["customer_email"].pii


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"message": "not for you"}', "holds no records"),
        (b"<html>Sign in</html>", "holds no records"),
        (b"[]", "holds no records"),
    ],
)
def test_an_answer_without_records_gives_no_draft(
    body: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(body)

    api = Api(handle)
    try:
        assert main(["discover", "library", "--url", f"{api.url}/books"]) == 1
    finally:
        api.close()
    said = capsys.readouterr()
    assert told in said.err and said.out == ""


def test_a_secret_in_the_address_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", "library", "--url", "http://localhost/books?api_key=s3cr3t"]) == 1
    said = capsys.readouterr()
    assert "holds a secret (api_key)" in said.err and "s3cr3t" not in said.err + said.out


def test_discover_needs_to_know_what_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", "library"]) == 1
    assert "needs --secret, --openapi or --url" in capsys.readouterr().err


BOOK = {
    "type": "object",
    "properties": {
        "uuid": {"type": "string"},
        "title": {"type": ["string", "null"]},
        "pages": {"type": "integer"},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "printed": {"type": "string", "format": "date"},
        "modified_at": {"$ref": "#/components/schemas/Instant"},
        "author": {"$ref": "#/components/schemas/Author"},
        "_row": {"type": "integer"},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "/api/v2/"}],
    "components": {
        "schemas": {
            "Instant": {"type": "string", "format": "date-time"},
            "Author": {"type": "object", "properties": {"name": {"type": "string"}}},
            "Book": BOOK,
            "Rare": {
                "allOf": [
                    {"$ref": "#/components/schemas/Book"},
                    {"properties": {"year": {"type": "integer"}}},
                ]
            },
            "Page": {
                "type": "object",
                "properties": {
                    "data": {"type": "array", "items": {"$ref": "#/components/schemas/Book"}},
                    "paging": {
                        "properties": {"next_cursor": {"type": "string"}, "has_more": {"type": "boolean"}}
                    },
                },
            },
        },
        "parameters": {"Cursor": {"name": "cursor", "in": "query"}},
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
    },
    "paths": {
        "/books": {
            "parameters": [{"$ref": "#/components/parameters/Cursor"}],
            "get": {
                "summary": "All books",
                "parameters": [{"name": "limit", "in": "query"}, {"name": "modified_since", "in": "query"}],
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}
                    }
                },
            },
            "post": {"responses": {}},
        },
        "/rare-books": {
            "get": {
                "parameters": [{"name": "page", "in": "query"}, {"name": "per_page", "in": "query"}],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Rare"}}
                            }
                        }
                    }
                },
            }
        },
        "/books/{uuid}/loans": {
            "get": {
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"type": "array", "items": BOOK}}}}
                }
            }
        },
        "/health": {"get": {"responses": {"200": {"description": "fine"}}}},
    },
}


def test_an_openapi_document_becomes_a_draft_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(DOCUMENT)

    api = Api(handle)
    try:
        assert main(["discover", "library", "--openapi", f"{api.url}/openapi.json"]) == 0
    finally:
        api.close()
    text = capsys.readouterr().out
    entry = loaded(text, tmp_path)
    assert entry.connection.base_url == f"{api.url}/api/v2"
    assert entry.connection.auth.model_dump(by_alias=True) == {
        "kind": "api_key", "token": Named(secret="library-token").model_dump(), "name": "X-Key",
        "in": "header", "prefix": "",
    }  # fmt: skip
    books, rare = entry.streams["books"], entry.streams["rare_books"]
    assert books.records == "data" and books.primary_key == ["uuid"] and books.description == "All books"
    assert books.paging.model_dump(exclude_defaults=True) == {
        "kind": "cursor", "parameter": "cursor", "next": "paging.next_cursor", "size_parameter": "limit",
        "more": "paging.has_more",
    }  # fmt: skip
    assert books.cursor and (books.cursor.field, books.cursor.parameter) == ("modified_at", "modified_since")
    assert {name: column.type for name, column in books.columns.items()} == {
        "uuid": "text", "title": "text", "pages": "integer", "price": "float", "printed": "date",
        "modified_at": "timestamp", "author": "json",
    }  # fmt: skip
    assert rare.records == "" and rare.paging.kind == "page_number" and rare.columns["year"].type == "integer"
    assert "Left out: 1 lists below another record" in text and "# guess: " in text


def test_a_swagger_document_in_a_file_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "swagger.yaml"
    file.write_text("""
swagger: '2.0'
host: api.example.com
basePath: /v1
securityDefinitions: {login: {type: basic}}
definitions:
  Pet: {properties: {id: {type: integer}, name: {type: string}}}
paths:
  /pets:
    get:
      parameters: [{name: offset, in: query, type: integer}, {name: limit, in: query, type: integer}]
      responses: {200: {schema: {type: array, items: {$ref: '#/definitions/Pet'}}}}
""")
    assert main(["discover", "library", "--openapi", str(file)]) == 0
    entry = loaded(capsys.readouterr().out, tmp_path)
    assert entry.connection.base_url == "https://api.example.com/v1"
    assert entry.connection.auth.kind == "basic"
    assert entry.streams["pets"].paging.kind == "offset" and entry.streams["pets"].columns["name"].pii


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({"paths": {}})])
def test_what_is_no_openapi_document_or_lists_nothing_is_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "api.json"
    file.write_text(text)
    assert main(["discover", "library", "--openapi", str(file)]) == 1
    assert "OpenAPI document" in (told := capsys.readouterr().err) or "no path" in told
