"""A token that runs out: renewed before it does, and once when it is refused.

All requests of a source share one token and one renewal. A renewal is a task of its own, because a page that
is fetched ahead may be cancelled at any time, and a refresh token that was spent must not be lost with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from groundwork.catalog.auth import Renewed
from groundwork.sources.rest.auth import Access, Outgoing
from groundwork.sources.rest.transport import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Token:
    """What makes a request ours for a while."""

    headers: Mapping[str, str] = field(repr=False)
    seconds: float | None = None
    """How long it holds, counted from when it was asked for; None if nobody says."""


class Grant(Protocol):
    """A way to obtain a token."""

    @property
    def access(self) -> Access:
        """Whom to ask for it: what is sent there goes nowhere else."""
        ...

    async def obtain(self, client: Client) -> Token:
        """Ask for a new token.

        Raises:
            SourceError: when there is none to be had.
            SettingMissing: when what it needs has no value, or no place to be saved.
        """
        ...

    async def end(self, client: Client, token: Token) -> None:
        """Give the token back, if that is wanted."""
        ...


class Tokens:
    """A `Credential` whose signature is the token in force."""

    def __init__(self, auth: Renewed, grant: Grant, client: Client, source: str) -> None:
        """Hold none yet; the first request obtains it.

        Args:
            auth: the catalog's entry.
            grant: how to obtain one.
            client: asks the token endpoint; closed with this.
            source: its name, for the log.
        """
        self._auth, self._grant, self._client, self._source = auth, grant, client, source
        self._token: Token | None = None
        self._renew_at = 0.0
        self._renewal: asyncio.Task[Token] | None = None
        self._failed: Exception | None = None

    @property
    def renew_on(self) -> Collection[int]:
        """See `Credential.renew_on`."""
        return self._auth.renew_on

    async def sign(self, outgoing: Outgoing) -> Mapping[str, str]:  # noqa: ARG002
        """The header that carries the token, renewed if it is about to run out."""
        token = self._token
        if token is None or asyncio.get_running_loop().time() >= self._renew_at:
            token = await self._renewed("none yet" if token is None else "about to run out")
        return token.headers

    async def refused(self, status: int, signature: Mapping[str, str]) -> bool:
        """Renew a token that was refused, unless another request has done so."""
        if status not in self.renew_on:
            return False
        if self._token is None or self._token.headers == signature:
            await self._renewed(f"refused with {status}")
        return True

    async def close(self) -> None:
        """Wait for a renewal that is under way, sign out, and close the connections."""
        try:
            if self._renewal is not None:
                await asyncio.gather(self._renewal, return_exceptions=True)
            if self._token is not None:
                await self._grant.end(self._client, self._token)
        finally:
            await self._client.close()

    async def _renewed(self, why: str) -> Token:
        """A new token: one renewal for all who want it; one that failed fails for all."""
        if self._failed is not None:
            raise self._failed
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(why))
            # whoever waited may be cancelled by now; what failed is remembered and need not be logged
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._renewal)

    async def _renew(self, why: str) -> Token:
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            token = await self._grant.obtain(self._client)
        except Exception as error:
            self._failed = error
            raise
        finally:
            self._renewal = None
        self._token, self._renew_at = token, float("inf")
        if token.seconds is not None:
            margin = min(self._auth.renew_before.total_seconds(), token.seconds / 10)
            self._renew_at = asked_at + token.seconds - margin
        log.info("token obtained source=%s why=%r seconds=%s", self._source, why, token.seconds)
        return token
