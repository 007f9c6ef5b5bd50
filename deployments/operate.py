"""What a person does to the running platform, a word each: docs/runbooks.md says when.

python -m deployments.operate pause | resume | drain | settle | formats
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkerFilter,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from deployments import stanzas
from deployments.formats import check_formats
from deployments.pools import POOL
from groundwork.errors import GroundworkError

QUEUE = "default"
"""Where the work is; the queue `alerts` goes on, so that calls for help still come."""

BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def pause(client: SyncPrefectClient, *, paused: bool = True) -> Iterator[str]:
    """Begin no more runs, or begin them again; what runs is let finish either way."""
    path = f"/work_pools/{POOL}/queues/{QUEUE}"
    client.request("PATCH", path, json={"is_paused": paused})  # type: ignore[arg-type]
    yield f"{'paused' if paused else 'resumed'} queue={POOL}/{QUEUE} running={len(_runs(client, BEGUN))}"


def drain(client: SyncPrefectClient, *, within: float) -> Iterator[str]:
    """Pause, then wait until nothing runs any more: now workers can be stopped.

    Args:
        client: speaks to the server.
        within: seconds to wait at most.

    Raises:
        GroundworkError: when runs are still running then; the queue stays paused.
    """
    yield from pause(client)
    deadline = time.monotonic() + within
    while running := _runs(client, BEGUN):
        if time.monotonic() > deadline:
            names = ", ".join(f"{run.name} ({run.id})" for run in running)
            raise GroundworkError(
                f"work pool '{POOL}'", f"is not empty after {within:.0f} seconds: {names}",
                fix="wait longer (--within), or cancel them: `prefect flow-run cancel <id>`; nothing is "
                "lost, the next run goes on; then `resume`",
            )  # fmt: skip
        time.sleep(1)
    yield f"drained pool={POOL}"


def settle(client: SyncPrefectClient) -> Iterator[str]:
    """Put Prefect's memory right while no worker lives: after a restore, or when all machines died.

    What it believes to be running is called crashed, runs whose time passed are forgotten, and the places
    that dead runs hold are free again. Without this a deployment's only place can stay taken for ever.

    Raises:
        GroundworkError: when a worker of the pool is alive: its runs are no ghosts.
    """
    online = WorkerFilter.model_validate({"status": {"any_": ["ONLINE"]}})
    if alive := client.read_workers_for_work_pool(POOL, worker_filter=online):
        raise GroundworkError(
            f"work pool '{POOL}'", f"has workers: {', '.join(worker.name for worker in alive)}",
            why="what runs now is no ghost",
            fix="stop them; one that is gone is forgotten 90 seconds after its last sign of life",
        )  # fmt: skip
    ghosts, missed = _runs(client, BEGUN), _runs(client, [StateType.SCHEDULED], before=datetime.now(UTC))
    for run in ghosts:
        state: State[Any] = Crashed(message="Ended unseen: no worker was alive.")
        client.set_flow_run_state(run.id, state, force=True)
    for run in missed:
        client.delete_flow_run(run.id)
    freed = 0
    for deployment in stanzas.ours(client):
        limit = deployment.global_concurrency_limit
        if limit and client.read_global_concurrency_limit_by_name(limit.name).active_slots:  # still
            client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
            freed += 1
    yield f"settled crashed={len(ghosts)} forgotten={len(missed)} freed={freed}"


def _runs(
    client: SyncPrefectClient, states: list[StateType], *, before: datetime | None = None
) -> list[FlowRun]:
    """Runs of our deployments in certain states, but not those that call for help."""
    ids = [one.id for one in stanzas.ours(client) if one.work_queue_name == QUEUE]
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=ids),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=before) if before else None,
    )
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=len(found)):
        found += page
    return found


def main() -> int:
    """The command line; 1 when it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m deployments.operate", description=__doc__)
    words = ("pause", "resume", "drain", "settle", "formats")
    parser.add_argument("word", choices=words)
    parser.add_argument("--within", type=float, default=900, help="drain: seconds to wait at most")
    chosen = parser.parse_args()
    try:
        if chosen.word == "formats":
            lines = check_formats()
        else:
            with get_client(sync_client=True) as client:
                lines = list(_done(client, chosen.word, chosen.within))
        for line in lines:
            print(line, flush=True)
    except GroundworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _done(client: SyncPrefectClient, word: str, within: float) -> Iterator[str]:
    if word == "settle":
        return settle(client)
    return drain(client, within=within) if word == "drain" else pause(client, paused=word == "pause")


if __name__ == "__main__":
    sys.exit(main())
