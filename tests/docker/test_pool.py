"""Runs as containers: everything that is deployed, to its end; and what is told when one goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from demo.dead_mans_switch import DeadMansSwitch
from tests.calls import calls_going_on
from tests.commands import run_command
from tests.conditions import until
from tests.docker.pool import TAG, Pool, all_deployments

PARAMETERS = {"replay/replay": {"source": "payments"}}
FIRST = ["ingest/ingest-shop", "ingest/ingest-payments", "export-logs/export-logs", "transform/transform"]
ORDERED = [*FIRST, *sorted(set(all_deployments()) - set(FIRST))]


def about(run: FlowRun) -> Callable[[EmailMessage], bool]:
    """Whether a mail tells of this run."""

    def told(mail: EmailMessage) -> bool:
        body = mail.get_body(("plain",)) or mail.get_body(("html",))
        return body is not None and str(run.id) in body.get_content()

    return told


def state_of(pool: Pool, run: FlowRun) -> str:
    state = pool.read(run).state
    assert state is not None
    return f"{state.name}: {state.message}"


def heal(pool: Pool) -> None:
    """Have `transform` run well, and be seen to: then the same deployment's next trouble is told anew."""
    healed = pool.run_undisturbed("transform/transform", parameters={"select": "+orders"})
    assert state_of(pool, healed).startswith("Completed")
    pool.run_undisturbed("notify/notify")  # no schedule is on here: nothing else looks


def test_prefects_build_step_made_the_image_and_deploying_again_changes_nothing(pool: Pool) -> None:
    assert TAG in [tag for image in pool.engine.client.images.list() for tag in image.tags]
    assert "created   deployment" in pool.report
    environment = {
        **pool.services.environment(), "DOCKER_HOST": pool.engine.url, "GROUNDWORK_VERSION": "tested",
        "GROUNDWORK_ENVIRONMENT": str(pool.directory / "tested.yaml"),
    }  # fmt: skip
    again = run_command("deployments.apply", "--deploy", environment=environment)
    assert {line.split()[0] for line in again.splitlines()} <= {"unchanged", "missing"}, again


def test_the_worker_is_a_container_of_the_image_and_says_that_it_is_well(pool: Pool) -> None:
    def health() -> bool:
        pool.worker.reload()
        return bool(pool.worker.attrs["State"]["Health"]["Status"] == "healthy")

    until(health, seconds=120, what="the worker is healthy")
    assert pool.worker.attrs["Config"]["Cmd"][:3] == ["prefect", "worker", "start"]


@pytest.mark.parametrize("deployment", ORDERED)
def test_a_deployment_runs_in_a_container_to_completion(pool: Pool, deployment: str) -> None:
    run = pool.run_undisturbed(deployment, parameters=PARAMETERS.get(deployment, {}))
    container = pool.container(run)
    logs = container.logs().decode()[-3000:]
    assert run.state is not None and run.state.is_completed(), f"{run.state}\n{logs}"
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0
    assert container.attrs["Config"]["Image"] == TAG
    assert (
        container.attrs["HostConfig"]["ReadonlyRootfs"] and container.attrs["Config"]["User"] == "10001:10001"
    )


def test_what_people_see_is_in_the_volume_and_agrees_with_the_shop(pool: Pool) -> None:
    (orders,) = pool.services.shop_server.sql("select count(*) from public.orders", database="shop")
    assert str(orders[0]) in pool.ask("select count(*) as orders from visualization.orders")


def test_no_password_stands_in_a_container_or_in_a_deployment(pool: Pool) -> None:
    own = pool.services.environment()
    secrets = [own["AWS_SECRET_ACCESS_KEY"], own["SHOP_DATABASE_URL"], own["PAYMENTS_TOKEN"]]
    of_runs = {"label": "io.prefect.flow-run-id"}
    containers = [pool.worker, *pool.engine.client.containers.list(all=True, filters=of_runs)]
    assert len(containers) > len(ORDERED)
    for container in containers:
        told = json.dumps(container.attrs) + container.logs().decode(errors="replace")
        assert [secret for secret in secrets if secret in told] == [], container.name


def test_from_a_containers_start_to_a_running_flow(pool: Pool) -> None:
    """Measured and printed, for docs/image.md; how long it takes is no matter of right or wrong."""
    seconds = []
    for _ in range(3):
        run = pool.run("watch/watch")
        started = pool.container(run).attrs["State"]["StartedAt"]
        assert run.start_time is not None
        began = datetime.fromisoformat(started[:26].rstrip("Z") + "+00:00")
        seconds.append((run.start_time - began).total_seconds())
        assert seconds[-1] > 0
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"\ncontainer to Running: {', '.join(f'{s:.1f}' for s in seconds)} s, load per core {load:.1f}")


def test_a_container_that_is_killed_is_a_crashed_run_and_a_mail(pool: Pool) -> None:
    run = pool.run("transform/transform", wait=False, parameters={"select": "+orders"})
    pool.reaches(run, "Running")
    pool.container(run).kill()
    pool.reaches(run, "Crashed", seconds=60)
    mail = pool.services.mailbox.wait_for(about(run), timeout=300)
    assert "transform" in mail["Subject"]
    heal(pool)
    told = pool.services.mailbox.wait_for(lambda one: one["In-Reply-To"] == mail["Message-ID"], timeout=300)
    assert "recovered" in told["Subject"]


def test_a_container_that_is_asked_to_stop_is_a_crashed_run_at_once_and_a_mail(pool: Pool) -> None:
    run = pool.run("transform/transform", wait=False, parameters={"select": "+orders"})
    pool.reaches(run, "Running")
    container = pool.container(run)
    container.stop(timeout=60)
    crashed = pool.reaches(run, "Crashed", seconds=30)
    assert "termination signal" in state_of(pool, crashed)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0  # nothing had to be killed
    assert "transform" in pool.services.mailbox.wait_for(about(run), timeout=300)["Subject"]
    heal(pool)


def test_a_run_that_fills_its_memory_is_crashed_and_told_as_that(pool: Pool) -> None:
    run = pool.run(
        "transform/transform", wait=False, parameters={"select": "+revenue_daily"},
        job_variables={"mem_limit": "260m", "image": TAG},
    )  # fmt: skip
    pool.reaches(run, "Crashed")
    # The kernel kills the largest process, the flow's; the one that watches it says so, and ends well.
    container = pool.container(run)
    container.wait(timeout=60)
    container.reload()
    assert container.attrs["State"]["OOMKilled"]
    assert pool.services.mailbox.wait_for(about(run), timeout=300)["Subject"].startswith("[Groundwork] ")


def test_an_image_that_is_gone_is_a_crashed_run_and_a_mail(pool: Pool) -> None:
    run = pool.run("ingest/ingest-shop", wait=False, job_variables={"image": "groundwork-deployed:gone"})
    pool.reaches(run, "Crashed", seconds=120)
    assert "ingest-shop" in pool.services.mailbox.wait_for(about(run), timeout=300)["Subject"]


def test_when_the_image_of_all_is_gone_the_server_itself_tells_that_the_alarm_is_broken(pool: Pool) -> None:
    image = pool.engine.client.images.get(TAG)
    image.tag("kept", "kept")
    until(lambda: not calls_going_on(), seconds=300, what="nobody looks who would tell it")
    try:
        pool.engine.client.images.remove(TAG, force=True)
        run = pool.run("ingest/ingest-payments", wait=False)
        pool.reaches(run, "Crashed", seconds=120)
        pool.services.mailbox.wait_for(
            lambda mail: mail["Subject"].startswith("[Groundwork] alert channel"), timeout=300
        )
    finally:
        image.tag(*TAG.split(":"))
        pool.engine.client.images.remove("kept:kept", force=True)
    healed = pool.run("ingest/ingest-payments")
    assert state_of(pool, healed).startswith("Completed")


def test_a_worker_that_is_stopped_is_told_and_another_one_does_its_work(pool: Pool, tmp_path: Path) -> None:
    """Last of all: the pool is without a worker for some minutes."""
    with DeadMansSwitch(tmp_path, pool.services.environment(), every=10):
        pool.stop_worker()
        waiting = pool.run("ingest/ingest-payments", wait=False)
        pool.services.mailbox.wait_for(lambda mail: "no worker" in mail["Subject"], timeout=420)
    assert pool.read(waiting).state_name in ("Scheduled", "Late")
    pool.start_worker()
    pool.reaches(waiting, "Completed")
