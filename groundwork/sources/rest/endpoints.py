"""A token endpoint, asked: what it is sent goes to its configured address and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from groundwork.catalog.auth import Granted, Renewed
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.paths import split_path
from groundwork.sources.rest.auth import Access, Lookup, address, basic, fits_header
from groundwork.sources.rest.redaction import Secrets
from groundwork.sources.rest.refusals import Refused, oauth_code
from groundwork.sources.rest.tokens import Token
from groundwork.sources.rest.transport import Answer, Client, Request

FORM = "application/x-www-form-urlencoded"

_MEANS = {
    "invalid_client": ("it does not know the client", "check client_id, client_secret and client_auth"),
    "unauthorized_client": (
        "the client may not use this kind of grant", "allow it where the client is registered"
    ),
    "invalid_scope": ("the scope is not one of the client's", "check connection.auth.scope"),
    "unsupported_grant_type": (
        "it does not offer this kind of grant", "check connection.auth.kind and token_url"
    ),
    "invalid_request": ("a field is missing or wrong", "check connection.auth against the API's manual"),
}  # fmt: skip
"""Why, and what to do, by OAuth2's error code (RFC 6749 §5.2); a grant itself explains invalid_grant."""


class TokenEndpoint:
    """Asks one token endpoint in the ways of OAuth2."""

    def __init__(self, auth: Granted, lookup: Lookup, where: str) -> None:
        """Look up what the endpoint needs to know.

        Raises:
            SettingMissing: when a named value is not set.
            CatalogError: when the address is none.
        """
        key = "connection.auth.token_url"
        self.url = address(auth.token_url, lookup, where, key)
        self.access = Access(self.url, {}, {}, lookup.secrets, key)
        self._auth, self._where = auth, f"{where}, token endpoint"
        self._form = {name: lookup(value) for name, value in auth.token_request.items()}
        if auth.scope:
            self._form["scope"] = auth.scope
        self._headers = {"Content-Type": FORM}
        self._client_assertion = _client_assertion(auth, lookup, where, str(self.url))
        client, secret = lookup(auth.client_id), lookup(auth.client_secret)
        if secret and auth.client_auth == "basic":
            pair = quote_plus(client), quote_plus(secret)  # RFC 6749 §2.3.1 wants them encoded first
            self._headers["Authorization"] = basic(*pair, lookup.secrets)
        elif client:
            self._form["client_id"] = client
            if secret:
                self._form["client_secret"] = secret

    async def exchange(self, client: Client, grant: Mapping[str, str], refused: tuple[str, str]) -> Any:
        """Ask for a token, and give back the answer as JSON.

        Args:
            client: to ask with.
            grant: fields of the grant.
            refused: why, and what to do, when the grant itself is not accepted.

        Raises:
            SourceRefused: when the endpoint gives none.
            SourceError: see `Client.ask`.
        """
        # Asking again is right even for a refresh token: if an answer was lost, the token is spent whether we
        # ask again or not, and endpoints that forgive a second use forgive it for some seconds only.
        form = {**self._form, **self._client_assertion(), **grant}
        request = Request(
            self.url, self._where, "POST", urlencode(form).encode(),
            headers=self._headers, for_token=True,
        )  # fmt: skip
        return await ask(client, request, refused, "the token endpoint gives no token")


def _client_assertion(
    auth: Granted, lookup: Lookup, where: str, audience: str
) -> Callable[[], dict[str, str]]:
    """Makes the fields by which an endpoint knows the client's key (RFC 7523 §2.2); none without a key."""
    if auth.client_key is None:
        return dict
    from groundwork.sources.rest.jwts import Signer

    place = f"{where}: connection.auth.client_key"
    signer = Signer(auth.client_key, auth.client_key_algorithm, auth.client_key_id, lookup, place)
    client = lookup(auth.client_id)
    claims = {"iss": client, "sub": client, "aud": audience}
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return lambda: {
        "client_assertion_type": kind,
        "client_assertion": signer.sign(claims, timedelta(minutes=5)),
    }


async def ask(
    client: Client,
    request: Request,
    refused: tuple[str, str],
    what: str,
    read: Callable[[Answer], Any] | None = None,
) -> Any:
    """Ask for a token; the answer as JSON, or as ``read`` reads it.

    Args:
        client: to ask with.
        request: what to ask.
        refused: why, and what to do, when there is no better explanation.
        what: what it means not to get one.
        read: reads the answer.

    Raises:
        SourceRefused: never `Refused`, whose status would be taken for the API's word on a page.
    """

    def as_json(answer: Answer) -> Any:
        said = parsed(answer, request.where)
        if code := oauth_code(answer.body):  # some say so with status 200
            refusal = Refused(answer.status, request.where, what)
            refusal.code = code
            raise refusal
        return said

    try:
        return await client.ask(request, read or as_json)
    except Refused as refusal:
        why, fix = _MEANS.get(refusal.code, refused)
        said = ", ".join(filter(None, (f"status {refusal.status}", refusal.code)))
    raise SourceRefused(request.where, f"{what} ({said})", why=why, fix=fix)


def parsed(answer: Answer, where: str) -> Any:
    """The body as JSON.

    Raises:
        AnswerUnusable: when it is something else.
    """
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        kind = answer.content_type or "no type"
    raise AnswerUnusable(
        where, f"the answer is not JSON ({answer.status}, {kind})",
        why="it may be a page for people", fix="check the address in connection.auth",
    )  # fmt: skip


def at(said: Any, path: str) -> Any:
    """The value at a dotted path; None when there is none."""
    for key in split_path(path):
        said = said.get(key) if isinstance(said, dict) else None
    return said


def token_of(said: Any, auth: Renewed, path: str, secrets: Secrets, where: str) -> Token:
    """The token in an answer.

    Raises:
        AnswerUnusable: when there is none, or none that a header can carry.
    """
    text = at(said, path)
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str) or not text or not fits_header(text):
        raise AnswerUnusable(
            where, f"the answer has no token at '{path}'",
            fix="check connection.auth.token against an answer of the API",
        )  # fmt: skip
    secrets.add(text)
    return Token({auth.name: f"{auth.prefix} {text}".strip()}, seconds_of(said, auth))


def seconds_of(said: Any, auth: Renewed) -> float | None:
    """How long a token holds: what the answer says, else what the catalog says, else nobody knows."""
    text = at(said, auth.expires_in) if auth.expires_in else None
    try:
        seconds = float(text or 0)
    except (TypeError, ValueError):
        seconds = 0.0
    if seconds > 0:
        return seconds
    return auth.lifetime.total_seconds() if auth.lifetime else None
