"""The services that integration tests share: started once, on free ports, gone with the session.

Prefect's server takes a quarter of a minute to start, so there is one for all tests of a session.

``prefect_server``   server, on a PostgreSQL of its own
``mail_server``      where alerts arrive: ``mail_server.mailbox.wait_for(…)``
``platform``         environment variables of a whole platform around both, in a directory of its own
``prefect_api``      makes flows and clients of *this* process speak to the server
``deployed``         everything of prefect.yaml and deployments/ applied, schedules paused
``prefect_worker``   a process worker that takes the runs
``serve``            ``serve(handler)``: an HTTP API of a test's own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from demo.mailbox import MailServer
from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from tests.commands import PROJECT, pause_schedules, run_command
from tests.integration.fault_api import Api


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    place = tmp_path_factory.mktemp("prefect")
    with (
        Postgres(place / "postgres", durable=False) as postgres,
        PrefectServer(place / "server", create_prefect_database(postgres)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="session")
def platform(
    prefect_server: PrefectServer, mail_server: MailServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    home = tmp_path_factory.mktemp("platform")
    return {
        **prefect_server.environment(),
        **mail_server.environment(),
        "GROUNDWORK_HOME": str(home),
        "GROUNDWORK_VERSION": "tested",  # what git says may change while tests run
        "GROUNDWORK_BUCKET": (home / "bucket").as_uri(),
        "GROUNDWORK_WAREHOUSE": "duckdb",
        "GROUNDWORK_CATALOG": str(PROJECT / "catalog"),
        "GROUNDWORK_DBT": str(PROJECT / "dbt"),
    }


@pytest.fixture(scope="session")
def prefect_api(platform: dict[str, str]) -> Iterator[str]:
    from tests.prefect_access import speaking_to

    with speaking_to(platform):
        yield platform["PREFECT_API_URL"]


@pytest.fixture(scope="session")
def deployed(platform: dict[str, str], prefect_api: str) -> str:
    """What the first apply reported."""
    report = run_command("deployments.apply", "--deploy", environment=platform)
    pause_schedules()
    return report


@pytest.fixture(scope="session")
def prefect_worker(
    prefect_server: PrefectServer,
    platform: dict[str, str],
    deployed: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PrefectWorker]:
    place = tmp_path_factory.mktemp("worker")
    with PrefectWorker(place, prefect_server, pool="groundwork", settings=platform) as worker:
        yield worker


@pytest.fixture
def serve() -> Iterator[Callable[..., Api]]:
    """``serve(handler)``: an HTTP API of a test's own, gone with the test."""
    with ExitStack() as stack:

        def start(handler: Any) -> Api:
            api = Api(handler)
            stack.callback(api.close)
            return api

        yield start
