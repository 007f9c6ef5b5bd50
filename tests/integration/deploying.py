"""Deployments of a test's own, next to those of prefect.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import ConcurrencyOptions, FlowRun
from prefect.states import Scheduled

from tests.commands import PROJECT

T = TypeVar("T")
HELD = "tests/integration/held_flows.py"


def deploy_flow(
    name: str, flow: str, *, strategy: str = "", tags: Sequence[str] = (), file: str = HELD,
    directory: Path = PROJECT, pool: str = "groundwork", **more: Any,
) -> UUID:  # fmt: skip
    """Deploy a flow to a pool, the platform's by default; one run at a time when a strategy is named."""
    limit: dict[str, Any] = {}
    if strategy:
        options = ConcurrencyOptions.model_validate(
            {"collision_strategy": strategy, "grace_period_seconds": 120}
        )
        limit = {"concurrency_limit": 1, "concurrency_options": options}
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            flow_id=client.create_flow_from_name(flow),
            name=name,
            work_pool_name=pool,
            entrypoint=f"{file}:{flow}",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(directory)}}],
            tags=list(tags),
            **limit,
            **more,
        )


def start_run(deployment: UUID, **parameters: Any) -> FlowRun:
    """Ask for a run, now."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment, parameters=parameters, state=Scheduled())


def runs_of(deployment: UUID) -> list[FlowRun]:
    """Every run of a deployment, in the order in which they began."""
    of = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=of, limit=200)
    return sorted(found, key=lambda run: str(run.start_time))


def all_ended(deployment: UUID) -> list[FlowRun]:
    """Every run of a deployment once none is left to run; nothing before."""
    found = runs_of(deployment)
    ended = [run for run in found if run.state and run.state.is_final()]
    return ended if len(ended) == len(found) else []


def states(runs: Sequence[FlowRun]) -> list[str]:
    """The names of their states, sorted."""
    return sorted(run.state.name or "" for run in runs if run.state)


def at_once(runs: Sequence[FlowRun]) -> int:
    """How many of the runs ran at the same time, at most."""
    began = [run.start_time for run in runs if run.start_time and run.end_time]
    return max(
        (
            sum(
                1 for run in runs
                if run.start_time and run.end_time and run.start_time <= at < run.end_time
            )
            for at in began
        ),
        default=0,
    )  # fmt: skip
