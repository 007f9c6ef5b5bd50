"""Answers of the server: what goes wrong is a SQL error, never an HTTP 500, which clients repeat for ever."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import fakesnow.server as server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.snowflake.emulator import journal, keypair


def application() -> Starlette:
    """fakesnow's server with our answers in place of three of its own."""
    ours = {
        "/queries/v1/query-request": _query,
        "/session/v1/login-request": _login,
        "/session": _session,
    }
    return Starlette(
        routes=[
            Route(route.path, ours[route.path], methods=["POST"]) if route.path in ours else route
            for route in server.routes
        ]
    )


async def _query(request: Request) -> Response:
    try:
        answer = await server.query_request(request)
        if answer.status_code != 500:
            return answer
        told = json.loads(answer.body).get("message")
    except Exception as error:  # parse errors, row types, the conversion to Arrow
        told = f"{type(error).__name__}: {error}"
    journal.note(sql=None, outcome="error", error=told)
    return JSONResponse(
        {
            "data": {"errorCode": "009998", "sqlState": "0A000"},
            "code": "009998",
            "message": f"not supported by the emulator: {told}",
            "success": False,
        }
    )


async def _login(request: Request) -> Response:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    login: dict[str, Any] = json.loads(body)["data"]
    if keypair.KEYS:
        try:
            keypair.check(login)
        except Exception as error:
            journal.note(sql="<login>", outcome="error", error=f"{type(error).__name__}: {error}")
            return JSONResponse(
                {"data": {"nextAction": "RETRY_LOGIN"}, "code": "390144", "message": "JWT token is invalid.",
                 "success": False}
            )  # fmt: skip
    answer = json.loads((await server.login_request(request)).body)
    data, asked = answer["data"], request.query_params
    # what newer clients ask for
    data["masterToken"] = data["token"]
    data |= {"validityInSeconds": 3600, "masterValidityInSeconds": 14400, "sessionId": len(server.sessions)}
    data["sessionInfo"] |= {"warehouseName": asked.get("warehouse"), "roleName": asked.get("roleName")}
    session = server.sessions[data["token"]]
    session.parameters = {
        name: value for name, value in (login.get("SESSION_PARAMETERS") or {}).items() if name == "QUERY_TAG"
    }
    session.context = {
        "WAREHOUSE": asked.get("warehouse"),
        "ROLE": asked.get("roleName"),
        "USER": login.get("LOGIN_NAME"),
        "ACCOUNT": login.get("ACCOUNT_NAME"),
    }
    journal.note(
        sql="<login>",
        outcome="executed",
        user=login.get("LOGIN_NAME"),
        role=asked.get("roleName"),
        warehouse=asked.get("warehouse"),
        authenticator=login.get("AUTHENTICATOR") or "password",
        client=f"{login.get('CLIENT_APP_ID')} {login.get('CLIENT_APP_VERSION')}",
        session=f"{id(session):x}",
        query_tag=session.parameters.get("QUERY_TAG"),
        timezone=(login.get("SESSION_PARAMETERS") or {}).get("TIMEZONE"),
    )
    return JSONResponse(answer)


async def _session(request: Request) -> Response:
    if request.query_params.get("delete"):
        session = server.sessions.get(server.to_token(request))
        for table in getattr(session, "temporary", []):
            with contextlib.suppress(Exception):  # it may have been dropped already
                session.cursor().execute(f"drop table if exists {table}")
    return await server.session(request)
