"""For each way to be known: no secret, given or obtained, in anything we write, even if the API echoes it."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import polars as pl
import pytest
from aiohttp import web

from groundwork.bucket import open_bucket
from groundwork.errors import GroundworkError
from groundwork.extract import extract
from groundwork.settings import SECRETS_DIRECTORY, resolve_from_environment
from groundwork.sources.rest import RestSource, Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import entry

SECRETS = {name: f"c4nary-{name}/+ä" for name in ("TOKEN", "PASSWORD", "REFRESH", "CLIENT", "KEY", "HEADER")}
PAGES = 6


class Echo:
    """An API that gives all kinds of tokens and repeats what it was told wherever it can."""

    def __init__(self, fate: str) -> None:
        self.fate, self.told = fate, list(SECRETS.values())

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        if request.path in ("/token", "/login"):
            if self.fate == "no token":
                return answer({"error": "invalid_grant", "error_description": body}, 400)
            self.told += [value for name, value in parse_qsl(body) if name in ("assertion", "refresh_token")]
            given = [f"obta1ned-{kind}-{len(self.told)}/+" for kind in ("access", "refresh", "cookie")]
            self.told += given
            found = {"access_token": given[0], "refresh_token": given[1]}
            return answer(found, **{"Set-Cookie": f'SID="{given[2]}"; Path=/'})
        shown = [
            text
            for name, text in request.headers.items()
            if name in ("Authorization", "Cookie", "X-API-Key", "X-Signature", "X-Extra")
        ]
        self.told += [text.partition(" ")[2] or text for text in shown if not text.startswith("SID")]
        shown.append(request.query.get("key", ""))
        page = int(request.query.get("page", 1))
        if page == PAGES - 1 and self.fate == "refused":
            return answer({"error": shown}, 403, **{"X-Echo": " ".join(shown)})
        if page == PAGES - 1 and self.fate == "a page for people":
            return web.Response(text=f"<p>{shown}", content_type="text/html")
        # a position that holds a secret is not kept; one that does not is, and is looked through, too
        echo = quote(" ".join(shown)) if self.fate == "good" else ""
        following = f"/books?page={page + 1}&echo={echo}" if page < PAGES else None
        books = [{"id": page, "at": f"2026-01-0{page}T00:00:00Z"}]
        headers = {"X-Echo": " ".join(shown), "ETag": f'"{quote(shown[0])}"'}
        return answer({"data": books, "next": following}, **headers)


def kinds(url: str) -> dict[str, dict[str, Any]]:
    client = {
        "token_url": f"{url}/token", "client_id": "us", "client_secret": {"secret": "client"},
    }  # fmt: skip
    login = {"kind": "session_login", "login_url": "/login", "credentials": {"p": {"secret": "password"}}}
    return {
        "bearer": {"kind": "bearer", "token": {"secret": "token"}},
        "api key": {"kind": "api_key", "token": {"secret": "token"}},
        "api key in the query": {
            "kind": "api_key", "token": {"secret": "token"}, "in": "query", "name": "key",
        },
        "basic": {"kind": "basic", "username": "ann", "password": {"secret": "password"}},
        "client credentials": {"kind": "oauth2_client_credentials", **client},
        "client credentials in the body": {
            "kind": "oauth2_client_credentials", **client, "client_auth": "body",
        },
        "refresh token": {
            "kind": "oauth2_refresh_token", **client, "refresh_token": {"secret": "refresh"},
        },
        "JWT": {
            "kind": "jwt_assertion", "key": {"secret": "key"}, "algorithm": "HS256",
            "token_url": f"{url}/token",
        },
        "JWT as token": {"kind": "jwt_assertion", "key": {"secret": "key"}, "algorithm": "HS256"},
        "session token": {**login, "token": "access_token"},
        "session cookie": {**login, "cookies": ["SID"]},
        "signature": {
            "kind": "signature", "hook": "signing.hmac_sha256:sign",
            "secrets": {"key": {"secret": "key"}}, "options": {"key_id": "k"},
        },
    }  # fmt: skip


def everything_written(place: Path) -> str:
    """All that stands in a bucket, with what is compressed laid open."""
    texts = []
    for file in sorted(place.rglob("*")):
        texts.append(str(file))
        if file.suffix == ".parquet":
            texts.append(json.dumps(pl.read_parquet(file).rows(), default=str, ensure_ascii=False))
        elif file.is_file():
            texts.append(file.read_bytes().decode(errors="replace"))
    return "\n".join(texts)


def chain(error: BaseException) -> str:
    """An error, with all that hangs on it."""
    told, link = traceback.format_exception(error), error
    while link is not None:
        told.append(f"{link!s} {link!r}")
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    return "\n".join(told)


@pytest.mark.parametrize("kind", kinds(""))
@pytest.mark.parametrize("fate", ["good", "refused", "a page for people", "no token"])
def test_no_secret_stands_in_bucket_log_or_error(
    serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    tmp_path: Path, kind: str, fate: str,
) -> None:  # fmt: skip
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path / "secrets"))
    caplog.set_level(logging.DEBUG)
    echo = Echo(fate)
    api = serve(echo)
    stream = {
        "replication": "incremental", "cursor": {"field": "at", "parameter": "since"}, "records": "data",
        "paging": {"kind": "json_link", "next": "next"}, "keep_headers": ["X-Echo", "ETag"],
        "primary_key": ["id"], "columns": {"id": {"type": "integer"}},
    }  # fmt: skip
    headers = {"X-Extra": {"secret": "header"}} if kind == "bearer" else {}
    books = entry(api.url, stream, auth=kinds(api.url)[kind], headers=headers)
    source = RestSource(books, resolve_from_environment, sizes=Sizes(batch_rows=2))
    bucket, told = tmp_path / "bucket", repr(source)
    try:
        extract(books, source, open_bucket(bucket.as_uri()), run_id="run")
    except GroundworkError as error:
        told += chain(error)
    else:
        assert fate == "good" or (fate == "no token" and not api_gives_tokens(kind))
    assert fate == "no token" or "***" in everything_written(bucket)
    told += "\n".join(caplog.messages) + everything_written(bucket)
    for secret in set(echo.told):
        for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
            assert form not in told
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-2] not in told
    for piece in ("c4nary", "obta1ned"):
        assert piece not in told


def api_gives_tokens(kind: str) -> bool:
    return kind in ("refresh token", "JWT") or kind.startswith(("client", "session"))
