"""JWTs of our own making. To load what signs them takes as long as a small pull, and few APIs want it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import jwt

from groundwork.catalog.auth import Value
from groundwork.errors import CatalogError
from groundwork.settings import Named
from groundwork.sources.rest.auth import Lookup


class Signer:
    """Signs claims with one key."""

    def __init__(self, named: Named, algorithm: str, key_id: Value, lookup: Lookup, where: str) -> None:
        """Look the key up and try it.

        Args:
            named: the private key as PEM, or the shared secret.
            algorithm: RS256, ES256 or HS256.
            key_id: ``kid`` of the header; none if empty.
            lookup: looks named values up.
            where: the place in the catalog, for messages.

        Raises:
            CatalogError: when the key cannot sign with this algorithm.
        """
        key = lookup(named)
        # a PEM that came through an environment file often has its line breaks written out
        self._key = key.replace("\\n", "\n") if key.startswith("-----BEGIN") else key
        self._headers = {"kid": lookup(key_id)} if key_id else None
        self._algorithm, self._secrets = algorithm, lookup.secrets
        problem = ""
        try:
            self.sign({}, timedelta(minutes=1))
        except Exception as error:  # cryptography and PyJWT raise many kinds; none is let out with the key
            problem = type(error).__name__
        if problem:
            raise CatalogError(
                where, f"the secret '{named.name}' cannot sign with {algorithm} ({problem})",
                fix="RS256 and ES256 need a private key as PEM (-----BEGIN …), HS256 a text",
            )  # fmt: skip

    def sign(self, claims: Mapping[str, str | int], lifetime: timedelta) -> str:
        """A JWT with these claims; ``iat``, ``exp`` and ``jti`` are made for it."""
        now = datetime.now(UTC)
        made = {**claims, "iat": now, "exp": now + lifetime, "jti": uuid.uuid4().hex}
        return self._secrets.add(
            jwt.encode(made, self._key, algorithm=self._algorithm, headers=self._headers)
        )
