"""From the catalog's ``auth`` to what signs requests."""

from __future__ import annotations

from collections.abc import Callable

from groundwork.catalog import RestSource
from groundwork.catalog.auth import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    JwtAssertionAuth,
    NoAuth,
    Renewed,
    SessionLoginAuth,
    SignatureAuth,
)
from groundwork.settings import Keep
from groundwork.sources.rest.auth import Access, Credential, Lookup
from groundwork.sources.rest.grants import ClientCredentials, RefreshToken, SessionLogin
from groundwork.sources.rest.signing import Signed
from groundwork.sources.rest.tokens import Grant, Tokens
from groundwork.sources.rest.transport import Client


def open_credential(
    entry: RestSource, access: Access, lookup: Lookup, keep: Keep, where: str
) -> Callable[[Client], Credential | None]:
    """Look up what a source's credential needs; what comes back makes one for each pull.

    Tokens are asked for by a client of their own, which shares the budget of the pull's but none of its
    headers.

    Raises:
        SettingMissing: when a named value is not set.
        CatalogError: when an address, a key or a hook cannot be used.
    """
    auth, connection = entry.connection.auth, entry.connection
    if isinstance(auth, NoAuth | BearerAuth | ApiKeyAuth | BasicAuth):
        return lambda _: None  # the access holds it already
    if isinstance(auth, SignatureAuth):
        signed = Signed(auth, lookup, where)
        return lambda _: signed
    renewed, grant = auth, _grant(auth, access, lookup, keep, where)

    def tokens(client: Client) -> Credential:
        asking = Client(entry.source, connection, grant.access, client.pace)
        return Tokens(renewed, grant, asking, entry.source)

    return tokens


def _grant(auth: Renewed, access: Access, lookup: Lookup, keep: Keep, where: str) -> Grant:
    if isinstance(auth, ClientCredentialsAuth):
        return ClientCredentials(auth, lookup, where)
    if isinstance(auth, JwtAssertionAuth):
        from groundwork.sources.rest.assertions import JwtAssertion

        return JwtAssertion(auth, lookup, where, access)
    if isinstance(auth, SessionLoginAuth):
        return SessionLogin(auth, lookup, where, access)
    return RefreshToken(auth, lookup, where, keep)
