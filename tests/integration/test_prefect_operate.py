"""The runbooks of operation: their commands, run as they stand on the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client

from demo.prefect_server import PrefectWorker
from tests.conditions import until
from tests.fenced import commands, run_block
from tests.integration.deploying import all_ended, deploy_flow, runs_of, start_run, states

PAGE = "runbooks.md"


@pytest.fixture
def held(prefect_worker: PrefectWorker) -> Iterator[UUID]:
    """A deployment of work, whose runs take as long as asked."""
    made = deploy_flow("held-work", "hold", tags=["groundwork"])
    yield made
    with get_client(sync_client=True) as client:
        client.delete_deployment(made)


def is_running(deployment: UUID) -> bool:
    return any(run.state and run.state.is_running() for run in runs_of(deployment))


def test_paused_work_waits_while_calls_for_help_go_on_and_resumed_work_runs(
    held: UUID, platform: dict[str, str]
) -> None:
    pause, resume = commands(PAGE, "Pause and resume")
    call = deploy_flow("held-call", "hold", tags=["groundwork-alert"], work_queue_name="alerts")
    assert "paused queue=groundwork/default" in run_block(pause, platform)
    start_run(held)
    start_run(call)
    assert states(until(lambda: all_ended(call), seconds=120, what="the call")) == ["Completed"]
    assert [run.state.is_scheduled() for run in runs_of(held) if run.state] == [True]
    assert "resumed queue=groundwork/default" in run_block(resume, platform)
    assert states(until(lambda: all_ended(held), seconds=120, what="the work")) == ["Completed"]
    with get_client(sync_client=True) as client:
        client.delete_deployment(call)


def test_draining_waits_for_what_runs_and_says_what_it_waits_for(
    held: UUID, platform: dict[str, str]
) -> None:
    (drain,) = commands(PAGE, "Drain")
    (run,) = [start_run(held, seconds=25)]
    until(lambda: is_running(held), seconds=120, what="the run begins")
    told = run_block(drain.replace("900", "0"), platform, fails=True)
    assert "work pool 'groundwork': is not empty after 0 seconds" in told and str(run.id) in told
    assert "drained pool=groundwork" in run_block(drain, platform)
    assert states(runs_of(held)) == ["Completed"]
    settle = run_block("python -m deployments.operate settle", platform, fails=True)
    assert "work pool 'groundwork': has workers: embedded" in settle, "what runs there is no ghost"
    run_block(commands(PAGE, "Pause and resume")[1], platform)


def test_an_upgrade_begins_with_a_look_at_the_formats_and_deploys_again(
    deployed: str, platform: dict[str, str], prefect_api: str
) -> None:
    before, _deploy = commands(PAGE, "Upgrade")
    told = run_block(before, platform)
    assert "old and new workers may run side by side" in told
    assert "unchanged deployment 'transform'" in told


def test_a_rotated_secret_is_saved_and_never_shown(
    deployed: str, platform: dict[str, str], prefect_api: str
) -> None:
    from prefect.blocks.system import Secret

    (rotate,) = commands(PAGE, "Rotate a secret")
    assert "SHOP_DATABASE_URL" not in os.environ
    try:
        for value, outcome in (
            ("postgresql://us:f1rst@shop", "created"),
            ("postgresql://us:s3cond@shop", "updated"),
        ):
            told = run_block(rotate, platform, typed=f"{value}\n")
            assert f"{outcome:9} block secret 'shop-database-url'" in told
            assert Secret.load("shop-database-url").get() == value  # type: ignore[union-attr]
            assert "f1rst" not in told and "s3cond" not in told
        assert "value: a secret, changed" in told
    finally:
        Secret.delete("shop-database-url")
