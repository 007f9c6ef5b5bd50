"""A real OAuth2 token endpoint that lets tokens run out, rotates them, and notices a second use."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

from tests.integration.fault_api import answer

GRACE = 1.0
"""Seconds that a token is good for after what was announced, so that a slow machine fails no test."""

CLIENT = ("groundwork", "cl1ent s3cret/+ä")


class Authority:
    """Gives tokens (``give`` is a handler for `Api`), and says of each whether it is valid now."""

    def __init__(self, *, lifetime: float | None = 3600, rotates: bool = True) -> None:
        self.lifetime, self.rotates = lifetime, rotates
        self.delay = 0.0
        self.refuse = ""
        """An error code of OAuth2 to answer with."""
        self.refresh_token = "first-r3fresh/+ä"
        self.used: set[str] = set()
        self.reused = False
        """A refresh token came twice: all are revoked."""
        self.asked: list[dict[str, str]] = []
        self.given: list[str] = []
        """Everything secret that was ever given out."""
        self._valid: dict[str, float] = {}

    async def give(self, request: web.Request) -> web.Response:
        """POST /token."""
        form = dict(parse_qsl((await request.read()).decode(), strict_parsing=True))
        self.asked.append(form)
        await asyncio.sleep(self.delay)
        if self.refuse:
            return answer({"error": self.refuse, "error_description": f"bad {form}"}, 400)
        if self._client(request.headers, form) != CLIENT:
            return answer({"error": "invalid_client", "error_description": f"who is {form}?"}, 401)
        said: dict[str, Any] = {"token_type": "Bearer", "access_token": self.new_token()}
        if form["grant_type"] == "refresh_token":
            spent = form["refresh_token"]
            if spent in self.used:
                self.reused = True
            if self.reused or spent != self.refresh_token:
                return answer({"error": "invalid_grant"}, 400)
            if self.rotates:
                self.used.add(spent)
                self.refresh_token = said["refresh_token"] = self._secret("r3fresh")
        if self.lifetime is not None:
            said["expires_in"] = self.lifetime
        return answer(said)

    def new_token(self) -> str:
        token = self._secret("acc3ss")
        self._valid[token] = time.monotonic() + (self.lifetime or 3600) + GRACE
        return token

    def _secret(self, kind: str) -> str:
        self.given.append(f"{kind}/{secrets.token_urlsafe(18)}+ä")
        return self.given[-1]

    def knows(self, request: web.Request) -> bool:
        """Whether a request to the API carries a token that is valid now."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._valid.get(token, 0) > time.monotonic()

    def revoke(self) -> None:
        """No token given so far is valid any more."""
        self._valid.clear()

    def _client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[str, str]:
        kind, _, pair = headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return form.get("client_id", ""), form.get("client_secret", "")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)
