"""Calls for help: the runs of `notify`, however they were begun."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType

_GOING_ON = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


def calls_going_on() -> list[FlowRun]:
    """Those that are not over."""
    tagged = filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=["groundwork-alert"]))
    going_on = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_GOING_ON))
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=going_on, deployment_filter=tagged)
