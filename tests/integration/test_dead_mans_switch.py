"""The dead man's switch beside real servers: one mail for what stops everything, one when it is resolved."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Scheduled

from demo.dead_mans_switch import SCRIPT, DeadMansSwitch
from demo.mailbox import MailServer
from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from deployments.server import unwatched
from tests.conditions import until
from tests.integration.deploying import all_ended, deploy_flow
from tests.prefect_access import api_of, speaking_to

LONG = "GROUNDWORK_TEST_DEPLOY" in os.environ
"""`make test-deploy`: every kind, in two rounds, and a disk that is filled."""
QUICK = ["all workers lost", "database dead", "pool paused"]
WATCH_SECONDS = 45
SWITCH_SETTINGS = {
    "SWITCH_FROM": "alone@example.com",
    "SWITCH_WATCH_SECONDS": str(WATCH_SECONDS),
}


@dataclass
class Place:
    """Prefect's server on a database, a mailbox, and the switch."""

    database: Postgres
    server: PrefectServer
    mail: MailServer
    switch: DeadMansSwitch

    def subjects(self) -> list[str]:
        """Of the switch's mails so far."""
        mails = self.mail.mailbox.messages()
        return [
            str(mail["Subject"]).strip().removeprefix("[Groundwork] ").removesuffix(" (dead man's switch)")
            for mail in mails
            if mail["From"] == "alone@example.com"
        ]

    def sends(self, key: str, *, after: int, seconds: float = 180) -> None:
        """Wait until a mail came whose subject begins so, and see that it is the only one."""
        until(lambda: len(self.subjects()) > after, seconds=seconds, what=f"the mail '{key}'")
        new = self.subjects()[after:]
        assert [one.startswith(key) for one in new] == [True], (key, new, self.switch.log_tail())

    def looks(self) -> None:
        """Wait for two whole looks from now on."""
        for _ in range(2):
            before = self.switch.state.read_bytes()
            until(lambda: self.switch.state.read_bytes() != before, what="a look")  # noqa: B023


@contextmanager
def placed(directory: Path, mail: MailServer) -> Iterator[Place]:
    with (
        Postgres(directory / "postgres", durable=False) as postgres,
        PrefectServer(directory / "server", create_prefect_database(postgres)) as server,
    ):
        given = {**server.environment(), **mail.environment()}
        with (
            speaking_to(given),
            DeadMansSwitch(directory / "switch", given, every=1, extra=SWITCH_SETTINGS) as switch,
        ):
            yield Place(postgres, server, mail, switch)


@pytest.fixture
def place(tmp_path: Path, mail_server: MailServer) -> Iterator[Place]:
    for old in mail_server.mailbox.directory.glob("*.eml"):
        old.unlink()
    with placed(tmp_path, mail_server) as made:
        yield made


def deploy_watch(place: Place, directory: Path) -> PrefectWorker:
    """A deployment `watch/watch` that ends a run every ten seconds, and its worker."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="groundwork", type="process"))
    every = IntervalSchedule(interval=timedelta(seconds=10))
    schedule = DeploymentScheduleCreate(schedule=every, active=True)
    deploy_flow("watch", "watch", tags=["groundwork"], schedules=[schedule])
    often = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "5"}
    return PrefectWorker(directory / "worker", place.server, pool="groundwork", settings=often)


def pause_pool(paused: bool) -> None:
    with get_client(sync_client=True) as client:
        client.update_work_pool("groundwork", WorkPoolUpdate(is_paused=paused))


def pause_watch(paused: bool) -> None:
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("watch/watch").id
        (client.pause_deployment if paused else client.resume_deployment)(watch)


def has_watched() -> bool:
    with get_client(sync_client=True) as client:
        return any(run.state and run.state.is_completed() for run in client.read_flow_runs(limit=200))


@pytest.mark.timeout(1200)
def test_what_stops_everything_is_one_mail_after_restarts_in_any_order(place: Place, tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    worker = deploy_watch(place, tmp_path)
    troubles: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
        "all workers lost": ("worker", worker.kill, worker.start),
        "pool paused": ("worker", lambda: pause_pool(True), lambda: pause_pool(False)),
        "server dead": ("server", place.server.kill, place.server.start),
        "database dead": ("server", place.database.kill, place.database.start),
        "watch silent": ("watch", lambda: pause_watch(True), lambda: pause_watch(False)),
    }
    with worker:
        until(has_watched, seconds=120, what="a run of watch")
        kinds = sorted(troubles) if LONG else QUICK
        for _ in range(2 if LONG else 1):
            for service in draw.sample([place.server, place.database], 2):
                service.restart()
            place.looks()
            seen = len(place.subjects())  # a restart that takes several looks is an incident itself
            for name in draw.sample(kinds, len(kinds)):
                key, cause, mend = troubles[name]
                until(lambda: open_incidents(place) == [], seconds=120, what=f"quiet before '{name}'")
                seen = len(place.subjects())
                cause()
                place.sends(f"{key}: ", after=seen)
                place.looks()
                mend()
                place.sends(f"{key}: recovered", after=seen + 1)
                place.looks()
                assert len(place.subjects()) == seen + 2, (name, place.subjects()[seen:])


def open_incidents(place: Place) -> list[str]:
    return list(json.loads(place.switch.state.read_text())["incidents"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small enough to be filled."""
    where = tmp_path / "small"
    where.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=755", "none", str(where)], check=False
    )
    if mount.returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(disk: Path) -> None:
    """Take every byte that is left."""
    with (disk / "filler").open("ab", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass


def make_runs_until_refused(api: httpx.Client, flow: str) -> None:
    """Make runs, as a busy platform does, until the server can store no more of them."""
    deadline = time.monotonic() + 200
    try:
        while not api.post("/flow_runs/", json={"flow_id": flow, "tags": ["busy"] * 20}).is_server_error:
            assert time.monotonic() < deadline, "the disk is not full"
    except httpx.HTTPError:
        pass  # the server has ended


@pytest.mark.skipif(not LONG, reason="make test-deploy fills a disk")
@pytest.mark.timeout(700)
def test_the_full_disk_of_prefects_database_is_a_mail_and_one_when_it_is_resolved(
    small_disk: Path, mail_server: MailServer, tmp_path: Path
) -> None:
    """A database goes on within the space that it has; then it refuses to store runs, or it ends."""
    with placed(small_disk, mail_server) as place, deploy_watch(place, tmp_path):
        until(has_watched, seconds=120, what="a run of watch")
        until(lambda: open_incidents(place) == [], what="quiet")
        seen = len(place.subjects())
        with api_of(place.server) as api:
            flow = api.post("/flows/", json={"name": "busy"}).raise_for_status().json()["id"]
            fill(small_disk)
            make_runs_until_refused(api, flow)
        until(lambda: len(place.subjects()) > seen, seconds=240, what="a mail")
        (small_disk / "filler").unlink()
        if not place.database.is_running:
            place.database.start()  # it does not come back by itself
        until(lambda: open_incidents(place) == [], seconds=240, what="all is well")
        new = place.subjects()[seen:]
        opened = [one.partition(":")[0] for one in new if "recovered" not in one]
        assert set(opened) <= {"server", "watch"} and len(set(opened)) == len(opened), new
        assert sorted(one for one in new if "recovered" in one) == sorted(
            f"{one}: recovered" for one in opened
        )


def test_runs_that_wait_for_a_pool_that_never_had_a_worker_are_one_mail_until_it_has_one(
    place: Place, tmp_path: Path
) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="groundwork", type="process"))
        held = deploy_flow("held-alone", "hold", tags=["groundwork"])
        place.looks()
        assert place.subjects() == [], "nothing is to run yet"
        due = datetime.now(UTC) - timedelta(minutes=3)
        client.create_flow_run_from_deployment(held, state=Scheduled(scheduled_time=due))
    place.sends("worker: no worker takes work from the pool", after=0)
    place.looks()
    assert len(place.subjects()) == 1, "once"
    with PrefectWorker(tmp_path / "worker", place.server, pool="groundwork"):
        place.sends("worker: recovered", after=1)
        until(lambda: all_ended(held), seconds=120, what="the run that waited")


def test_a_disk_that_fills_is_one_mail_without_any_prefect(tmp_path: Path, mail_server: MailServer) -> None:
    seen = len(mail_server.mailbox.messages())
    environment = {
        "PATH": os.environ["PATH"],
        "SWITCH_SMTP_URL": mail_server.url,
        "SWITCH_FROM": "disk@example.com",
        "SWITCH_TO": "data-team@example.com",
        "SWITCH_STATE": str(tmp_path / "switch.json"),
        "SWITCH_DISKS": str(tmp_path),
    }
    for least in ("100.1", "100.1", "0"):
        subprocess.run(
            [sys.executable, "-I", "-S", str(SCRIPT)],
            env={**environment, "SWITCH_LEAST_FREE_PERCENT": least},
            check=True,
            timeout=60,
        )
    opened, resolved = mail_server.mailbox.messages()[seen:]
    assert opened["Subject"] == "[Groundwork] disk: a disk fills (dead man's switch)"
    assert f"{tmp_path} has" in opened.get_body(("plain",)).get_content()
    assert resolved["Subject"] == "[Groundwork] disk: recovered (dead man's switch)"


def test_apply_says_when_no_switch_looks(place: Place) -> None:
    place.looks()
    with get_client(sync_client=True) as client:
        assert unwatched(client) == ""
        place.switch.stop()
        client.delete_variable_by_name("groundwork_switch")
        assert "no dead man's switch has looked" in unwatched(client)
