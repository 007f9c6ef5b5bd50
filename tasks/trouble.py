"""From a run's id to a mail about it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from prefect import task

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, Log

    from groundwork.affected import Affected
    from groundwork.notices import Sender, Trouble

LAST_LINES = 20
LOOK_EVERY = 2.0
"""Seconds between two looks at the log lines; Prefect sends them at least every 2 s."""
LONGEST_WAIT = 60.0


@task(task_run_name="read-trouble")
def read_trouble(flow_run_id: str) -> Trouble:
    """What Prefect knows of a run, once its log lines, which come in late batches, are all there."""
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.utilities.urls import url_for

    from groundwork.notices import Trouble

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(flow_run_id))
        lines = _settled_lines(client, run.id)
        run = client.read_flow_run(run.id)
        deployment = client.read_deployment(run.deployment_id).name if run.deployment_id else ""
        state = run.state
        return Trouble(
            run_id=str(run.id),
            run_name=run.name,
            flow=client.read_flow(run.flow_id).name,
            deployment=deployment,
            state=state.name or "" if state else "",
            state_id=str(state.id) if state else str(run.id),
            message=state.message or "" if state else "",
            since=f"{state.timestamp:%Y-%m-%d %H:%M:%S} UTC" if state else "",
            url=url_for(run) or "",
            source=_source_of(client, run),
            log_lines=[_line(line) for line in reversed(lines[:LAST_LINES])],
        )


@task(task_run_name="find-affected")
def find_affected(trouble: Trouble) -> tuple[Trouble, Affected]:
    """What the trouble touches; nothing when bucket and catalog cannot tell (they may be the trouble)."""
    from dataclasses import replace

    from groundwork import affected as touched
    from groundwork import dbt_results
    from groundwork.catalog import load_catalog
    from groundwork.errors import GroundworkError
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    settings, manifest = Settings(), {}
    try:
        bucket, catalog = platform_bucket(settings), load_catalog(settings.catalog)
        if bucket.exists(dbt_results.NEWEST_MANIFEST):
            manifest = json.loads(bucket.get(dbt_results.NEWEST_MANIFEST))
        if trouble.source in catalog:
            return trouble, touched.by_source(catalog[trouble.source], manifest)
        failed = dbt_results.failed_nodes(bucket, trouble.run_id)
        return replace(trouble, failed_nodes=failed), touched.by_nodes(failed, manifest)
    except GroundworkError:
        return trouble, touched.Affected()


@task(task_run_name="mail")
def tell(trouble: Trouble, affected: Affected) -> bool:
    """Mail it, unless this very state was mailed before (automations deliver at least once).

    Returns:
        Whether a mail went out.
    """
    from prefect.artifacts import Artifact, create_markdown_artifact

    from groundwork.notices import compose, send

    key = f"mailed-{trouble.state_id}"
    if Artifact.get(key):
        return False
    sender = _sender()
    mail = compose(trouble, affected, sender)
    send(mail, sender)
    text = mail.get_body(("plain",))
    create_markdown_artifact(f"```\n{text.get_content() if text else ''}\n```", key=key)
    return True


def _settled_lines(client: SyncPrefectClient, flow_run_id: Any) -> list[Log]:
    """The newest lines first, when two looks in a row saw the same."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    before: set[Any] | None = None
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        lines = client.read_logs(of_run, limit=200, sort=LogSort.TIMESTAMP_DESC)
        seen = {line.id for line in lines}
        if seen == before or time.monotonic() > deadline:
            return lines
        before = seen
        time.sleep(LOOK_EVERY)


def _source_of(client: SyncPrefectClient, run: FlowRun) -> str:
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
    import logging

    level = logging.getLevelName(line.level)
    return f"{line.timestamp:%H:%M:%S} {level:8} {line.name}: {line.message}"


def _sender() -> Sender:
    from groundwork.notices import Sender
    from groundwork.settings import Named
    from tasks.lookup import resolve

    return Sender(
        url=resolve(Named(secret="groundwork-smtp-url")),
        sender=resolve(Named(variable="groundwork-alert-from")),
        recipients=[one.strip() for one in resolve(Named(variable="groundwork-alert-to")).split(",")],
    )
