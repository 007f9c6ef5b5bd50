"""What tests of Snowflake share: an S3 server and an emulator per session, a database per test.

With ``GROUNDWORK_SNOWFLAKE_ACCOUNT`` set, `account` is a real one: see `tests.snowflake.account`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.s3 import S3Server
from tests.snowflake.account import Account, Emulator, account_on


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("snowflake"), s3_server) as server:
        yield server


@pytest.fixture(scope="session")
def new_account(emulator: Emulator, s3_server: S3Server) -> Callable[..., Account]:
    """``new_account(staging="internal", …)``: an empty database; what is given changes the login."""

    def make(**other: Any) -> Account:
        return account_on(emulator, s3_server, **other)

    return make


@pytest.fixture
def account(new_account: Callable[..., Account]) -> Account:
    return new_account()
