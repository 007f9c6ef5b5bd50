"""Where an API is, and how it knows us. Whatever it knows us by is kept out of everything we write.

Fixed kinds (bearer, api_key, basic) are headers or a query from the start. All others are a `Credential`,
asked again for each request.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from yarl import URL

from groundwork.catalog.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth, Value
from groundwork.catalog.rest import RestConnection
from groundwork.errors import CatalogError
from groundwork.settings import Named, Resolve
from groundwork.sources.rest.gate import Gate, problem_of
from groundwork.sources.rest.redaction import Secrets


@dataclass(frozen=True)
class Outgoing:
    """A request as it is about to be sent, but for its signature."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Credential(Protocol):
    """What each request is signed with, if that is not always the same."""

    @property
    def renew_on(self) -> Collection[int]:
        """Statuses by which the API says that a signature is not good any more; a redirect may be one."""
        ...

    async def sign(self, outgoing: Outgoing) -> Mapping[str, str]:
        """The headers that make a request ours."""
        ...

    async def refused(self, status: int, signature: Mapping[str, str]) -> bool:
        """Take note of a refusal; whether there is a newer signature to try again with."""
        ...

    async def close(self) -> None:
        """Finish what must not be left half done, and sign out."""
        ...


class Lookup:
    """Values that the catalog names, looked up; those that are secret are remembered as such."""

    def __init__(self, resolve: Resolve) -> None:
        """Remember nothing yet."""
        self._resolve = resolve
        self.secrets = Secrets()

    def __call__(self, named: Value | None) -> str:
        """The value.

        Raises:
            SettingMissing: when it has none.
        """
        if named is None or isinstance(named, str):
            return named or ""
        found = self._resolve(named).strip("\r\n")
        return self.secrets.add(found) if named.secret else found


@dataclass(frozen=True)
class Access:
    """The values behind an address."""

    base: URL
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    secrets: Secrets = field(repr=False)
    key: str = "connection.base_url"
    """Where the address stands in the catalog."""
    also: tuple[URL, ...] = ()
    """Other addresses that the same client asks, by the catalog's word."""

    def signed(self, url: URL) -> URL:
        """The URL as it is sent: with the key in it, if that is where the API wants it."""
        return url.update_query(self.query) if self.query else url

    def unsigned(self, url: URL) -> URL:
        """A URL the API gave us, without the key that it may repeat."""
        return url.without_query_params(*self.query) if self.query else url

    @property
    def gate(self) -> Gate:
        """What each URL passes before it is sent."""
        return Gate((self.base, *self.also), self.key)


def open_access(connection: RestConnection, lookup: Lookup, where: str) -> Access:
    """Look up the values that a connection names, but for what its `Credential` needs.

    Raises:
        SettingMissing: when a named value is not set.
        CatalogError: when the base URL is not one, or carries a password or query.
    """
    base = URL(str(address(connection.base_url, lookup, where, "connection.base_url")).rstrip("/"))
    if base.raw_query_string or base.raw_fragment:
        raise CatalogError(
            f"{where}: connection.base_url",
            "carries a query or fragment",
            why="each endpoint is a path below it",
            fix="write what each request needs under parameters",
        )
    headers = {name: lookup(text) for name, text in connection.headers.items()}
    query: dict[str, str] = {}
    _sign(connection.auth, lookup, headers, query)
    for name, text in headers.items():
        if not fits_header(text):
            raise CatalogError(f"{where}: header {name}", "holds a line break or a null byte")
    return Access(base, headers, query, lookup.secrets)


def fits_header(text: str) -> bool:
    """Whether a text can stand in a header."""
    return not any(character in text for character in "\r\n\0")


def basic(username: str, password: str, secrets: Secrets) -> str:
    """The value of ``Authorization`` for a name and a password (RFC 7617)."""
    pair = f"{username}:{password}".encode()
    return "Basic " + secrets.add(base64.b64encode(pair).decode())


def _sign(auth: Auth, lookup: Lookup, headers: dict[str, str], query: dict[str, str]) -> None:
    if isinstance(auth, BearerAuth):
        headers["Authorization"] = f"Bearer {lookup(auth.token)}"
    elif isinstance(auth, ApiKeyAuth):
        key = f"{auth.prefix} {lookup(auth.token)}".strip()
        (query if auth.place == "query" else headers)[auth.name] = key
    elif isinstance(auth, BasicAuth):
        headers["Authorization"] = basic(lookup(auth.username), lookup(auth.password), lookup.secrets)


def address(named: Value, lookup: Lookup, where: str, key: str) -> URL:
    """The http(s) address that the catalog names.

    Raises:
        SettingMissing: when a named value is not set.
        CatalogError: when it is none, or carries a password.
    """
    place = f"{where}: {key}"
    shown = named.name if isinstance(named, Named) else "as written"
    text = lookup(named)
    problem = problem_of(text)
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise CatalogError(place, "carries a user or password", fix="name them under auth: {kind: basic, …}")
    if problem:
        raise CatalogError(
            place, f"is not an http(s) address ({shown}): {problem}", fix="write https://host/path"
        )
    return URL(text)
