"""Several workers: no source is read twice at once, no batch loaded twice, and what one leaves another takes.

`make test-deploy` lets the schedules overlap for minutes instead of seconds.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule

from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.commands import PROJECT
from tests.conditions import until
from tests.fenced import commands, run_block
from tests.integration.deploying import all_ended, at_once, deploy_flow, runs_of, start_run, states

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("GROUNDWORK_TEST_DEPLOY"), reason="make test-deploy"),
]

SECONDS = int(os.environ.get("GROUNDWORK_TEST_DEPLOY_SECONDS", "15"))
"""For how long the schedules start runs."""

PAGE = "runbooks.md"
numbers = itertools.count(1)


class Till:
    """A source that is written without a pause, and the settings of the runs that read it."""

    def __init__(self, server: Postgres, directory: Path, platform: dict[str, str]) -> None:
        self.database = Database(server, f"till_{next(numbers)}")
        server.sql(f'create database "{self.database.name}"')
        self.database.sql("create table sales (id int primary key, amount int not null)")
        self.database.publish("sales")
        self.capture = Capture(self.database, directory, sales=("public.sales", ["id"]))
        catalog = directory / "catalog"
        catalog.mkdir()
        described = self.capture.entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        (catalog / "shop.yml").write_text(yaml.safe_dump({**described, "update_every": "1 hour"}))
        self.settings = {
            **platform,
            "GROUNDWORK_HOME": str(directory),
            "GROUNDWORK_CATALOG": str(catalog),
            "GROUNDWORK_BUCKET": self.capture.bucket.url,
            "GROUNDWORK_DUCKDB_PATH": str(self.capture.file),
            "SHOP_DATABASE_URL": self.database.url(),
        }

    @contextmanager
    def written(self) -> Iterator[None]:
        """Sell something ten times a second, and take every third sale back."""
        done = threading.Event()

        def sell() -> None:
            with self.database.connection() as connection:
                for number in itertools.count(1):
                    connection.run("insert into sales values (:id, :amount)", id=number, amount=number % 97)
                    if number % 3 == 0:
                        connection.run("delete from sales where id = :id", id=number - 2)
                    if done.wait(0.1):
                        return

        with self._beside(sell, done):
            yield

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """How many read the log at once, looked at all the time."""
        done, seen = threading.Event(), [0]

        def look() -> None:
            with self.database.connection() as connection:
                while not done.wait(0.05):
                    ((readers,),) = connection.run(
                        "select count(*) from pg_replication_slots where active and database = :name",
                        name=self.database.name,
                    )
                    seen[0] = max(seen[0], readers)

        with self._beside(look, done):
            yield seen

    @staticmethod
    @contextmanager
    def _beside(work: Callable[[], None], done: threading.Event) -> Iterator[None]:
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(60)


@pytest.fixture(scope="module")
def source_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("source"), durable=False) as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        yield running


@pytest.fixture
def till(source_server: Postgres, tmp_path: Path, platform: dict[str, str], deployed: str) -> Iterator[Till]:
    made = Till(source_server, tmp_path, platform)
    yield made
    made.database.drop()


@pytest.fixture
def worker(
    till: Till, tmp_path: Path, prefect_server: PrefectServer
) -> Iterator[Callable[[str], PrefectWorker]]:
    started: list[PrefectWorker] = []

    def start(name: str) -> PrefectWorker:
        place = tmp_path / name
        made = PrefectWorker(place, prefect_server, pool="groundwork", called=name, settings=till.settings)
        started.append(made)
        return made.start()

    yield start
    for made in started:
        made.stop()


def ingest(name: str, strategy: str, every: timedelta | None = None, directory: Path = PROJECT) -> UUID:
    """A deployment that reads the till, on a schedule of its own if there is to be one."""
    interval = IntervalSchedule(interval=every, anchor_date=datetime.now(UTC)) if every else None
    schedules = [DeploymentScheduleCreate(schedule=interval, active=True)] if interval else []
    return deploy_flow(
        name, "ingest", file="flows/ingest.py", strategy=strategy, tags=["groundwork"],
        parameters={"source": "shop"}, schedules=schedules, directory=directory,
    )  # fmt: skip


def pause(*deployments: UUID) -> None:
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            client.pause_deployment(deployment)


def test_two_workers_under_overlapping_schedules_read_no_source_twice_at_once_and_load_no_batch_twice(
    till: Till, worker: Callable[[str], PrefectWorker]
) -> None:
    workers = [worker("first"), worker("second")]
    with till.written(), till.watched() as readers:
        dropping = ingest("till-dropping", "CANCEL_NEW", timedelta(seconds=5))
        waiting = ingest("till-waiting", "ENQUEUE", timedelta(seconds=12))  # a second one by mistake
        until(lambda: till.capture.manifests, seconds=120, what="the first batch")
        threading.Event().wait(SECONDS)  # time in which schedules overlap, not a wait for something
        pause(dropping, waiting)
        dropped = until(lambda: all_ended(dropping), seconds=300, what="the queue drains")
        waited = until(lambda: all_ended(waiting), seconds=300, what="the queue drains")
    last = start_run(dropping)
    until(lambda: all_ended(dropping), seconds=120, what="the last run ends")

    assert at_once(dropped) == at_once(waited) == 1
    assert set(states(dropped)) <= {"Completed", "Cancelled"} and "Completed" in states(dropped)
    assert set(states(waited)) == {"Completed"}
    assert {run.id: run.state.name for run in runs_of(dropping) if run.state}[last.id] == "Completed"
    assert readers == [1]
    times = [(batch.started_at, batch.stored_at) for batch in till.capture.manifests]
    assert all(stored <= begun for (_, stored), (begun, _) in itertools.pairwise(times))
    assert len({batch.run_id for batch in till.capture.manifests}) > 1
    till.capture.assert_equal_to_the_source()
    for one in workers:
        assert "submitted to infrastructure" in one.log_path.read_text(), f"{one.called} took no run"


def test_a_run_whose_worker_died_in_mid_run_is_taken_over_by_another_worker(
    till: Till, worker: Callable[[str], PrefectWorker]
) -> None:
    first = worker("first")
    deployment = ingest("till-taken-over", "CANCEL_NEW")
    with till.written():
        with till.capture.warehouse():  # the run waits for its turn to write: extracted, but not loaded
            dead = start_run(deployment)
            until(lambda: till.capture.manifests, seconds=120, what="the extracted batch")
            kill_with_all_its_runs(first)
        second = worker("second")

        def crashed() -> bool:
            (run,) = [run for run in runs_of(deployment) if run.id == dead.id]
            return bool(run.state and run.state.is_crashed())

        until(crashed, seconds=300, what="the silence is noticed")
        heir = start_run(deployment)
        until(lambda: all_ended(deployment), seconds=120, what="the next run ends")
    final = {run.id: run.state.name for run in runs_of(deployment) if run.state}
    assert final == {dead.id: "Crashed", heir.id: "Completed"}
    assert "submitted to infrastructure" in second.log_path.read_text()
    till.capture.run()
    till.capture.assert_equal_to_the_source()


def test_a_new_version_takes_over_from_the_old_one_while_nothing_stands_still(
    till: Till, worker: Callable[[str], PrefectWorker], platform: dict[str, str], tmp_path: Path
) -> None:
    first, every = worker("old"), timedelta(seconds=5)
    with till.written(), till.watched() as readers:
        deployment = ingest("till-upgraded", "CANCEL_NEW", every, old_version(tmp_path / "project"))
        until(lambda: completed(deployment, "old-ingest"), seconds=120, what="a run of the old version")
        before, _deploy = commands(PAGE, "Upgrade")
        formats, _difference = before.splitlines()
        assert "old and new workers may run side by side" in run_block(formats, platform | till.settings)
        second = worker("new")
        assert ingest("till-upgraded", "CANCEL_NEW", every) == deployment
        until(lambda: completed(deployment, "ingest"), seconds=120, what="a run of the new version")
        assert "drained" in run_block(*commands(PAGE, "Drain"), platform)
        first.stop()
        done = len(completed(deployment, "ingest"))
        run_block(commands(PAGE, "Pause and resume")[1], platform)
        until(lambda: len(completed(deployment, "ingest")) > done, seconds=120, what="the new one goes on")
        pause(deployment)
        runs = until(lambda: all_ended(deployment), seconds=300, what="the queue drains")
    last = start_run(deployment)
    until(lambda: all_ended(deployment), seconds=120, what="the last run ends")

    assert at_once(runs) == 1 and readers == [1]
    assert set(states(runs)) <= {"Completed", "Cancelled"}, "nobody is called for an upgrade"
    names = [run.name for run in runs if run.state and run.state.is_completed()]
    assert names == sorted(names, reverse=True), "once the new one is deployed the old one never runs again"
    assert last.id in {run.id for run in completed(deployment, "ingest")}
    till.capture.assert_equal_to_the_source()
    assert "submitted to infrastructure" in second.log_path.read_text()


def completed(deployment: UUID, name: str) -> list[FlowRun]:
    """Its runs that went well under a name that begins so."""
    runs = [run for run in runs_of(deployment) if run.state and run.state.is_completed()]
    return [run for run in runs if run.name.startswith(name)]


def old_version(directory: Path) -> Path:
    """The project as it was before: the same formats, and runs by which it is known."""
    for room in ("flows", "tasks", "groundwork", "signing"):
        shutil.copytree(PROJECT / room, directory / room)
    flow = directory / "flows" / "ingest.py"
    marked = flow.read_text(encoding="utf-8").replace('"ingest-{source}"', '"old-ingest-{source}"')
    assert "old-ingest" in marked
    flow.write_text(marked, encoding="utf-8")
    return directory


def kill_with_all_its_runs(worker: PrefectWorker) -> None:
    """As when its machine loses power."""
    assert worker.pid is not None
    runs = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    for run in runs:
        if run.is_running():
            run.kill()
