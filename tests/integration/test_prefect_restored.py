"""A server that is restarted, and one whose database is restored: `make test-deploy`, for each starts anew.

Both have a server, a worker and a mailbox of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from demo.mailbox import MailServer
from demo.postgres import Postgres, binaries
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from tests.commands import PROJECT, pause_schedules, run_command
from tests.fenced import commands, run_block
from tests.integration.deploying import all_ended, deploy_flow, runs_of, start_run, states, until

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("GROUNDWORK_TEST_DEPLOY"), reason="make test-deploy"),
]
PAGE = "runbooks.md"


class World:
    """A server with all that is deployed to it."""

    def __init__(self, place: Path, postgres: Postgres, server: PrefectServer, mail: MailServer) -> None:
        self.place, self.postgres, self.server, self.mail = place, postgres, server, mail
        self.settings = {
            **server.environment(),
            **mail.environment(),
            "GROUNDWORK_HOME": str(place / "home"),
            "GROUNDWORK_BUCKET": (place / "bucket").as_uri(),
            "GROUNDWORK_WAREHOUSE": "duckdb",
            "GROUNDWORK_CATALOG": str(PROJECT / "catalog"),
            "GROUNDWORK_DBT": str(PROJECT / "dbt"),
            "GROUNDWORK_VERSION": "tested",
        }
        run_command("deployments.apply", "--deploy", environment=self.settings)

    def worker(self, name: str) -> PrefectWorker:
        place = self.place / name
        return PrefectWorker(place, self.server, pool="groundwork", called=name, settings=self.settings)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        Postgres(tmp_path / "postgres", durable=False) as postgres,
        MailServer(tmp_path / "mail") as mail,
        PrefectServer(tmp_path / "server", create_prefect_database(postgres)) as server,
    ):
        settings = {PREFECT_API_URL: server.api_url, PREFECT_HOME: server.environment()["PREFECT_HOME"]}
        with temporary_settings(settings):
            made = World(tmp_path, postgres, server, mail)
            pause_schedules()
            yield made


def places_taken() -> list[int]:
    with get_client(sync_client=True) as client:
        return [limit.active_slots for limit in client.read_global_concurrency_limits()]


def said(mail: EmailMessage) -> str:
    body = mail.get_body(("plain", "html"))
    return str(body.get_content()) if body else ""


def begun(runs: list[FlowRun]) -> bool:
    return any(run.state and run.state.is_running() for run in runs)


def test_a_restart_of_the_server_loses_neither_a_place_nor_an_alert(world: World) -> None:
    held = deploy_flow("held", "hold", strategy="CANCEL_NEW", tags=["groundwork"])
    with world.worker("first"):
        run = start_run(held, seconds=40, fail=True)
        until(lambda: begun(runs_of(held)), seconds=120, what="the run begins")
        assert sum(places_taken()) == 1
        world.server.kill()
        world.server.start()
        # it fails under the new server, whose memory knows nothing of the events before
        ended = until(lambda: all_ended(held), seconds=240, what="the run ends")
        assert states(ended) == ["Failed"]
        world.mail.mailbox.wait_for(lambda mail: str(run.id) in said(mail), timeout=120)
        until(lambda: sum(places_taken()) == 0, seconds=60, what="its place is free")
        start_run(held)
        assert states(until(lambda: all_ended(held), seconds=120, what="the next run")) == [
            "Completed",
            "Failed",
        ]


def test_a_restored_database_goes_on_where_the_world_is_now(world: World, tmp_path: Path) -> None:
    (dump, restore, after) = commands(PAGE, "Restore Prefect's database")
    settings = {
        **world.settings,
        "DUMP": str(tmp_path / "prefect.dump"),
        "PREFECT_DATABASE": world.server.database_url.replace("+asyncpg", ""),
    }
    held = deploy_flow("held", "hold", strategy="CANCEL_NEW", tags=["groundwork"])
    with world.worker("first"):
        ghost = start_run(held, seconds=20)
        until(lambda: begun(runs_of(held)), seconds=120, what="the run begins")
        run_block(dump, settings, path=[binaries()])
        until(lambda: all_ended(held), seconds=120, what="the run ends")
        with get_client(sync_client=True) as client:  # after the dump, and so lost with the database
            client.delete_deployment(client.read_deployment_by_name("watch/watch").id)
    world.server.stop()
    run_block(restore, settings, path=[binaries()])
    world.server.start()
    assert begun(runs_of(held)), "the run seems to run still"

    until(no_worker_is_heard_of, seconds=180, what="the dead worker is forgotten")
    told = run_block(after, settings)
    pause_schedules()
    assert "settled crashed=1 forgotten=" in told and "freed=1" in told
    assert "deployment 'watch'" in told
    final = {run.id: run.state.name for run in runs_of(held) if run.state}
    assert final[ghost.id] == "Crashed"
    assert sum(places_taken()) == 0
    with world.worker("second"):
        start_run(held)
        assert states(until(lambda: all_ended(held), seconds=120, what="the next run")) == [
            "Completed",
            "Crashed",
        ]


def no_worker_is_heard_of() -> bool:
    with get_client(sync_client=True) as client:
        found = client.read_workers_for_work_pool("groundwork")
        return all(worker.status != "ONLINE" for worker in found)
