"""A JWT that we sign: exchanged for a token, the token itself, or how a token endpoint knows us.

A room of its own, because to load what signs takes as long as a small pull, and few APIs want it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import jwt

from groundwork.auth_catalog import JwtAssertionAuth
from groundwork.errors import CatalogError
from groundwork.settings import Named
from groundwork.sources.rest.auth import Access, Lookup
from groundwork.sources.rest.endpoints import TokenEndpoint, token_of
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
        key = lookup(auth.key)
        # a PEM that came through an environment file often has its line breaks written out
        self._key = key.replace("\\n", "\n") if key.startswith("-----BEGIN") else key
        self._headers = {"kid": lookup(auth.key_id)} if auth.key_id else None
        audience = lookup(auth.audience) or (str(self._endpoint.url) if self._endpoint else "")
        standard = {"iss": lookup(auth.issuer), "sub": lookup(auth.subject), "aud": audience}
        self._claims: dict[str, str | int] = {name: text for name, text in standard.items() if text}
        self._claims |= {
            name: lookup(claim) if isinstance(claim, Named) else claim for name, claim in auth.claims.items()
        }
        problem = ""
        try:
            self._assertion()
        except Exception as error:  # cryptography and PyJWT raise many kinds; none is let out with the key
            problem = type(error).__name__
        if problem:
            raise CatalogError(
                f"{where}: connection.auth.key", f"the secret '{auth.key.name}' cannot sign with "
                f"{auth.algorithm} ({problem})",
                fix="RS256 and ES256 need a private key as PEM (-----BEGIN …), HS256 a text",
            )  # fmt: skip

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
        now = datetime.now(UTC)
        claims = {**self._claims, "iat": now, "exp": now + self._auth.lifetime, "jti": uuid.uuid4().hex}
        return self._secrets.add(
            jwt.encode(claims, self._key, algorithm=self._auth.algorithm, headers=self._headers)
        )
