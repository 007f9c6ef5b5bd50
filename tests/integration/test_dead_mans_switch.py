"""The dead man's switch beside a platform that somebody deployed and gave no worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Scheduled

from demo.mailbox import MailServer
from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from tests.commands import PROJECT
from tests.conditions import until
from tests.integration.deploying import all_ended, deploy_flow

SWITCH = PROJECT / "deployments" / "dead_mans_switch" / "switch.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectServer]:
    with (
        Postgres(tmp_path / "postgres", durable=False) as postgres,
        PrefectServer(tmp_path / "server", create_prefect_database(postgres)) as running,
    ):
        own = running.environment()
        settings = {PREFECT_API_URL: own["PREFECT_API_URL"], PREFECT_HOME: own["PREFECT_HOME"]}
        with temporary_settings(settings):
            yield running


def test_runs_that_wait_for_a_pool_that_never_had_a_worker_are_told_until_it_has_one(
    server: PrefectServer, mail_server: MailServer, tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"], "PREFECT_API_URL": server.api_url, "SWITCH_SMTP_URL": mail_server.url,
        "SWITCH_FROM": "alone@example.com", "SWITCH_TO": "data-team@example.com",
        "SWITCH_STATE": str(tmp_path / "switch.json"),
    }  # fmt: skip

    def looks() -> list[str]:
        for _ in range(2):
            subprocess.run([sys.executable, "-I", "-S", str(SWITCH)], env=environment, check=True, timeout=60)
        mails = mail_server.mailbox.messages()
        return [str(mail["Subject"]) for mail in mails if mail["From"] == "alone@example.com"]

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="groundwork", type="process"))
        held = deploy_flow("held-alone", "hold", tags=["groundwork"])
        assert looks() == [], "nothing is to run yet"
        due = datetime.now(UTC) - timedelta(minutes=3)
        client.create_flow_run_from_deployment(held, state=Scheduled(scheduled_time=due))
    untold = "[Groundwork] worker: runs wait, and no worker has ever been there (dead man's switch)"
    assert looks() == [untold] == looks(), "once"
    with PrefectWorker(tmp_path / "worker", server, pool="groundwork"):
        until(lambda: all_ended(held), seconds=120, what="the run that waited")
        assert looks()[1:] == ["[Groundwork] worker: recovered (dead man's switch)"]
