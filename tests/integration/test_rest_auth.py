"""Tokens that run out, rotate and are refused: renewed in mid-pull, saved before use, told to nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import SettingMissing, SourceError, SourceRefused
from groundwork.settings import SECRETS_DIRECTORY, Named, resolve_from_environment
from groundwork.sources import Rows
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer, reset
from tests.integration.rest_reading import Read, entry
from tests.integration.token_api import CLIENT, Authority

BOOKS = [{"id": number} for number in range(1, 41)]
PAGES = {"paging": {"kind": "page_number", "parameter": "page", "size": 4}}


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The secrets that the entries name, and a directory for those that change."""
    monkeypatch.setenv("BOOKS_CLIENT_SECRET", CLIENT[1])
    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "first-r3fresh/+ä")
    monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path / "secrets"))
    return tmp_path / "secrets"


def guarded(authority: Authority, seen: Callable[[web.Request], None] = lambda _: None) -> Any:
    """Pages of books for those who carry a valid token."""

    async def handle(request: web.Request) -> web.Response:
        seen(request)
        if not authority.knows(request):
            return answer({"message": "who are you?"}, 401)
        page = int(request.query.get("page", 1))
        return answer(BOOKS[(page - 1) * 4 : page * 4])

    return handle


def client_credentials(tokens: Api, **more: Any) -> dict[str, Any]:
    return {
        "kind": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": CLIENT[0],
        "client_secret": {"secret": "books-client-secret"}, **more,
    }  # fmt: skip


def refresh_token(tokens: Api, **more: Any) -> dict[str, Any]:
    token = {"secret": "books-refresh-token"}
    return client_credentials(tokens) | {"kind": "oauth2_refresh_token", "refresh_token": token, **more}


def source(api: Api, auth: dict[str, Any], stream: dict[str, Any] = PAGES, **more: Any) -> RestSource:
    return RestSource(entry(api.url, stream, auth=auth, **more), resolve_from_environment)


@pytest.mark.parametrize("known_by", ["basic", "body"])
def test_one_token_serves_all_pages(serve: Callable[..., Api], known_by: str) -> None:
    authority = Authority()
    tokens, api = serve(authority.give), serve(guarded(authority))
    more = {"scope": "read books", "token_request": {"audience": "https://books.example"}}
    read = Read(source(api, client_credentials(tokens, client_auth=known_by, **more)))
    assert read.ids == [book["id"] for book in BOOKS]
    (asked,) = authority.asked
    asked.pop("client_id", None), asked.pop("client_secret", None)
    assert asked == {
        "grant_type": "client_credentials", "scope": "read books", "audience": "https://books.example"
    }  # fmt: skip


def test_a_token_is_renewed_before_it_runs_out(serve: Callable[..., Api]) -> None:
    authority = Authority(lifetime=1.0)
    refused = []
    tokens = serve(authority.give)
    api = serve(guarded(authority, lambda request: refused.append(authority.knows(request))))
    read = Read(source(api, client_credentials(tokens), requests_per_second=5))
    assert read.ids == [book["id"] for book in BOOKS]
    assert all(refused), "no request carried a token that had run out"
    assert len(authority.asked) > 2


def test_a_token_refused_in_mid_pull_is_renewed_once_for_all_requests_in_flight(
    serve: Callable[..., Api],
) -> None:
    authority = Authority(lifetime=None)

    def revoke(request: web.Request) -> None:
        if request.query["page"] == "5" and len(authority.asked) == 1:
            authority.revoke()

    tokens, api = serve(authority.give), serve(guarded(authority, revoke))
    authority.delay = 0.2  # time for others to be refused meanwhile
    read = Read(source(api, client_credentials(tokens), concurrent_requests=8))
    assert read.ids == [book["id"] for book in BOOKS]
    assert len(authority.asked) == 2


def test_a_token_that_is_refused_as_soon_as_it_is_given_ends_the_pull(serve: Callable[..., Api]) -> None:
    authority = Authority()

    async def never(request: web.Request) -> web.Response:
        return answer({}, 401)

    tokens, api = serve(authority.give), serve(never)
    with pytest.raises(SourceRefused, match="A token renewed just before was refused as well"):
        Read(source(api, client_credentials(tokens), concurrent_requests=8))
    assert len(authority.asked) == 2 and len(api.requests) <= 16


def test_the_statuses_that_mean_a_token_ran_out_can_be_named(serve: Callable[..., Api]) -> None:
    authority = Authority(lifetime=None)

    async def rude(request: web.Request) -> web.Response:
        if len(authority.asked) == 1 and request.query["page"] == "3":
            authority.revoke()
        page = int(request.query["page"])
        return answer(BOOKS[(page - 1) * 4 : page * 4]) if authority.knows(request) else answer({}, 403)

    tokens, api = serve(authority.give), serve(rude)
    read = Read(source(api, client_credentials(tokens, renew_on=[401, 403])))
    assert len(read.ids) == len(BOOKS)
    authority.asked.clear()
    with pytest.raises(SourceRefused, match="does not let us"):
        Read(source(api, client_credentials(tokens)))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("invalid_client", r"gives no token \(status 400, invalid_client\).*Check client_id"),
        ("invalid_scope", r"invalid_scope.*Check connection\.auth\.scope"),
        ("unauthorized_client", r"unauthorized_client.*may not use this kind of grant"),
        ("a secret: acc3ss", r"gives no token \(status 400\)\."),
    ],
)
def test_an_endpoint_that_gives_no_token_is_told_once(
    serve: Callable[..., Api], code: str, told: str
) -> None:
    authority = Authority()
    authority.refuse = code
    tokens, api = serve(authority.give), serve(guarded(authority))
    with pytest.raises(SourceRefused, match=rf"source 'books', token endpoint: .*{told}") as caught:
        Read(source(api, client_credentials(tokens)))
    assert "acc3ss" not in str(caught.value)
    assert len(authority.asked) == 1 and api.requests == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"expires_in": 5}, "has no token at 'access_token'"),
        ({"access_token": "a\r\nX-Evil: 1"}, "has no token at 'access_token'"),
        ({"error": "invalid_grant"}, "gives no token .status 200, invalid_grant"),
        (b"<html>log in", r"is not JSON \(200, application/json\)"),
    ],
)
def test_an_answer_that_is_no_token_is_told(serve: Callable[..., Api], said: Any, told: str) -> None:
    async def odd(request: web.Request) -> web.Response:
        return answer(said)

    tokens, api = serve(odd), serve(guarded(Authority()))
    with pytest.raises(SourceError, match=told):
        Read(source(api, client_credentials(tokens)))
    assert api.requests == []


def test_a_token_endpoint_that_fails_for_a_while_is_waited_for(serve: Callable[..., Api]) -> None:
    authority, failures = Authority(), [reset, lambda _: answer({}, 503, **{"Retry-After": "1"})]

    async def shaky(request: web.Request) -> web.StreamResponse:
        if not failures:
            return await authority.give(request)
        fail = failures.pop()
        return await fail(request) if fail is reset else fail(request)  # type: ignore[no-any-return]

    tokens, api = serve(shaky), serve(guarded(authority))
    assert len(Read(source(api, client_credentials(tokens))).ids) == len(BOOKS)


def test_what_the_token_endpoint_is_told_goes_nowhere_else(serve: Callable[..., Api]) -> None:
    authority = Authority()
    thief = serve(authority.give)

    async def luring(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{thief.url}/token"})

    tokens, api = serve(luring), serve(guarded(authority))
    with pytest.raises(SourceRefused, match=r"another host .*write it in connection\.auth\.token_url"):
        Read(source(api, client_credentials(tokens)))
    assert thief.requests == [] == api.requests


def test_each_host_sees_its_own_secrets_only(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "k3y-of-the-api")
    authority = Authority()
    tokens, api = serve(authority.give), serve(guarded(authority))
    Read(source(api, client_credentials(tokens), headers={"X-Key": {"secret": "api-key"}}))
    at_tokens = "\n".join(str(request.raw_headers) for request in tokens.requests)
    at_api = "\n".join(f"{request.raw_headers} {request.url}" for request in api.requests)
    assert "k3y-of-the-api" in at_api and "k3y-of-the-api" not in at_tokens
    assert "Basic" in at_tokens and "Basic" not in at_api


def test_a_new_refresh_token_is_saved_before_the_access_token_is_used(
    serve: Callable[..., Api], named: Path
) -> None:
    authority, saved = Authority(lifetime=1.0), []
    file = named / "books-refresh-token"
    api = serve(guarded(authority, lambda _: saved.append(file.read_text() == authority.refresh_token)))
    auth = refresh_token(serve(authority.give))
    for _ in range(2):  # the second pull goes on with what the first one saved
        assert len(Read(source(api, auth, requests_per_second=8)).ids) == len(BOOKS)
    assert saved and all(saved) and not authority.reused
    assert len(authority.used) >= 4
    assert file.stat().st_mode & 0o777 == 0o600
    assert named.stat().st_mode & 0o777 == 0o700


def test_a_refresh_token_that_never_changes_needs_no_place(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRETS_DIRECTORY)
    authority = Authority(rotates=False)
    tokens, api = serve(authority.give), serve(guarded(authority))
    assert len(Read(source(api, refresh_token(tokens, rotates=False))).ids) == len(BOOKS)


@pytest.mark.parametrize("place", ["none", "a file"])
def test_without_a_place_to_save_the_next_no_refresh_token_is_spent(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    if place == "none":
        monkeypatch.delenv(SECRETS_DIRECTORY)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path / "file" / "deeper"))
    authority = Authority()
    tokens, api = serve(authority.give), serve(guarded(authority))
    with pytest.raises(SettingMissing, match=r"changes when it is used.*nothing was spent yet") as caught:
        Read(source(api, refresh_token(tokens)))
    assert "r3fresh" not in str(caught.value)
    assert tokens.requests == [] == api.requests


def test_a_spent_refresh_token_is_told_with_what_to_do(serve: Callable[..., Api], named: Path) -> None:
    authority = Authority()
    authority.refresh_token = "somebody signed in anew"
    tokens, api = serve(authority.give), serve(guarded(authority))
    with pytest.raises(SourceRefused, match=r"invalid_grant.*Sign in again and save .*'books-refresh-token'"):
        Read(source(api, refresh_token(tokens)))
    assert len(authority.asked) == 1


def test_a_pull_that_is_closed_while_a_token_is_renewed_loses_no_refresh_token(
    serve: Callable[..., Api], named: Path
) -> None:
    authority = Authority(lifetime=None)

    def revoke(request: web.Request) -> None:
        if request.query["page"] == "2" and len(authority.asked) == 1:
            authority.revoke()
            authority.delay = 1.0

    tokens, api = serve(authority.give), serve(guarded(authority, revoke))
    reader = RestSource(
        entry(api.url, PAGES, auth=refresh_token(tokens)), resolve_from_environment,
        sizes=Sizes(batch_rows=4),
    )  # fmt: skip
    reading = reader.read({})
    assert isinstance(next(reading), Rows)
    until = time.monotonic() + 20
    while len(authority.asked) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    reading.close()  # type: ignore[attr-defined]
    assert len(authority.used) == 2
    assert (named / "books-refresh-token").read_text() == authority.refresh_token


def test_a_run_killed_right_after_the_rotation_loses_no_refresh_token(
    serve: Callable[..., Api], named: Path
) -> None:
    authority = Authority()
    reached = threading.Event()
    tokens = serve(authority.give)
    api = serve(guarded(authority, lambda _: reached.set()))
    auth = refresh_token(tokens)
    script = f"""
        from groundwork.settings import resolve_from_environment
        from groundwork.sources.rest import RestSource
        from tests.integration.rest_reading import entry
        books = entry({api.url!r}, {PAGES!r}, auth={auth!r}, requests_per_second=1)
        list(RestSource(books, resolve_from_environment).read({{}}))
    """
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=root) as run:
        assert reached.wait(60)
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert len(Read(source(api, auth)).ids) == len(BOOKS)
    assert not authority.reused


def test_two_runs_at_once_never_spend_the_same_refresh_token(serve: Callable[..., Api]) -> None:
    authority = Authority()
    authority.delay = 0.3
    tokens, api = serve(authority.give), serve(guarded(authority))
    counts: list[int] = []
    runs = [
        threading.Thread(target=lambda: counts.append(len(Read(source(api, refresh_token(tokens))).ids)))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert counts == [len(BOOKS)] * 3 and not authority.reused and len(authority.used) == 3


def test_a_secret_in_the_directory_comes_before_the_environment(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named.mkdir()
    (named / "books-refresh-token").write_text("from the file\n")
    assert resolve_from_environment(Named(secret="books-refresh-token")) == "from the file"
    assert resolve_from_environment(Named(secret="books-client-secret")) == CLIENT[1]
    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "")
    assert resolve_from_environment(Named(secret="books-refresh-token")) == "from the file"
    with pytest.raises(SettingMissing, match="cannot be the name of a file"):
        resolve_from_environment(Named(secret="../elsewhere"))
