"""A draft of an API from its first look to rows in the warehouse: discover, check, extract, load.

What a draft does not know is said before anything is read: `check` refuses it with the reason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from groundwork.__main__ import main
from tests.integration.fault_api import Api, answer

SECRET = "s3cr3t-Canary"
BOOKS = [
    {"id": n, "title": f"Book {n}", "price": n + 0.25, "changed_at": f"2026-01-01T00:00:{n:02}Z"}
    for n in range(17)
]
SIZE = 5
DEPLOYMENT = """
deployments:
  - name: ingest-library
    parameters: {source: library}
    entrypoint: flows/ingest.py:ingest
    tags: ["source:library"]
    schedules: [{slug: hourly, cron: "0 * * * *", timezone: UTC}]
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
    work_pool: {name: default}
"""


class Project:
    """A directory with a catalog of one source, and the commands in it."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._page, self._capsys = directory / "catalog" / "library.yml", capsys
        self._page.parent.mkdir()
        (directory / "prefect.yaml").write_text(DEPLOYMENT)

    def run(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main(list(words))
        said = self._capsys.readouterr()
        assert SECRET not in said.out + said.err
        return code, said.out, said.err

    def discover(self, *words: str) -> str:
        code, draft, error = self.run("discover", "library", *words)
        assert code == 0, error
        self._page.write_text(draft, encoding="utf-8")
        return draft

    def edit(self, place: str, value: str) -> None:
        """Write a value where the draft says TODO, and only there."""
        lines = self._page.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [
            n for n, line in enumerate(lines) if line.strip().startswith(f"{place}: ") and "TODO" in line
        ]
        assert found, f"the draft does not ask for {place}"
        for n in found:
            lines[n] = f"{lines[n][: len(lines[n]) - len(lines[n].lstrip())]}{place}: {value}\n"
        self._page.write_text("".join(lines), encoding="utf-8")

    def refused(self) -> str:
        code, _, error = self.run("check")
        assert code == 1
        return error

    def loaded(self, stream: str = "books") -> list[str]:
        """Check, extract and load; the rows of the landing table."""
        for words in (("check",), ("extract", "library"), ("load", "library")):
            code, _, error = self.run(*words)
            assert code == 0, error
        _, out, _ = self.run(
            "sql", f"select record from landing.library__{stream} where record is not null", "--csv"
        )
        return out.splitlines()[1:]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GROUNDWORK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROUNDWORK_CATALOG", str(tmp_path / "catalog"))
    for name in ("TOKEN", "PASSWORD", "X_APP", "CLIENT_SECRET"):
        monkeypatch.setenv(f"LIBRARY_{name}", SECRET)
    monkeypatch.setenv("LIBRARY_CLIENT_ID", "groundwork")
    return Project(tmp_path, capsys)


def pages(request: web.Request) -> web.Response:
    start = int(request.query.get("cursor", "0"))
    following = str(start + SIZE) if start + SIZE < len(BOOKS) else None
    return answer({"items": BOOKS[start : start + SIZE], "next_cursor": following})


BASIC = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()
Allowed = Callable[[web.Request], bool]
SIGNED: dict[str, tuple[list[str], Allowed]] = {
    "a bearer token": (
        ["--secret", "library-token"],
        lambda asked: asked.headers.get("Authorization") == f"Bearer {SECRET}",
    ),
    "Basic": (
        ["--secret", "library-password", "--user", "ann"],
        lambda asked: asked.headers.get("Authorization") == BASIC,
    ),
    "a key in the query": (
        ["--auth", "{kind: api_key, in: query, name: key, token: {secret: library-token}}"],
        lambda asked: asked.query.get("key") == SECRET,
    ),
    "a key and a second header": (
        [
            "--secret",
            "library-token",
            "--header",
            "X-Key",
            "--headers",
            "{X-App: {secret: library-x-app}, X-Tenant: main}",
        ],
        lambda asked: (
            [asked.headers.get(name) for name in ("X-Key", "X-App", "X-Tenant")] == [SECRET, SECRET, "main"]
        ),
    ),
    "a token endpoint": (
        [
            "--auth",
            "{kind: oauth2_client_credentials, token_url: 'URL/token', client_id: groundwork, "
            "client_secret: {secret: library-client-secret}}",
        ],
        lambda asked: asked.headers.get("Authorization") == "Bearer g1ven",
    ),
    "a login": (
        [
            "--auth",
            "{kind: session_login, login_url: /login, token: data.token, "
            "credentials: {username: ann, password: {secret: library-password}}}",
        ],
        lambda asked: asked.headers.get("Authorization") == "Bearer g1ven",
    ),
}


@pytest.mark.parametrize("way", SIGNED)
def test_a_draft_that_signs_in_is_read_and_loaded_unedited(
    serve: Callable[..., Api], project: Project, way: str
) -> None:
    words, allowed = SIGNED[way]

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/token":
            assert request.headers["Authorization"].startswith("Basic ")
            return answer({"access_token": "g1ven", "expires_in": 600})
        if request.path == "/login":
            assert json.loads(await request.read()) == {"username": "ann", "password": SECRET}
            return answer({"data": {"token": "g1ven"}})
        return pages(request) if allowed(request) else answer({"error": "who are you?"}, 401)

    url = serve(handle).url
    draft = project.discover("--url", f"{url}/books", *(word.replace("URL", url) for word in words))
    assert "TODO: " not in draft.split("connection:")[1] and "g1ven" not in draft
    assert len(project.loaded()) == len(BOOKS)


@pytest.mark.parametrize(
    "words",
    [
        ["--auth", "{kind: magic}"],
        ["--auth", "[1]"],
        ["--headers", "a: ["],
        ["--auth", "{kind: basic, password: plain}"],
    ],
)
def test_auth_that_is_not_as_the_catalog_writes_it_is_refused(project: Project, words: list[str]) -> None:
    code, out, error = project.run("discover", "library", "--url", "http://127.0.0.1:9/books", *words)
    assert (code, out) == (1, "") and ("discover" in error) and "Traceback" not in error


CSV = {
    "utf-8": ("Id,Title,Price,Printed\n", ","),
    "windows-1252": ("Id;Title;Price;Printed\n", ";"),
    "utf-8 with tabs": ("Id\tTitle\tPrice\tPrinted\n", "\t"),
}


@pytest.mark.parametrize("content_type", ["text/csv", "application/octet-stream"])
@pytest.mark.parametrize("written", CSV)
def test_a_csv_is_drafted_and_loaded(
    serve: Callable[..., Api], project: Project, written: str, content_type: str
) -> None:
    header, delimiter = CSV[written]
    rows = [[f"{n:03}", f"Größe {n}", f"{n}.50", "2026-01-02"] for n in range(9)]
    text = header + "".join(delimiter.join(row) + "\n" for row in rows)

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=text.encode(written.split()[0]), content_type=content_type)

    draft = project.discover("--url", f"{serve(handle).url}/books.csv")
    assert "no way to a second one was found" in project.refused()
    project.edit("paging", "{kind: single_page}")
    found = project.loaded("books_csv")
    assert len(found) == 9 and "Größe 8" in "".join(found) and "008" in "".join(found)
    assert "type: text" in draft.split("Id:")[1].splitlines()[0]
    assert "decimal(38,2)" in draft.split("Price:")[1].splitlines()[0]
    assert "type: date" in draft.split("Printed:")[1].splitlines()[0]


def test_lines_of_json_are_drafted_and_loaded(serve: Callable[..., Api], project: Project) -> None:
    async def handle(request: web.Request) -> web.Response:
        body = "".join(json.dumps(book) + "\n" for book in BOOKS)
        return web.Response(body=body.encode(), content_type="application/x-ndjson")

    project.discover("--url", f"{serve(handle).url}/books")
    project.edit("paging", "{kind: single_page}")
    assert len(project.loaded()) == len(BOOKS)


def unsure(body: Any, **headers: str) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return answer(body, 200, **headers)

    return handle


UNSURE = [
    ("a bare list", unsure(BOOKS[:10]), "streams.books.paging: is not decided", "no way to a second one"),
    (
        "a total that is larger",
        unsure({"items": BOOKS[:10], "total": 1101}),
        "streams.books.paging",
        "'total' says 1101",
    ),
    (
        "a sign of more",
        unsure({"items": BOOKS[:10], "has_more": True}),
        "streams.books.paging",
        "look for paging",
    ),
    (
        "no key",
        unsure({"items": [{"name": "x"}, {"name": "y"}], "total": 2}),
        "streams.books.primary_key",
        "no column looks like a key; write the key as",
    ),
    (
        "a key that repeats",
        unsure({"items": [{"id": 1}, {"id": 1}], "total": 2}),
        "streams.books.primary_key",
        "'id' looks like a key, but stands in several records",
    ),
]


@pytest.mark.parametrize(
    ("handler", "place", "why"), [case[1:] for case in UNSURE], ids=[case[0] for case in UNSURE]
)
def test_a_draft_that_is_not_sure_does_not_pass_check_and_says_why(
    serve: Callable[..., Api], project: Project, handler: Any, place: str, why: str
) -> None:
    project.discover("--url", f"{serve(handler).url}/books")
    told = project.refused()
    assert place in told and why in told


def test_one_page_that_holds_as_many_records_as_the_api_counts_is_sure(
    serve: Callable[..., Api], project: Project
) -> None:
    handler = unsure({"items": BOOKS, "total": len(BOOKS)})
    project.discover("--url", f"{serve(handler).url}/books")
    assert len(project.loaded()) == len(BOOKS)


def document(**more: Any) -> dict[str, Any]:
    book = {
        "properties": {"id": {"type": "integer"}, "title": {"type": "string"}, "price": {"type": "number"}}
    }
    page = {
        "properties": {
            "sorts": {"type": "array", "items": {"properties": {"field": {"type": "string"}}}},
            "items": {"type": "array", "items": book},
            "next_cursor": {"type": "string"},
        }
    }
    good = {"content": {"application/json": {"schema": page}}}
    get = {"parameters": [{"name": "cursor", "in": "query"}], "responses": {"200": good}}
    schemes = {
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "app": {"type": "apiKey", "in": "header", "name": "X-App"},
    }
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "/"}],
        "security": [{"key": [], "app": []}],
        "components": {"securitySchemes": schemes},
        "paths": {"/books": {"get": get}},
        **more,
    }


def test_an_openapi_document_is_drafted_and_loaded_unedited(
    serve: Callable[..., Api], project: Project
) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/openapi.json":
            return answer(document())
        known = [request.headers.get(name) for name in ("X-Key", "X-App")] == [SECRET, SECRET]
        return pages(request) if known else answer({}, 401)

    project.discover("--openapi", f"{serve(handle).url}/openapi.json")
    assert len(project.loaded()) == len(BOOKS)


def secured(name: str, **scheme: Any) -> dict[str, Any]:
    return {"components": {"securitySchemes": {name: scheme}}, "security": []}


def oauth(flow: str) -> dict[str, Any]:
    flows = {flow: {"tokenUrl": "/token", "scopes": {"read": "Read"}}}
    return {
        "components": {"securitySchemes": {"sign_in": {"type": "oauth2", "flows": flows}}},
        "security": [],
    }


def test_a_token_endpoint_of_an_openapi_document_is_signed_in_to(
    serve: Callable[..., Api], project: Project
) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/openapi.json":
            return answer(document(**oauth("clientCredentials")))
        if request.path == "/token":
            return answer({"access_token": "g1ven", "expires_in": 600})
        known = request.headers.get("Authorization") == "Bearer g1ven"
        return pages(request) if known else answer({}, 401)

    project.discover("--openapi", f"{serve(handle).url}/openapi.json")
    assert len(project.loaded()) == len(BOOKS)


def by(parameters: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    item = {"properties": {"id": {"type": "integer"}}}
    schema = {"properties": {"items": {"type": "array", "items": item}, **properties}}
    get = {
        "parameters": [{"name": name, "in": "query"} for name in parameters],
        "responses": {"200": {"content": {"application/json": {"schema": schema}}}},
    }
    return {"paths": {"/books": {"get": get}}}


two = {"type": "array", "items": {"properties": {"a": {"type": "string"}}}}
OPENAPI_UNSURE = [
    (
        "pages by marker",
        by(["marker", "limit"], {}),
        "streams.books.paging",
        "perhaps {kind: cursor, parameter: marker, last_field: id}",
    ),
    ("no paging at all", by([], {}), "streams.books.paging", "nothing in the document says how pages follow"),
    (
        "a person signs in",
        oauth("authorizationCode"),
        "connection.auth",
        "sign_in (oauth2 authorizationCode)",
    ),
    ("OpenID Connect", secured("oidc", type="openIdConnect"), "connection.auth", "oidc (openIdConnect)"),
    ("no auth", {"components": {}, "security": []}, "connection.auth", "names no auth; write {kind: none}"),
    (
        "two arrays",
        by(["cursor"], {"items": two, "values": two, "next_cursor": {"type": "string"}}),
        "streams.books.records",
        "several arrays of objects might hold the records (items, values)",
    ),
    (
        "no key",
        by(["cursor"], {"items": two, "next_cursor": {"type": "string"}}),
        "streams.books.primary_key",
        "no property looks like a key",
    ),
]


@pytest.mark.parametrize(
    ("more", "place", "why"), [case[1:] for case in OPENAPI_UNSURE], ids=[case[0] for case in OPENAPI_UNSURE]
)
def test_a_draft_of_a_document_that_is_not_sure_does_not_pass_check_and_says_why(
    project: Project, tmp_path: Path, more: dict[str, Any], place: str, why: str
) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document(servers=[{"url": "https://api.example.com"}], **more)))
    project.discover("--openapi", str(file))
    told = project.refused()
    assert f"{place}: is not decided" in told and why in told


def test_all_that_is_not_decided_is_named_at_once(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({**document(components={}, security=[]), "servers": [], **by([], {})}))
    project.discover("--openapi", str(file))
    told = project.refused()
    assert "connection.base_url: is not decided" in told
    assert "so for connection.auth, streams.books.paging" in told
