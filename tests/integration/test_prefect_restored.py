"""A server that is restarted, and one whose database is restored: `make test-deploy`, for each starts anew.

Both have a server, a worker and a mailbox of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from demo.mailbox import MailServer
from demo.postgres import Postgres, binaries
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from groundwork.warehouses.duckdb import open_duckdb
from tests.commands import PROJECT, pause_schedules, run_command
from tests.conditions import until
from tests.fenced import commands, run_block
from tests.integration.deploying import all_ended, deploy_flow, runs_of, start_run, states
from tests.prefect_access import speaking_to

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

    def warehouse(self) -> AbstractContextManager[object]:
        """The place of the one writer, held."""
        home = Path(self.settings["GROUNDWORK_HOME"])
        home.mkdir(exist_ok=True)
        return open_duckdb(home / "warehouse.duckdb", who="a test")

    def worker(self, name: str) -> PrefectWorker:
        place = self.place / name
        return PrefectWorker(place, self.server, pool="groundwork", called=name, settings=self.settings)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        Postgres(tmp_path / "postgres", durable=False) as postgres,
        MailServer(tmp_path / "mail") as mail,
        PrefectServer(tmp_path / "server", create_prefect_database(postgres)) as server,
        speaking_to(server.environment()),
    ):
        made = World(tmp_path, postgres, server, mail)
        pause_schedules()
        yield made


def taken(deployment: UUID) -> int:
    """How many of a deployment's places are taken."""
    with get_client(sync_client=True) as client:
        limit = client.read_deployment(deployment).global_concurrency_limit
        assert limit is not None
        return client.read_global_concurrency_limit_by_name(limit.name).active_slots


def lose_a_place(deployment: UUID) -> None:
    """Take a deployment's only place for no run and without a lease: the server by itself never frees it."""
    with get_client(sync_client=True) as client:
        limit = client.read_deployment(deployment).global_concurrency_limit
        assert limit is not None
        client.increment_concurrency_slots([limit.name], slots=1, mode="concurrency")


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
        assert taken(held) == 1
        world.server.kill()
        world.server.start()
        # It fails under the new server. The event of its beginning died with the old one, or did not: if so,
        # Prefect lets the event of its end wait for it for a quarter of an hour, and `watch` tells it.
        ended = until(lambda: all_ended(held), seconds=240, what="the run ends")
        assert states(ended) == ["Failed"]
        with get_client(sync_client=True) as client:
            start_run(client.read_deployment_by_name("watch/watch").id)  # as its schedule does
        world.mail.mailbox.wait_for(lambda mail: str(run.id) in said(mail), timeout=120)
        until(lambda: taken(held) == 0, seconds=60, what="its place is free")
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
    with get_client(sync_client=True) as client:
        replay = client.read_deployment_by_name("replay/replay").id
        export = client.read_deployment_by_name("export-logs/export-logs").id
    with world.worker("first"):
        with world.warehouse():  # the run waits for its turn to write
            ghost = start_run(replay, source="ops", transform=False)
            until(lambda: begun(runs_of(replay)), seconds=120, what="the run begins")
            run_block(dump, settings, path=[binaries()])
        assert states(until(lambda: all_ended(replay), seconds=120, what="the run ends")) == ["Completed"]
        with get_client(sync_client=True) as client:  # after the dump, and so forgotten with the database
            client.delete_deployment(client.read_deployment_by_name("watch/watch").id)
    world.server.stop()
    run_block(restore, settings, path=[binaries()])
    world.server.start()
    assert begun(runs_of(replay)) and taken(replay) == 1, "the run seems to run still"
    lose_a_place(export)
    assert taken(export) == 1

    until(no_worker_is_heard_of, seconds=180, what="the dead worker is forgotten")
    told = run_block(after, settings)
    pause_schedules()
    # The lost place is one; the ghost's own is freed by its crash, by its lease that ends, or here.
    assert re.search(r"settled crashed=[1-9] forgotten=\d+ freed=[1-9]", told)
    assert "unchanged deployment 'watch'" in told
    assert {run.id: run.state.name for run in runs_of(replay) if run.state} == {ghost.id: "Crashed"}
    assert taken(replay) == 0 and taken(export) == 0
    with world.worker("second"):
        start_run(replay, source="ops", transform=False)
        ended = until(lambda: all_ended(replay), seconds=120, what="the next run")
        assert states(ended) == ["Completed", "Crashed"]


def no_worker_is_heard_of() -> bool:
    with get_client(sync_client=True) as client:
        found = client.read_workers_for_work_pool("groundwork")
        return all(worker.status != "ONLINE" for worker in found)
