"""A JWT that we sign, exchanged for a token or used as one."""

from __future__ import annotations

from groundwork.catalog.auth import JwtAssertionAuth
from groundwork.settings import Named
from groundwork.sources.rest.auth import Access, Lookup
from groundwork.sources.rest.endpoints import TokenEndpoint, token_of
from groundwork.sources.rest.jwts import Signer
from groundwork.sources.rest.tokens import Token
from groundwork.sources.rest.transport import Client


class JwtAssertion:
    """A JWT signed with our key: exchanged for a token (RFC 7523 §2.1), or used as one."""

    def __init__(self, auth: JwtAssertionAuth, lookup: Lookup, where: str, base: Access) -> None:
        """Look up key and claims, and try the key.

        Raises:
            CatalogError: when the key cannot sign with this algorithm.
        """
        self._auth, self._where, self._secrets = auth, f"{where}, token endpoint", lookup.secrets
        self._endpoint = TokenEndpoint(auth, lookup, where) if auth.token_url else None
        self.access = self._endpoint.access if self._endpoint else base
        self._signer = Signer(auth.key, auth.algorithm, auth.key_id, lookup, f"{where}: connection.auth.key")
        audience = lookup(auth.audience) or (str(self._endpoint.url) if self._endpoint else "")
        standard = {"iss": lookup(auth.issuer), "sub": lookup(auth.subject), "aud": audience}
        self._claims: dict[str, str | int] = {name: text for name, text in standard.items() if text}
        self._claims |= {
            name: lookup(claim) if isinstance(claim, Named) else claim for name, claim in auth.claims.items()
        }

    async def obtain(self, client: Client) -> Token:
        """See `Grant.obtain`."""
        assertion = self._assertion()
        if self._endpoint is None:
            said = {"token": assertion}
            token = token_of(said, self._auth, "token", self._secrets, self._where)
            return Token(token.headers, self._auth.lifetime.total_seconds())
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        why = (
            "it does not accept the assertion",
            "check key, key_id, algorithm, issuer, subject, audience and claims, and this machine's clock",
        )
        said = await self._endpoint.exchange(client, grant, why)
        return token_of(said, self._auth, self._auth.token, self._secrets, self._where)

    async def end(self, client: Client, token: Token) -> None:
        """It runs out by itself."""

    def _assertion(self) -> str:
        return self._signer.sign(self._claims, self._auth.lifetime)
