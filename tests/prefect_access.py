"""This process as a client of a test's own Prefect server: its address, home and login."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import httpx
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_UI_URL,
    temporary_settings,
)

from demo.prefect_server import PrefectServer

NAMES = {
    "PREFECT_API_URL": PREFECT_API_URL,
    "PREFECT_HOME": PREFECT_HOME,
    "PREFECT_UI_URL": PREFECT_UI_URL,
    "PREFECT_API_AUTH_STRING": PREFECT_API_AUTH_STRING,
}


def speaking_to(environment: Mapping[str, str]) -> AbstractContextManager[Any]:
    """Prefect's client and flows of this process speak to the server of an environment."""
    return temporary_settings({NAMES[name]: environment[name] for name in NAMES if name in environment})


def api_of(server: PrefectServer) -> httpx.Client:
    """A plain client of a running server's API, allowed to read and to write."""
    return httpx.Client(base_url=server.api_url, headers=server.headers(), timeout=60)
