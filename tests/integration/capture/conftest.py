"""One PostgreSQL for the session, one database, bucket and warehouse for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.versions.servers import chosen

SETTINGS = {"max_prepared_transactions": "10"}
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(
        tmp_path_factory.mktemp("postgres"), durable=False, settings=SETTINGS, programs=chosen()
    ) as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        yield running


@pytest.fixture
def database(server: Postgres) -> Iterator[Database]:
    made = Database(server, f"capture_{next(numbers)}")
    server.sql(f'create database "{made.name}"')
    yield made
    made.drop()


@pytest.fixture
def capture(database: Database, tmp_path: Path) -> Callable[..., Capture]:
    """``capture(orders=("public.orders", ["id"]))``: a source on the test's database."""

    def of(**streams: tuple[str, list[str]]) -> Capture:
        return Capture(database, tmp_path, **streams)

    return of
