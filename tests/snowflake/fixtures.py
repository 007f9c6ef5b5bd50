"""What tests of Snowflake share: an S3 server and an emulator per session, a database per test.

With ``GROUNDWORK_SNOWFLAKE_ACCOUNT`` set, `account` is a real one: see `tests.snowflake.account`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.s3 import S3Server
from tests.snowflake.account import Account, Emulator, account_on, is_real, real_account


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("snowflake"), s3_server) as server:
        yield server


@pytest.fixture(scope="session")
def new_account(request: pytest.FixtureRequest) -> Iterator[Callable[..., Account]]:
    """``new_account(staging="internal", …)``: an empty database; what is given changes the login."""
    made: list[Account] = []

    def make(**other: Any) -> Account:
        if is_real():
            account = real_account(**other)
        else:
            emulator, s3 = request.getfixturevalue("emulator"), request.getfixturevalue("s3_server")
            account = account_on(emulator, s3, **other)
        account.prepare()
        made.append(account)
        return account

    yield make
    for account in made:
        if account.is_real:
            account.drop()


@pytest.fixture
def account(new_account: Callable[..., Account]) -> Account:
    return new_account()
