"""How an API knows us, and how what it knows us by is kept out of everything we write."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from yarl import URL

from groundwork.errors import CatalogError
from groundwork.rest_catalog import Auth, RestConnection, Value
from groundwork.settings import Named, Resolve


class Secrets:
    """The values nobody may read; found by value, in every form they are sent in."""

    def __init__(self) -> None:
        """Know none yet."""
        self._forms: set[str] = set()

    def add(self, value: str) -> str:
        """Remember a secret value, and return it."""
        if value:
            self._forms |= {value, quote(value), quote(value, safe=""), quote_plus(value)}
        return value

    def within(self, text: str) -> bool:
        """Whether a text holds a secret."""
        return any(form in text for form in self._forms)

    def redact(self, text: str) -> str:
        """The text with ``***`` for each secret in it."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, "***")
        return text

    def safe_cause(self, error: BaseException | None) -> BaseException | None:
        """The error, if nothing that hangs on it tells a secret; else nothing."""
        link: BaseException | None = error
        while link is not None:
            if self.within(f"{link!s} {link!r}"):
                return None
            link = link.__cause__ or link.__context__
        return error


@dataclass(frozen=True)
class Access:
    """The values behind a connection. Later kinds (tokens that run out) sign each request here."""

    base: URL
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    secrets: Secrets = field(repr=False)

    def signed(self, url: URL) -> URL:
        """The URL as it is sent: with the key in it, if that is where the API wants it."""
        return url.update_query(self.query) if self.query else url

    def unsigned(self, url: URL) -> URL:
        """A URL the API gave us, without the key that it may repeat."""
        return url.without_query_params(*self.query) if self.query else url

    def ours(self, url: URL) -> bool:
        """Whether a URL is on the host that may see our token."""
        try:
            return url.origin() == self.base.origin()
        except ValueError:  # not even an address with a host
            return False


def open_access(connection: RestConnection, resolve: Resolve, where: str) -> Access:
    """Look up the values that a connection names.

    Raises:
        SettingMissing: when a named value is not set.
        CatalogError: when the base URL is not one, or carries a password.
    """
    secrets = Secrets()

    def value(named: Value | None) -> str:
        if named is None or isinstance(named, str):
            return named or ""
        found = resolve(named).strip("\r\n")
        return secrets.add(found) if named.secret else found

    base = _base(value(connection.base_url), where, connection.base_url)
    headers = {name: value(text) for name, text in connection.headers.items()}
    query: dict[str, str] = {}
    _sign(connection.auth, value, secrets, headers, query)
    for name, text in headers.items():
        if any(character in text for character in "\r\n\0"):
            raise CatalogError(f"{where}: header {name}", "holds a line break or a null byte")
    return Access(base, headers, query, secrets)


def _sign(
    auth: Auth, value: object, secrets: Secrets, headers: dict[str, str], query: dict[str, str]
) -> None:
    assert callable(value)
    if auth.kind == "bearer":
        headers["Authorization"] = f"Bearer {value(auth.token)}"
    elif auth.kind == "api_key":
        key = f"{auth.prefix} {value(auth.token)}".strip()
        (query if auth.place == "query" else headers)[auth.name] = key
    elif auth.kind == "basic":
        pair = f"{value(auth.username)}:{value(auth.password)}".encode()
        headers["Authorization"] = "Basic " + secrets.add(base64.b64encode(pair).decode())


def _base(text: str, where: str, named: Value) -> URL:
    place = f"{where}: connection.base_url"
    shown = named.name if isinstance(named, Named) else "as written"
    try:
        url = URL(text.rstrip("/"))
        good = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        good = False
    if not good:
        raise CatalogError(place, f"is not an http(s) address ({shown})", fix="write https://host/path")
    if url.user or url.password:
        raise CatalogError(place, "carries a user or password", fix="name them under auth: {kind: basic, …}")
    return url
