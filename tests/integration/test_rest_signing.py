"""Requests signed with what we have ourselves: JWTs, sessions, and functions of the project."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import signing
from groundwork.errors import AnswerUnusable, CatalogError, SourceRefused
from groundwork.settings import resolve_from_environment
from groundwork.sources.rest import RestSource
from groundwork.sources.rest.signing import SigningFailed
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry

BOOKS = [{"id": number} for number in range(1, 41)]
PAGES = {"paging": {"kind": "page_number", "parameter": "page", "size": 4}}
PASSWORD = "p4ssword/+ä&="


def source(url: str, auth: dict[str, Any], stream: dict[str, Any] = PAGES, **more: Any) -> RestSource:
    return RestSource(entry(url, stream, auth=auth, **more), resolve_from_environment)


def page_of(request: web.Request) -> web.Response:
    page = int(request.query.get("page", 1))
    return answer(BOOKS[(page - 1) * 4 : page * 4])


def key_pair(algorithm: str) -> tuple[str, str]:
    """What signs and what verifies."""
    if algorithm == "HS256":
        return ("a shared s3cret of at least 32 bytes",) * 2
    key: Any = (
        rsa.generate_private_key(65537, 2048)
        if algorithm == "RS256"
        else ec.generate_private_key(ec.SECP256R1())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
@pytest.mark.parametrize("written", ["lines", "one line"])
def test_a_jwt_is_exchanged_for_a_token(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, algorithm: str, written: str
) -> None:
    private, public = key_pair(algorithm)
    monkeypatch.setenv("BOOKS_KEY", private.replace("\n", "\\n") if written == "one line" else private)
    seen: list[dict[str, Any]] = []

    async def give(request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode()))
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        options: Any = {"require": ["exp", "iat", "iss", "sub", "jti"]}
        claims = jwt.decode(form["assertion"], public, [algorithm], options, audience=f"{tokens.url}/token")
        seen.append(claims | jwt.get_unverified_header(form["assertion"]))
        return answer({"access_token": f"token{len(seen)}", "expires_in": 0.5})

    async def books(request: web.Request) -> web.Response:
        assert request.headers["X-Token"].startswith("token")
        return page_of(request)

    tokens, api = serve(give), serve(books)
    auth = {
        "kind": "jwt_assertion", "token_url": f"{tokens.url}/token", "key": {"secret": "books-key"},
        "algorithm": algorithm, "key_id": "key-7", "issuer": "groundwork", "subject": "ann",
        "claims": {"scope": "read", "level": 3}, "name": "X-Token", "prefix": "",
    }  # fmt: skip
    assert len(Read(source(api.url, auth, requests_per_second=10)).ids) == len(BOOKS)
    assert len(seen) >= 2 and len({claims["jti"] for claims in seen}) == len(seen)
    first = seen[0]
    assert first["exp"] - first["iat"] == 300
    told = {name: first[name] for name in ("kid", "iss", "sub", "scope", "level")}
    assert told == {"kid": "key-7", "iss": "groundwork", "sub": "ann", "scope": "read", "level": 3}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_endpoint_knows_the_client_by_a_jwt_that_its_key_signed(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    private, public = key_pair(algorithm)
    monkeypatch.setenv("BOOKS_KEY", private)
    seen: list[str] = []

    async def give(request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode()))
        assert form["grant_type"] == "client_credentials" and "Authorization" not in request.headers
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        said = jwt.decode(form["client_assertion"], public, [algorithm], audience=f"{tokens.url}/token")
        header = jwt.get_unverified_header(form["client_assertion"])
        assert (said["iss"], said["sub"], header["kid"]) == ("us", "us", "key-7")
        seen.append(said["jti"])
        return answer({"access_token": f"token{len(seen)}", "expires_in": 0.5})

    async def books(request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith("Bearer token")
        return page_of(request)

    tokens, api = serve(give), serve(books)
    auth = {
        "kind": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "us",
        "client_auth": "private_key_jwt", "client_key": {"secret": "books-key"}, "client_key_id": "key-7",
        "client_key_algorithm": algorithm,
    }  # fmt: skip
    assert len(Read(source(api.url, auth, requests_per_second=10)).ids) == len(BOOKS)
    assert len(seen) >= 2 and len(set(seen)) == len(seen)  # each JWT is good for one request


def test_without_a_token_endpoint_the_jwt_itself_is_sent(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair("ES256")
    monkeypatch.setenv("BOOKS_KEY", private)

    async def books(request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        try:
            jwt.decode(token, public, ["ES256"], audience="books-v1", leeway=0)
        except jwt.InvalidTokenError:
            return answer({}, 401)
        return page_of(request)

    api = serve(books)
    auth = {
        "kind": "jwt_assertion", "key": {"secret": "books-key"}, "algorithm": "ES256",
        "audience": "books-v1", "lifetime": "2 seconds",
    }  # fmt: skip
    assert len(Read(source(api.url, auth, requests_per_second=4)).ids) == len(BOOKS)
    assert len({request.headers["Authorization"] for request in api.requests}) >= 2


@pytest.mark.parametrize(
    "key", ["no key at all", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_key_that_cannot_sign_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("BOOKS_KEY", key)
    auth = {"kind": "jwt_assertion", "key": {"secret": "books-key"}}
    with pytest.raises(
        CatalogError, match=r"auth\.key: the secret 'books-key' cannot sign with RS256"
    ) as caught:
        source("http://localhost", auth)
    assert key not in str(caught.value) and caught.value.__cause__ is None


class Sessions:
    """An API whose sessions end after some pages."""

    def __init__(self, kind: str, lasts: int = 5) -> None:
        self.kind, self.lasts = kind, lasts
        self.logins = self.logouts = 0
        self.left = 0
        self.session = ""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/login":
            body = (await request.read()).decode()
            fields = dict(parse_qsl(body)) if self.kind == "cookie" else json.loads(body)
            if fields != {"user": "ann", "password": PASSWORD}:
                return answer({"error": f"not {fields}"}, 401)
            self.logins += 1
            self.session, self.left = f"s3ssion{self.logins:04}", self.lasts
            if self.kind == "token":
                return answer({"data": {"session": self.session}})
            away = web.Response(status=302, headers={"Location": "/home"})
            away.set_cookie("flavour", "vanilla")
            away.set_cookie("SID", self.session, httponly=True, path="/")
            return away
        known = request.headers.get("X-Session") or request.cookies.get("SID")
        if known != self.session or not self.left:
            login = web.Response(status=302, headers={"Location": "/v1/login"})
            return login if self.kind == "cookie" else answer({}, 401)
        if request.path == "/v1/logout":
            self.logouts += 1
            return web.Response(status=204)
        self.left -= 1
        return page_of(request)


def login(kind: str) -> dict[str, Any]:
    auth = {
        "kind": "session_login", "login_url": "/login", "logout_url": "/logout",
        "credentials": {"user": "ann", "password": {"secret": "books-password"}},
    }  # fmt: skip
    if kind == "token":
        return auth | {"token": "data.session", "name": "X-Session", "prefix": ""}
    return auth | {"cookies": ["SID"], "format": "form", "renew_on": [302]}


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_a_session_that_ends_in_mid_pull_is_begun_anew_and_left_at_the_end(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("BOOKS_PASSWORD", PASSWORD)
    sessions = Sessions(kind)
    api = serve(sessions)
    read = Read(source(f"{api.url}/v1", login(kind), concurrent_requests=1))
    assert read.ids == [book["id"] for book in BOOKS]
    assert sessions.logins == 3 and sessions.logouts == 1


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_a_login_that_fails_is_told(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("BOOKS_PASSWORD", "wr0ng")
    api = serve(Sessions(kind))
    told = r"source 'books', login: the login brings no session \(status 401\).*does not accept the cred"
    with pytest.raises(SourceRefused, match=told) as caught:
        Read(source(f"{api.url}/v1", login(kind)))
    assert "wr0ng" not in str(caught.value) and len(api.requests) == 1


def test_a_login_without_the_cookie_it_should_bring_is_told(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKS_PASSWORD", PASSWORD)
    api = serve(Sessions("cookie"))
    with pytest.raises(AnswerUnusable, match="sets no cookie 'JSESSIONID'"):
        Read(source(f"{api.url}/v1", login("cookie") | {"cookies": ["JSESSIONID"]}))


KEY = "hm4c key/+ä"
SIGNED = {
    "kind": "signature", "hook": "signing.hmac_sha256:sign", "secrets": {"key": {"secret": "books-key"}},
    "options": {"key_id": "k1"},
}  # fmt: skip


def verified(request: web.Request, body: bytes) -> bool:
    """What the API's manual says: checked here with nothing of ours."""
    now = request.headers["X-Timestamp"]
    text = "\n".join([request.method, request.raw_path, now, hashlib.sha256(body).hexdigest()])
    right = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(now)) < 5
    return fresh and request.headers["X-Key-Id"] == "k1" and right == request.headers["X-Signature"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_request_is_signed_as_it_is_sent_redirects_too(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("BOOKS_KEY", KEY)

    async def books(request: web.Request) -> web.Response:
        body = await request.read()
        if not verified(request, body):
            return answer({"message": "bad signature"}, 401)
        if request.path == "/books":
            return web.Response(status=307, headers={"Location": f"/v2{request.raw_path}"})
        page = int(json.loads(body)["page"] if body else request.query["page"])
        return answer(BOOKS[(page - 1) * 4 : page * 4])

    stream = {**PAGES, "method": method, "repeatable": True, "parameters": {"q": "ä b+c/ü"}}
    read = Read(source(serve(books).url, SIGNED, stream))
    assert read.ids == [book["id"] for book in BOOKS]


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A function of the project's package `signing`, for one test."""
    monkeypatch.setenv("BOOKS_KEY", KEY)
    monkeypatch.setattr(signing, "__path__", [*signing.__path__, str(tmp_path)])

    def write(body: str) -> dict[str, Any]:
        (tmp_path / "of_a_test.py").write_text(f"def sign(request, secrets, options):\n    {body}\n")
        return SIGNED | {"hook": "signing.of_a_test:sign"}

    yield write
    sys.modules.pop("signing.of_a_test", None)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise KeyError(secrets['key'])", r"'signing\.of_a_test:sign' raised KeyError"),
        ("return None", "returned no headers"),
        ("return {'X': 5}", "returned no headers"),
        ("return {'X': 'a\\r\\nX-Evil: 1'}", "returned no headers"),
    ],
)
def test_a_hook_that_cannot_sign_is_told_without_its_secret(
    serve: Callable[..., Api], hook: Callable[[str], dict[str, Any]], body: str, told: str
) -> None:
    async def books(request: web.Request) -> web.Response:
        return page_of(request)

    api = serve(books)
    with pytest.raises(SigningFailed, match=rf"connection\.auth\.hook: .*{told}") as caught:
        Read(source(api.url, hook(body)))
    link: BaseException | None = caught.value
    while link is not None:
        assert KEY not in f"{link!s} {link!r}"
        link = link.__cause__ or link.__context__
    assert api.requests == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("signing.nowhere:sign", "'signing.nowhere' cannot be imported"),
        ("signing.hmac_sha256:sing", "'signing.hmac_sha256' has no function 'sing'"),
    ],
)
def test_a_hook_that_is_not_there_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setenv("BOOKS_KEY", KEY)
    with pytest.raises(CatalogError, match=told):
        source("http://localhost", SIGNED | {"hook": name})
