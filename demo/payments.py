"""The HTTP API of a payment provider, over the ledger that the shop's triggers keep.

``GET /v1/payments`` and ``GET /v1/refunds``, with a bearer token. Parameters: `limit` (1 to 500,
100 if not given), `starting_after` (the `next_cursor` of the page before), `updated_since` (an
instant, inclusive). The answer is ``{"data": [...], "has_more": ..., "next_cursor": ...}``, ordered by
`updated_at`, then `id`. More requests than the limit are answered by 429 and `Retry-After`.

Two decisions that are not obvious. PostgreSQL writes the records, so an amount is written digit for
digit (123.40) and never passes through a float. And a page ends before the start of the oldest
open transaction of the shop: a row that commits late has an older `updated_at` than rows that can
be seen already, so a reader that had passed it would never see it. With this, who follows
`next_cursor` or `updated_since` misses nothing, however much is written meanwhile.

Started by `PaymentsApi` as ``python -m demo.payments``; everything it needs is in the environment.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import http.client
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import asyncpg  # type: ignore[import-untyped]
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.service import LOOPBACK, Service, keep_secret

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
REQUESTS_PER_SECOND = 50

_INSTANT = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

_PAYMENT = f"""json_build_object(
    'id', id, 'object', 'payment',
    'order', json_build_object('reference', order_id::text, 'channel', channel),
    'amount', json_build_object('value', value, 'currency', currency),
    'status', status,
    'method', json_build_object('type', method, 'card',
        case when card_last4 is not null
            then json_build_object('brand', card_brand, 'last4', card_last4) end),
    'fees', case when fee = 0 then '[]'::json
        else json_build_array(json_build_object('kind', 'processing', 'value', fee)) end,
    'created_at', {_INSTANT.format("created_at")}, 'updated_at', {_INSTANT.format("updated_at")}
)"""

_REFUND = f"""json_build_object(
    'id', id, 'object', 'refund', 'payment', payment_id,
    'amount', json_build_object('value', value, 'currency', currency),
    'reason', reason,
    'created_at', {_INSTANT.format("created_at")}, 'updated_at', {_INSTANT.format("updated_at")}
)"""

RECORDS = {"payments": _PAYMENT, "refunds": _REFUND}

# statement_timestamp() is earlier than the look at the open transactions: one that begins after
# the look writes rows that are newer
HORIZON = """
select least(statement_timestamp(), min(xact_start)) from pg_stat_activity
where datname = current_database() and usename not in ('provider', 'groundwork')
"""

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class RateLimit:
    """A bucket of allowances per token: full at first, refilled at the rate.

    Args:
        per_second: allowances per second, and how many there can be at once.
    """

    per_second: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, token: str) -> float:
        """Take one allowance; the answer is the seconds to wait, 0 if it was there."""
        now = time.monotonic()
        left, seen = self._left.get(token, (self.per_second, now))
        left = min(self.per_second, left + (now - seen) * self.per_second)
        granted = left >= 1
        self._left[token] = (left - 1 if granted else left, now)
        return 0.0 if granted else (1 - left) / self.per_second


def encode_cursor(updated_at: datetime, record_id: str) -> str:
    """A place between two records, as text without a meaning for the reader."""
    return base64.urlsafe_b64encode(f"{updated_at.isoformat()}|{record_id}".encode()).decode()


def _instant(name: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, f"{name} is not an ISO 8601 instant") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise HTTPException(400, f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(text: str) -> tuple[datetime, str]:
    try:
        updated_at, _, record_id = base64.urlsafe_b64decode(text).decode().partition("|")
        return datetime.fromisoformat(updated_at), record_id
    except (binascii.Error, ValueError):
        raise HTTPException(400, "starting_after is not a cursor of this API") from None


def _authorize(request: Request) -> None:
    token: str = request.app.state.token
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise HTTPException(401, "missing or wrong bearer token", {"WWW-Authenticate": "Bearer"})
    seconds = request.app.state.rate_limit.take(given)
    if seconds:
        headers = {"Retry-After": str(math.ceil(seconds))}
        raise HTTPException(429, "too many requests", headers)


async def list_records(request: Request) -> Response:
    """One page of payments or refunds."""
    _authorize(request)
    parameters = request.query_params
    unknown = set(parameters) - {"limit", "starting_after", "updated_since"}
    if unknown:
        raise HTTPException(400, f"unknown parameter {min(unknown)}")
    limit = _limit(parameters.get("limit", str(DEFAULT_LIMIT)))
    since = _instant("updated_since", parameters.get("updated_since", _EARLIEST.isoformat()))
    after = _cursor(parameters["starting_after"]) if "starting_after" in parameters else (since, "")
    kind = request.path_params["kind"]
    if kind not in RECORDS:
        raise HTTPException(404, "no such list")
    query = f"""
        select id, updated_at, {RECORDS[kind]}::text as record from provider.{kind}
        where (updated_at, id) > ($1, $2) and updated_at >= $3 and updated_at < $4
        order by updated_at, id limit $5
    """
    async with request.app.state.pool.acquire() as connection:
        horizon = await connection.fetchval(HORIZON)
        rows = await connection.fetch(query, *after, since, horizon, limit + 1)
    page, has_more = rows[:limit], len(rows) > limit
    cursor = encode_cursor(page[-1]["updated_at"], page[-1]["id"]) if has_more else None
    records = ",".join(row["record"] for row in page)
    more = json.dumps({"has_more": has_more, "next_cursor": cursor})
    body = f'{{"data":[{records}],{more[1:]}'
    return Response(body, media_type="application/json")


async def health(request: Request) -> Response:
    """Whether the ledger can be read; wants no token."""
    await request.app.state.pool.fetchval("select 1")
    return JSONResponse({"status": "ok"})


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"error": {"code": error.status_code, "message": error.detail}}
    return JSONResponse(body, error.status_code, headers=error.headers)


def application(database_url: str, token: str, per_second: float) -> Starlette:
    """The API as an ASGI application.

    Args:
        database_url: the shop's database, as the role `provider`.
        token: the bearer token that is accepted.
        per_second: requests per second and token that are answered.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool:
            app.state.pool = pool
            yield

    app = Starlette(
        routes=[Route("/v1/{kind}", list_records), Route("/health", health)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _answer_error},
    )
    app.state.token = token
    app.state.rate_limit = RateLimit(per_second)
    return app


class PaymentsApi(Service):
    """The payment provider's API as a service.

    Args:
        directory: holds the token (mode 0600) and the log.
        database_url: the shop's database, as the role `provider`.
        requests_per_second: more than these are answered by 429.
    """

    name: ClassVar[str] = "payments"

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        requests_per_second: float = REQUESTS_PER_SECOND,
    ) -> None:
        super().__init__(directory)
        self.database_url = database_url
        self.requests_per_second = requests_per_second

    @property
    def url(self) -> str:
        """The API's base address; the lists are under `/v1`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def token(self) -> str:
        """The bearer token that the API accepts."""
        return keep_secret(self.directory / "token")

    def environment(self) -> dict[str, str]:
        """The API's address and token."""
        return {"PAYMENTS_URL": self.url, "PAYMENTS_TOKEN": self.token}

    def command(self) -> list[str]:
        """This module, as a program."""
        return [sys.executable, "-m", "demo.payments"]

    def program_environment(self) -> dict[str, str]:
        """What the program reads in `main`."""
        return {
            "PROVIDER_DATABASE_URL": self.database_url,
            "PROVIDER_TOKEN": self.token,
            "PROVIDER_PORT": str(self.port),
            "PROVIDER_REQUESTS_PER_SECOND": str(self.requests_per_second),
        }

    def is_ready(self) -> bool:
        """Whether the ledger can be read through the API."""
        return answers(LOOPBACK, self.port, "/health")


def answers(host: str, port: int, path: str) -> bool:
    """Whether a GET of this path is answered by 200 now."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Serve until the process is ended."""
    app = application(
        os.environ["PROVIDER_DATABASE_URL"],
        os.environ["PROVIDER_TOKEN"],
        float(os.environ["PROVIDER_REQUESTS_PER_SECOND"]),
    )
    port = int(os.environ["PROVIDER_PORT"])
    uvicorn.run(app, host=LOOPBACK, port=port, log_level="warning", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
