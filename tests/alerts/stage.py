# ruff: noqa: E501 (settings and filters read better in one line)
"""Where the troubles are played: a real server, worker, mailbox, source, bucket and warehouse, to be broken.

What is waited for in production is shortened here (`SHORT`, `shortened`); nothing else differs. Schedules
fire once a year, so that only what a scene starts runs.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    FlowRun,
    State,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments import run_deployment
from prefect.flows import Flow

from demo.dead_mans_switch import DeadMansSwitch
from demo.mailbox import MailServer
from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from demo.s3 import S3Server
from deployments.automations import apply_automations, read_wanted
from groundwork.settings import Settings
from groundwork.warehouses import open_warehouse
from tests.alerts.small_platform import small_platform
from tests.calls import calls_going_on
from tests.capture import PASSWORD, ROLE, Database
from tests.commands import PROJECT, run_command
from tests.conditions import until
from tests.prefect_access import speaking_to

SHORT = {
    "GROUNDWORK_PATIENCE_SECONDS": "5",
    "GROUNDWORK_LATE_SECONDS": "5",
    "GROUNDWORK_LEAST_FREE_PERCENT": "0.01",  # the disk of the machine that tests is not what is tested
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "3",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "3",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
}
"""Settings of server and worker that stand for longer ones of production."""

WINDOWS = {
    "groundwork: run waits": 10, "groundwork: run does not begin": 10, "groundwork: alert failed": 300,
}  # fmt: skip
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
        self.second_mail = MailServer(directory / "second-mail")
        self.warehouse = self.home / "warehouse.duckdb"
        self.started: list[FlowRun] = []
        """Runs that a scene began and did not wait for."""
        self.hung: Any = None
        self.waiting: Any = None

    # the parts ------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[Stage]:
        """Start everything, deploy, and stop everything afterwards."""
        before = dict(os.environ)
        os.environ.update(SHORT)
        try:
            with ExitStack() as stack:
                for part in (self.postgres, self.s3, self.mail, self.second_mail):
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
        return speaking_to(self.environment)

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
            names = [f"{client.read_flow(one.flow_id).name}/{one.name}" for one in client.read_deployments()]
        for name in names:
            self.reschedule(name, None)

    def _deploy_troubled(self) -> None:
        alone = ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW, grace_period_seconds=60
        )
        for how, flow in TROUBLED.items():
            loaded: Any = Flow.from_source(str(PROJECT), f"tests/alerts/troubled_flows.py:{flow}")
            loaded.deploy(
                name=how, work_pool_name="groundwork", tags=["groundwork", "groundwork-scheduled"],
                parameters={"how": how}, cron=ONCE_A_YEAR, print_next_steps=False,
                concurrency_limit=alone,
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
        """What the schedule does every two minutes."""
        run = self.run("watch/watch")
        assert run.state is not None and run.state.is_completed(), run.state

    def ingest(self, source: str) -> FlowRun:
        """Read a source."""
        return self.run(f"ingest/ingest-{source}")

    def pid_of(self, run: FlowRun) -> int:
        """The process of one of our own flows, as it said in its first log line."""

        def said() -> int | None:
            with get_client(sync_client=True) as client:
                of_run = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[run.id]))
                lines = [line.message for line in client.read_logs(of_run)]
            return next((int(found[1]) for line in lines if (found := re.search(r"pid=(\d+)", line))), None)

        return int(until(said, seconds=240, what="the run says who it is"))

    def keep_secret(self, name: str, value: str) -> None:
        """A secret as a file, which is looked up before the environment."""
        self.secrets.mkdir(exist_ok=True)
        (self.secrets / name).write_text(value)

    def is_over(self, run: FlowRun) -> bool:
        """Whether a run has ended."""
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run.id).state
            return state is not None and state.is_final()

    def set_state(self, run: FlowRun, state: State[Any]) -> None:
        """Say what becomes of a run, in the place of a worker."""
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, state, force=True)

    def settle(self) -> None:
        """Wait for all runs that were begun, and for all calls for help."""

        def quiet() -> bool:
            return not calls_going_on() and all(self.is_over(run) for run in self.started)

        until(quiet, seconds=300, what="all calls are done")
        self.started.clear()

    def reschedule(self, deployment: str, seconds: int | None) -> None:
        """Let a deployment be wanted every so many seconds; once a year when None."""
        cron = CronSchedule(cron=ONCE_A_YEAR)
        wanted = cron if seconds is None else IntervalSchedule(interval=timedelta(seconds=seconds))
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            for schedule in found.schedules:
                client.update_deployment_schedule(found.id, schedule.id, schedule=wanted)

    def change_catalog(self, source: str, **changes: Any) -> None:
        """Change keys of a source's page; one level deep."""
        from tests.alerts.scenes import merged

        file = self.directory / "catalog" / f"{source}.yml"
        file.write_text(merged(yaml.safe_load(file.read_text()), **changes))

    def want(self, source: str, every: str) -> None:
        """How often a source is wanted."""
        self.change_catalog(source, update_every=every)

    def spoil_landing(self, *statements: str) -> None:
        """Change the warehouse behind everybody's back, in the writer's turn."""
        with open_warehouse(Settings(), who="the test") as warehouse:
            for statement in statements:
                warehouse.query(statement)

    def pretend_batches(self, source: str, rows: list[int]) -> None:
        """Let the ledger hold batches of so many rows, five minutes apart, the newest just now."""
        made = ", ".join(
            f"('{source}', '{n + 1:010d}', {count}, now()::timestamp - interval '{(len(rows) - n) * 5} minutes')"
            for n, count in enumerate(rows)
        )
        self.spoil_landing(
            f"delete from landing._batches where source = '{source}'",
            f"insert into landing._batches (source, batch_id, rows, stored_at) values {made}",
        )

    def fill_disk(self) -> None:
        """Let `watch` find too little free space: it is told to want all of the disk free."""
        self._watch_with({"GROUNDWORK_LEAST_FREE_PERCENT": "100"})

    def free_disk(self) -> None:
        """As it was."""
        self._watch_with({})

    def _watch_with(self, env: dict[str, str]) -> None:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name("watch/watch")
            variables = {**(found.job_variables or {}), "env": env}
            client.update_deployment(found.id, DeploymentUpdate(job_variables=variables))

    def pause_queue(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue of the pool."""
        with get_client(sync_client=True) as client:
            found = client.read_work_queue_by_name(queue, work_pool_name="groundwork")
            client.update_work_queue(found.id, is_paused=paused)

    def pause_pool(self, paused: bool) -> None:
        """Pause or resume the pool."""
        with get_client(sync_client=True) as client:
            client.update_work_pool("groundwork", WorkPoolUpdate(is_paused=paused))

    def end(self, pid: int) -> None:
        """Kill a process, if it is there still."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def switch(self) -> Iterator[None]:
        """The dead man's switch, as its container runs it; it looks every four seconds."""
        extra = {"SWITCH_FROM": "switch@example.com", "SWITCH_WATCH_SECONDS": "3600"}
        settings = {**self.environment, **self.second_mail.environment()}
        with DeadMansSwitch(self.directory / "switch", settings, every=4, extra=extra):
            yield

    @property
    def mails(self) -> list[EmailMessage]:
        """All mails so far, those of the dead man's switch last."""
        return [*self.mail.mailbox.messages(), *self.second_mail.mailbox.messages()]


def plain(mail: EmailMessage) -> str:
    """A mail's plain text."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
