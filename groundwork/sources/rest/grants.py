"""The ways to obtain a token: OAuth2's grants, a login. A JWT of our own has a room for itself."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from yarl import URL

from groundwork.catalog.auth import (
    ClientCredentialsAuth,
    RefreshTokenAuth,
    SessionLoginAuth,
    Value,
)
from groundwork.errors import AnswerUnusable, CatalogError, GroundworkError, SourceRefused
from groundwork.settings import Keep, Named
from groundwork.sources.rest.auth import Access, Lookup, address, fits_header
from groundwork.sources.rest.endpoints import FORM, TokenEndpoint, ask, parsed, seconds_of, token_of
from groundwork.sources.rest.tokens import Token
from groundwork.sources.rest.transport import Answer, Client, Request

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Granting:
    """What grants at a token endpoint share."""

    endpoint: TokenEndpoint

    @property
    def access(self) -> Access:
        """Whom to ask for a token."""
        return self.endpoint.access

    async def end(self, client: Client, token: Token) -> None:
        """Tokens of OAuth2 run out by themselves."""


class ClientCredentials(_Granting):
    """OAuth2 client credentials (RFC 6749 §4.4)."""

    def __init__(self, auth: ClientCredentialsAuth, lookup: Lookup, where: str) -> None:
        """Look up who we are."""
        self._auth, self._where, self._secrets = auth, f"{where}, token endpoint", lookup.secrets
        self.endpoint = TokenEndpoint(auth, lookup, where)

    async def obtain(self, client: Client) -> Token:
        """See `Grant.obtain`."""
        why = ("it does not accept the client's credentials", "check client_id and client_secret")
        said = await self.endpoint.exchange(client, {"grant_type": "client_credentials"}, why)
        return token_of(said, self._auth, self._auth.token, self._secrets, self._where)


class RefreshToken(_Granting):
    """OAuth2 refresh token (RFC 6749 §6), which may be a new one each time.

    An endpoint that sees an old one again takes it for stolen and revokes them all (RFC 9700 §4.14.2). So it
    is looked up anew for each use, nobody else on this machine uses it meanwhile, there is a place to save
    the next one before this one is spent, and that is saved before anything else is done.
    """

    def __init__(self, auth: RefreshTokenAuth, lookup: Lookup, where: str, keep: Keep) -> None:
        """Look up who we are; the refresh token must have a value already."""
        self._auth, self._where, self._lookup, self._keep = auth, f"{where}, token endpoint", lookup, keep
        self.endpoint = TokenEndpoint(auth, lookup, where)
        self._apart = Apart()
        lookup(auth.refresh_token)

    async def obtain(self, client: Client) -> Token:
        """See `Grant.obtain`.

        Raises:
            SettingMissing: when there is no place to save a new refresh token; nothing is spent then.
        """
        if not self._auth.rotates:
            said, new = await self._spend(client)
            if new:
                async with _Turn(self._keep, self._auth.refresh_token, self._apart):
                    await self._save(new)
        else:
            async with _Turn(self._keep, self._auth.refresh_token, self._apart):
                said, new = await self._spend(client)
                if new:
                    await self._save(new)
        return token_of(said, self._auth, self._auth.token, self._lookup.secrets, self._where)

    async def _spend(self, client: Client) -> tuple[Any, str]:
        """The endpoint's answer, and the new refresh token if there is one in it."""
        named = self._auth.refresh_token
        current = await self._apart(lambda: self._lookup(named))
        grant = {"grant_type": "refresh_token", "refresh_token": current}
        why = (
            "the refresh token ran out, was revoked, or was used by somebody else",
            f"sign in again and save the new refresh token as '{named.name}', where the old one is",
        )
        said = await self.endpoint.exchange(client, grant, why)
        new = said.get("refresh_token") if isinstance(said, dict) else None
        if not isinstance(new, str) or new in ("", current):
            return said, ""
        return said, self._lookup.secrets.add(new)

    async def _save(self, new: str) -> None:
        named, problem, kind = self._auth.refresh_token, "", ""
        try:
            await self._apart(lambda: self._keep.save(named, new))
        except GroundworkError:
            raise
        except Exception as error:
            problem = error.strerror or "" if isinstance(error, OSError) else ""
            kind = type(error).__name__
        if kind:
            raise SourceRefused(
                self._where, f"the new refresh token could not be saved ({kind} {problem}".rstrip() + ")",
                why="the old one may be worthless now, so nothing is read with what came with the new one",
                fix=f"if the next run is refused, sign in again and save the token as '{named.name}'",
            )  # fmt: skip


class SessionLogin:
    """Credentials posted; a token or cookies come back."""

    def __init__(self, auth: SessionLoginAuth, lookup: Lookup, where: str, base: Access) -> None:
        """Look up the credentials."""
        self._auth, self._where, self._secrets = auth, f"{where}, login", lookup.secrets
        self._url = _below(base, auth.login_url, lookup, where, "login_url")
        self._logout = _below(base, auth.logout_url, lookup, where, "logout_url") if auth.logout_url else None
        fields = {name: lookup(value) for name, value in auth.credentials.items()}
        form = auth.format == "form"
        self._body = urlencode(fields).encode() if form else msgspec.json.encode(fields)
        self._headers = {"Content-Type": FORM if form else "application/json"}
        headers = base.headers if base.gate.covers(self._url) else {}
        login = Access(self._url, headers, {}, lookup.secrets, "connection.auth.login_url")
        self.access = login if self._logout is None else _leaving(login, self._logout, base, where)

    async def obtain(self, client: Client) -> Token:
        """See `Grant.obtain`."""
        request = Request(
            self._url, self._where, "POST", self._body, headers=self._headers, follow=bool(self._auth.token)
        )
        why = ("the API does not accept the credentials", "check the secret in connection.auth.credentials")
        if self._auth.token:
            said = await ask(client, request, why, "the login brings no session")
            return token_of(said, self._auth, self._auth.token, self._secrets, self._where)
        found: dict[str, str] = {}

        def read(answer: Answer) -> float | None:
            found.update(_cookies(answer))
            return seconds_of(parsed(answer, self._where), self._auth) if self._auth.expires_in else None

        seconds = await ask(client, request, why, "the login brings no session", read)
        missing = [name for name in self._auth.cookies if not found.get(name)]
        if missing:
            raise AnswerUnusable(
                self._where, f"the answer sets no cookie '{missing[0]}'",
                why="the login may have failed without saying so", fix="check connection.auth",
            )  # fmt: skip
        for name in self._auth.cookies:
            self._secrets.add(found[name])
        cookie = "; ".join(f"{name}={found[name]}" for name in self._auth.cookies)
        lifetime = self._auth.lifetime
        return Token({"Cookie": cookie}, seconds or (lifetime.total_seconds() if lifetime else None))

    async def end(self, client: Client, token: Token) -> None:
        """Sign out, where the API wants it; one that fails is no reason to lose the pull."""
        if not self._logout:
            return
        request = Request(
            self._logout,
            f"{self._where} (out)",
            self._auth.logout_method,
            headers=token.headers,
            follow=False,
        )
        if not await client.once(request):
            log.warning("not signed out of %s", self._where)


def _leaving(login: Access, logout: URL, base: Access, where: str) -> Access:
    """The access of a login that also signs out.

    Raises:
        CatalogError: when the session would be sent to a host that neither gave it nor takes it.
    """
    if login.gate.covers(logout):
        return login
    if base.gate.covers(logout):
        return dataclasses.replace(login, also=(logout,))
    raise CatalogError(
        f"{where}: connection.auth.logout_url",
        "is on another host than login_url and base_url",
        why="the session goes nowhere else",
        fix="write the address on one of those hosts",
    )


def _below(base: Access, named: Value, lookup: Lookup, where: str, key: str) -> URL:
    """An address that is whole, or a path below the API's."""
    if isinstance(named, str) and "://" not in named:
        return URL(f"{base.base}/{named.lstrip('/')}")
    return address(named, lookup, where, f"connection.auth.{key}")


def _cookies(answer: Answer) -> dict[str, str]:
    """The cookies that an answer sets, as they must be sent back."""
    found: dict[str, str] = {}
    for name, line in answer.headers.items():  # of several, each
        if name.lower() != "set-cookie":
            continue
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(line)
        except CookieError:
            continue
        found |= {key: morsel.coded_value for key, morsel in jar.items()}
    return {key: text for key, text in found.items() if fits_header(text)}


class Apart:
    """Calls what waits (files, Prefect) in a thread, in the context that this was made in.

    Always in the same thread, because a file lock belongs to the thread that took it. Prefect keeps where its
    API is in context variables, which the thread of the pages does not have.
    """

    def __init__(self) -> None:
        """Remember the context."""
        self._context = contextvars.copy_context()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="groundwork-secrets")

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of the work."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._context.copy().run, work)


class _Turn:
    """`Keep.turn`, entered and left without holding up the pages."""

    def __init__(self, keep: Keep, named: Named, apart: Apart) -> None:
        self._turn, self._apart = keep.turn(named), apart

    async def __aenter__(self) -> None:
        await self._apart(self._turn.__enter__)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._apart(lambda: self._turn.__exit__(kind, error, trace))
