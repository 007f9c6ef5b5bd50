"""From a run that ended badly to its troubles, and to what a mail tells of it."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from groundwork.alerts.diagnosis import diagnose
from groundwork.alerts.troubles import Trouble

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, Log

    from groundwork.alerts.affected import Affected

LAST_LINES = 20
LOOK_EVERY = 2.0
"""Seconds between two looks at the log lines; Prefect sends them at least every 2 s."""
LONGEST_WAIT = 30.0
LONGEST_MESSAGE = 800


def troubles_of(client: SyncPrefectClient, run: FlowRun, *, lasting: bool) -> list[Trouble]:
    """What is wrong according to a run that failed, crashed or timed out; one trouble per failed dbt node.

    Args:
        client: speaks to Prefect.
        run: the run.
        lasting: whether a later run of the same deployment can tell that it is over.
    """
    state = run.state
    assert state is not None
    message = (state.message or "")[:LONGEST_MESSAGE]
    found = diagnose(state.name or "", message, crashed=state.is_crashed())
    source, deployment = source_of(client, run), ""
    if run.deployment_id:
        deployment = client.read_deployment(run.deployment_id).name
    about = found.part or source or deployment or run.name
    own = source or deployment if lasting else f"run {run.id}"
    suffix = " quarantine" if found.kind == "quarantine" else ""
    told: dict[str, Any] = {
        "about": about,
        "since": state.timestamp.isoformat(),
        "source": "" if found.part else source,
        "deployment": deployment,
        "run_id": str(run.id),
        "lasting": lasting,
    }
    nodes = _failed_nodes(run, message)
    if nodes and not found.part:
        told["source"] = ""
        return [
            Trouble(
                f"{own} {node}", "test failed" if node.startswith("test.") else "failed",
                what=f"{run.name}: {node.split('.', 2)[-1]} failed", node=node, **told,
            )
            for node in nodes
        ]  # fmt: skip
    what = f"{run.name}: {message or state.name}"
    key = found.part if found.part and lasting else f"{own}{suffix}"
    return [Trouble(key, found.kind, what=what, **told)]


def _failed_nodes(run: FlowRun, message: str) -> list[str]:
    """What dbt says failed, if the run was dbt's; nothing when the bucket cannot tell."""
    from groundwork.dbt_results import failed_nodes
    from groundwork.errors import GroundworkError
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    if "Failures detected" not in message:
        return []
    try:
        return failed_nodes(platform_bucket(Settings()), str(run.id))
    except GroundworkError as error:
        logging.getLogger(__name__).warning("dbt's results cannot be read: %s", error)
        return []


def find_affected(troubles: list[Trouble]) -> tuple[Affected, list[str]]:
    """What troubles of one look touch, and the owners' addresses.

    Nothing when bucket and catalog cannot tell: they may be the trouble.
    """
    from groundwork import dbt_results
    from groundwork.alerts import affected as touched
    from groundwork.catalog import load_catalog
    from groundwork.errors import GroundworkError
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    settings, manifest = Settings(), {}
    try:
        catalog = load_catalog(settings.catalog)
    except GroundworkError:
        return touched.Affected(), []
    try:
        bucket = platform_bucket(settings)
        if bucket.exists(dbt_results.NEWEST_MANIFEST):
            manifest = json.loads(bucket.get(dbt_results.NEWEST_MANIFEST))
    except GroundworkError:
        pass
    nodes = [trouble.node for trouble in troubles if trouble.node]
    if nodes:
        owning = touched.sources_of(nodes, manifest, catalog)
        return touched.by_nodes(nodes, manifest), [catalog[source].owner.email for source in owning]
    source = troubles[0].source
    if source in set(catalog):
        return touched.by_source(catalog[source], manifest), [catalog[source].owner.email]
    return touched.by_platform(catalog.values(), manifest), []


def last_lines(client: SyncPrefectClient, flow_run_id: Any) -> list[str]:
    """A run's last log lines, oldest first, once two looks saw the same: they come in late batches."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    before: set[Any] | None = None
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        lines = client.read_logs(of_run, limit=LAST_LINES, sort=LogSort.TIMESTAMP_DESC)
        seen = {line.id for line in lines}
        if seen == before or time.monotonic() > deadline:
            return [_line(line) for line in reversed(lines)]
        before = seen
        time.sleep(LOOK_EVERY)


def source_of(client: SyncPrefectClient, run: FlowRun) -> str:
    """The source a run is about: by its tag, its parameter, or those of a part of it that failed."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    for tag in run.tags:
        if tag.startswith("source:"):
            return tag.removeprefix("source:")
    if source := run.parameters.get("source"):
        return str(source)
    parts = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    failed = [
        str(part.parameters.get("source", ""))
        for part in client.read_flow_runs(flow_run_filter=parts)
        if part.state and (part.state.is_failed() or part.state.is_crashed())
    ]
    return next((source for source in failed if source), "")


def _line(line: Log) -> str:
    level = logging.getLevelName(line.level)
    return f"{line.timestamp:%H:%M:%S} {level:8} {line.name}: {line.message}"
