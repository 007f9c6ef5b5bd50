"""What starts a run within its container: the run is seen through to its end, and nobody else's."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from demo.prefect_server import PrefectServer, PrefectWorker
from tests.commands import PROJECT
from tests.conditions import until
from tests.integration.deploying import all_ended, deploy_flow, runs_of, start_run, states

DOOR = PROJECT / "deployments" / "image" / "execute.py"


POOL = "containers"
"""A pool with Prefect's own template, in which a deployment may name the command. Ours take none."""


@pytest.fixture(scope="module")
def worker(
    prefect_server: PrefectServer,
    platform: dict[str, str],
    deployed: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PrefectWorker]:
    place = tmp_path_factory.mktemp("containers")
    with PrefectWorker(place, prefect_server, pool=POOL, called=POOL, settings=platform) as worker:
        yield worker


@pytest.fixture
def held(worker: PrefectWorker) -> Iterator[UUID]:
    """A deployment whose runs are started as they are in a container."""
    command = {"command": f"{sys.executable} {DOOR}"}
    made = deploy_flow("held-in-a-container", "hold", pool=POOL, job_variables=command)
    yield made
    with get_client(sync_client=True) as client:
        client.delete_deployment(made)


def engine_of(run: FlowRun) -> psutil.Process | None:
    """The process that the flow runs in, once it runs."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    if not (state and state.is_running()):
        return None
    for process in psutil.process_iter():
        try:
            of = process.environ().get("PREFECT__FLOW_RUN_ID")
            if of == str(run.id) and "prefect.engine" in process.cmdline():
                return process
        except psutil.Error:
            continue
    return None


def begin(held: UUID) -> tuple[FlowRun, psutil.Process, psutil.Process]:
    """A long run that has begun, the process that sees it through, and the one that it runs in."""
    run = start_run(held, seconds=250)
    engine = until(lambda: engine_of(run), seconds=60, what="the run begins")
    door = engine.parent()
    assert door is not None and str(DOOR) in door.cmdline()
    return run, door, engine


def is_waiting(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal has been sent to a process that has not taken it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    pending = {
        line.split()[0]: int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))
    }
    return any(bits >> (number - 1) & 1 for bits in pending.values())


def test_it_runs_the_flow_as_its_deployment_says(held: UUID) -> None:
    start_run(held)
    start_run(held, fail=True)
    ended = until(lambda: all_ended(held), seconds=120, what="both runs end")
    assert states(ended) == ["Completed", "Failed"]


def test_a_run_that_somebody_cancels_is_cancelled_and_nothing_is_left_of_it(held: UUID) -> None:
    """Beside the door the worker hears of it, and stops the door: here always first, as the door is held."""
    run, door, engine = begin(held)
    door.suspend()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    until(lambda: is_waiting(door, signal.SIGTERM), seconds=60, what="the worker stops the door")
    door.resume()
    assert states(until(lambda: all_ended(held), seconds=120, what="it ends")) == ["Cancelled"]
    engine.wait(timeout=60)


def test_a_run_whose_container_is_to_stop_is_crashed_at_once_and_says_why(held: UUID) -> None:
    _, door, engine = begin(held)
    door.terminate()
    engine.wait(timeout=60)
    (ended,) = until(lambda: all_ended(held), seconds=60, what="it is told")
    assert ended.state is not None and ended.state.is_crashed()
    assert "termination signal" in str(ended.state.message)


def test_a_run_whose_process_dies_is_crashed_and_says_why(held: UUID) -> None:
    _, _, engine = begin(held)
    engine.kill()
    until(lambda: all_ended(held), seconds=60, what="it is noticed")
    (ended,) = runs_of(held)
    assert ended.state is not None and ended.state.is_crashed() and "-9" in str(ended.state.message)


def test_without_a_run_it_says_who_gives_one() -> None:
    asked = subprocess.run([sys.executable, str(DOOR)], env={}, capture_output=True, text=True, check=False)
    assert asked.returncode == 1 and "A worker sets it" in asked.stderr
