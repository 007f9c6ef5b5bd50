"""Against an OAuth2 server that others wrote: Authlib's, with Flask, which verifies everything itself."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerGrant
from flask import Flask, jsonify, request
from joserfc.jwk import OctKey
from werkzeug.serving import make_server

from groundwork.errors import SourceRefused
from groundwork.settings import SECRETS_DIRECTORY, resolve_from_environment
from groundwork.sources.rest import RestSource
from tests.integration.rest_reading import Read, entry

SECRET = "cl1ent-s3cret~with.signs_+/="
SHARED = "a shared s3cret of at least 32 bytes"
LIFETIME = 1


class Client(ClientMixin):  # type: ignore[misc]
    """The one client that is registered."""

    client_id = "groundwork"

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(one for one in (scope or "").split() if one == "read")

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in ("client_secret_basic", "client_secret_post", "none")

    def check_grant_type(self, grant_type: str) -> bool:
        return True


class Token(TokenMixin):  # type: ignore[misc]
    """A token that was given."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.access, self.refresh = given["access_token"], given.get("refresh_token")
        self.until, self.scope, self.revoked = (
            time.time() + given["expires_in"] + 1,
            given.get("scope", ""),
            False,
        )

    def check_client(self, client: Client) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return LIFETIME

    def is_expired(self) -> bool:
        return time.time() > self.until

    def is_revoked(self) -> bool:
        return self.revoked


class OAuthServer:
    """Authlib's authorization server and a protected list of books, on a free port."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.statuses: list[int] = []
        app = Flask("books")
        server = self._authorization_server(app)
        protect = ResourceProtector()
        tokens = self.tokens

        class Validator(BearerTokenValidator):  # type: ignore[misc]
            def authenticate_token(self, token_string: str) -> Token | None:
                return next((token for token in tokens if token.access == token_string), None)

        protect.register_token_validator(Validator())

        @app.post("/oauth/token/")
        def token() -> Any:
            return server.create_token_response()

        @app.get("/books")
        @protect("read")
        def books() -> Any:
            page = int(request.args["page"])
            return jsonify([{"id": page * 10 + number} for number in range(3)] if page <= 12 else [])

        @app.after_request
        def note(response: Any) -> Any:
            self.statuses.append(response.status_code)
            return response

        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _authorization_server(self, app: Flask) -> Any:
        tokens = self.tokens
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
            ("client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"), LIFETIME
        )
        app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
        server = AuthorizationServer(
            app,
            query_client=lambda client_id: Client() if client_id == Client.client_id else None,
            save_token=lambda given, _: tokens.append(Token(given)),
        )

        methods = ["client_secret_basic", "client_secret_post"]

        class ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = methods

        class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = methods
            INCLUDE_NEW_REFRESH_TOKEN = True

            def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
                found = next((token for token in tokens if token.refresh == refresh_token), None)
                if found and found.revoked:  # a second use: all are revoked
                    for token in tokens:
                        token.revoked = True
                return None if found is None or found.revoked else found

            def authenticate_user(self, refresh_token: Token) -> str:
                return "ann"

            def revoke_old_credential(self, refresh_token: Token) -> None:
                refresh_token.revoked = True

        class Assertion(JWTBearerGrant):  # type: ignore[misc]
            def resolve_issuer_client(self, issuer: str) -> Client | None:
                return Client() if issuer == Client.client_id else None

            def resolve_client_public_key(self, client: Client, *_: Any) -> Any:
                return OctKey.import_key(SHARED)

            def authenticate_user(self, subject: str) -> str | None:
                return subject if subject == "ann" else None

            def has_granted_permission(self, client: Client, user: str) -> bool:
                return True

            def get_audiences(self) -> list[str]:
                return [request.base_url]

        for grant in (ClientCredentials, Refresh, Assertion):
            server.register_grant(grant)
        return server

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(60)
        self._server.server_close()


@pytest.fixture
def oauth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OAuthServer]:
    server = OAuthServer()
    server.tokens.append(
        Token({"access_token": "a", "refresh_token": "first", "expires_in": 60, "scope": "read"})
    )
    monkeypatch.setenv("BOOKS_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "first")
    monkeypatch.setenv("BOOKS_KEY", SHARED)
    monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path))
    yield server
    server.close()


def auth(oauth: OAuthServer, kind: str, known_by: str) -> dict[str, Any]:
    client = {"client_id": "groundwork", "client_secret": {"secret": "books-client-secret"}}
    kinds: dict[str, dict[str, Any]] = {
        "oauth2_client_credentials": client,
        "oauth2_refresh_token": client | {"refresh_token": {"secret": "books-refresh-token"}},
        "jwt_assertion": {
            "key": {"secret": "books-key"}, "algorithm": "HS256", "issuer": "groundwork", "subject": "ann"
        },
    }  # fmt: skip
    rest = {"token_url": f"{oauth.url}/oauth/token/", "scope": "read", "client_auth": known_by}
    return {"kind": kind, **rest, **kinds[kind]}


PAGES = {"paging": {"kind": "page_number", "parameter": "page", "size": 3}}


@pytest.mark.parametrize(
    ("kind", "known_by"),
    [
        ("oauth2_client_credentials", "basic"), ("oauth2_client_credentials", "body"),
        ("oauth2_refresh_token", "basic"), ("oauth2_refresh_token", "body"), ("jwt_assertion", "body"),
    ],
)  # fmt: skip
def test_a_server_that_others_wrote_gives_tokens_and_renews_them_in_mid_pull(
    oauth: OAuthServer, kind: str, known_by: str
) -> None:
    books = entry(oauth.url, PAGES, auth=auth(oauth, kind, known_by), requests_per_second=6)
    for _ in range(2):
        read = Read(RestSource(books, resolve_from_environment))
        assert read.ids == [page * 10 + number for page in range(1, 13) for number in range(3)]
    assert set(oauth.statuses) == {200}, "no token was refused"
    assert len(oauth.tokens) >= 4


def test_what_such_a_server_refuses_is_told(oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh = auth(oauth, "oauth2_refresh_token", "basic")
    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "never given")
    with pytest.raises(SourceRefused, match=r"invalid_grant.*Sign in again"):
        Read(RestSource(entry(oauth.url, PAGES, auth=refresh), resolve_from_environment))
    monkeypatch.setenv("BOOKS_CLIENT_SECRET", "wrong")
    credentials = auth(oauth, "oauth2_client_credentials", "basic")
    with pytest.raises(SourceRefused, match="401, invalid_client"):
        Read(RestSource(entry(oauth.url, PAGES, auth=credentials), resolve_from_environment))
    assertion = auth(oauth, "jwt_assertion", "body") | {"issuer": "somebody"}
    with pytest.raises(SourceRefused, match=r"gives no token \(status 40"):
        Read(RestSource(entry(oauth.url, PAGES, auth=assertion), resolve_from_environment))
