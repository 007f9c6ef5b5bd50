"""Where the troubles are played: a real server, worker, mailbox, source, bucket and warehouse, to be broken.

What is waited for in production is shortened here (`SHORT`, `shortened`); nothing else differs. Schedules
fire once a year, so that only what a scene starts runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings

from demo.mailbox import MailServer
from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from demo.s3 import S3Server
from deployments.automations import apply_automations, read_wanted
from tests.alerts.small_platform import small_platform
from tests.capture import PASSWORD, ROLE, Database
from tests.commands import PROJECT, run_command

SHORT = {
    "GROUNDWORK_PATIENCE_SECONDS": "5",
    "GROUNDWORK_LATE_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "3",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "3",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
}
"""Settings of server and worker that stand for longer ones of production."""

WINDOWS = {"groundwork: run waits": 10, "groundwork: no worker": 10, "groundwork: alert failed": 60}
"""Seconds in place of those of automations.yaml."""

ONCE_A_YEAR = "0 3 1 1 *"
TROUBLED = {
    "kill": "troubled", "memory": "troubled", "slow": "troubled", "fail": "troubled", "hang": "endless",
}  # fmt: skip
"""Deployments that get into trouble when they are asked to, and their flows."""


class Stage:
    """All parts, running."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.home = directory, directory / "home"
        self.secrets = directory / "secrets"
        self.postgres = Postgres(directory / "postgres", durable=False)
        self.s3 = S3Server(directory / "s3")
        self.mail = MailServer(directory / "mail")
        self.server: PrefectServer
        self.worker: PrefectWorker
        self.database: Database
        self.environment: dict[str, str] = {}

    # the parts ------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[Stage]:
        """Start everything, deploy, and stop everything afterwards."""
        before = dict(os.environ)
        os.environ.update(SHORT)
        try:
            with ExitStack() as stack:
                for part in (self.postgres, self.s3, self.mail):
                    stack.enter_context(part)
                self._source()
                database = create_prefect_database(self.postgres)
                self.server = stack.enter_context(PrefectServer(self.directory / "server", database))
                self.environment = {
                    **SHORT, **self.server.environment(), **self.mail.environment(), **self.s3.environment(),
                    **small_platform(self.directory, self.database.url()),
                    "GROUNDWORK_BUCKET": f"s3://{self.s3.bucket}/alerts",
                    "GROUNDWORK_RUNBOOKS": "https://git.example.org/groundwork/docs/runbooks.md",
                }  # fmt: skip
                os.environ.update(self.environment)
                stack.enter_context(self._settings())
                run_command("deployments.apply", "--deploy", environment=self.environment)
                self._shorten()
                self._deploy_troubled()
                self.worker = PrefectWorker(
                    self.directory / "worker", self.server, pool="groundwork", settings=self.environment
                )
                stack.enter_context(self.worker)
                yield self
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _settings(self) -> Any:
        return temporary_settings(
            {
                PREFECT_API_URL: self.environment["PREFECT_API_URL"],
                PREFECT_HOME: self.environment["PREFECT_HOME"],
                PREFECT_UI_URL: self.environment["PREFECT_UI_URL"],
            }
        )

    def _source(self) -> None:
        self.postgres.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        self.postgres.sql("create database shop")
        self.database = Database(self.postgres, "shop")
        self.database.sql(
            "create table orders (id int primary key, total numeric);"
            "create table items (id int primary key, name text);"
            "insert into orders select n, n from generate_series(1, 500) n;"
            "insert into items select n, 'item ' || n from generate_series(1, 50) n"
        )
        self.database.publish("orders", "items")

    def _shorten(self) -> None:
        file = self.directory / "automations.yaml"
        entries = read_wanted()
        for entry in entries:
            trigger = entry["trigger"]
            trigger["within"] = WINDOWS.get(entry["name"], trigger["within"])
        file.write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")
        with get_client(sync_client=True) as client:
            list(apply_automations(client, dry_run=False, prune=False, file=file))
            for deployment in client.read_deployments():
                for schedule in deployment.schedules:
                    self._reschedule(client, deployment.id, schedule.id, ONCE_A_YEAR)

    def _reschedule(self, client: SyncPrefectClient, deployment: Any, schedule: Any, cron: str) -> None:
        from prefect.client.schemas.schedules import CronSchedule

        client.update_deployment_schedule(deployment, schedule, schedule=CronSchedule(cron=cron))

    def _deploy_troubled(self) -> None:
        for how, flow in TROUBLED.items():
            loaded: Any = Flow.from_source(str(PROJECT), f"tests/alerts/troubled_flows.py:{flow}")
            loaded.deploy(
                name=how, work_pool_name="groundwork", tags=["groundwork", "groundwork-scheduled"],
                parameters={"how": how}, cron=ONCE_A_YEAR, print_next_steps=False,
            )  # fmt: skip

    # what a scene does ------------------------------------------------------------------------------

    def start(self, deployment: str, **parameters: Any) -> FlowRun:
        """Begin a run, and do not wait for it."""
        run = run_deployment(deployment, parameters=parameters or None, timeout=0, as_subflow=False)
        assert isinstance(run, FlowRun)
        return run

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        """A run, and its end."""
        run = run_deployment(deployment, parameters=parameters or None, timeout=180, as_subflow=False)
        assert isinstance(run, FlowRun) and run.state is not None and run.state.is_final(), run
        return run

    def watch(self) -> None:
        """What the schedule does every three minutes."""
        run = self.run("watch/watch")
        assert run.state is not None and run.state.is_completed(), run.state

    def ingest(self, source: str) -> FlowRun:
        """Read a source."""
        return self.run(f"ingest/ingest-{source}")

    def pid_of(self, run: FlowRun) -> int:
        """The process of one of our own flows, as it said in its first log line."""
        import re

        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

        def said() -> int | None:
            with get_client(sync_client=True) as client:
                of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
                lines = [line.message for line in client.read_logs(of_run)]
            return next((int(found[1]) for line in lines if (found := re.search(r"pid=(\d+)", line))), None)

        return int(until(said, seconds=90, what="the run says who it is"))

    def keep_secret(self, name: str, value: str) -> None:
        """A secret as a file, which is looked up before the environment."""
        self.secrets.mkdir(exist_ok=True)
        (self.secrets / name).write_text(value)

    @property
    def mails(self) -> list[EmailMessage]:
        """All mails so far."""
        return self.mail.mailbox.messages()


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise TimeoutError(f"{what}: not in {seconds:.0f} seconds")


def plain(mail: EmailMessage) -> str:
    """A mail's plain text."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


Facts = Mapping[str, Any]
