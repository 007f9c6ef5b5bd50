"""The image's door for AWS Lambda: one event ingests one source, by the same code as the flow.

    python -m awslambdaric deployments.lambda_function.handler      (the function's command in the image)

With PREFECT_API_URL the event runs the flow `ingest` itself, so states, log lines and mails are as ever.
Without it nothing of Prefect is loaded: it starts in half the time, settings and secrets come from the
environment alone. Either way the function's time limit is kept (`groundwork.time_limit`): what is done is
committed, the answer says ``complete: false``, and the next event goes on. See docs/image.md.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Protocol

import boto3  # noqa: F401 (see below)
from pydantic import BaseModel, ConfigDict, ValidationError

# Loaded when they are needed elsewhere, and here at once: the start has a whole processor to itself and ten
# seconds of its own, an event pays for every second with its time limit.
import groundwork.sources.postgres
import groundwork.sources.rest  # noqa: F401
from groundwork.bucket import open_bucket
from groundwork.catalog import load_catalog
from groundwork.errors import GroundworkError, SettingMissing
from groundwork.extract import extract, open_source
from groundwork.load import load
from groundwork.settings import Settings, resolve_from_environment
from groundwork.time_limit import limited
from groundwork.warehouses import open_warehouse

logging.getLogger("groundwork").setLevel(logging.INFO)


class Context(Protocol):
    """What Lambda tells of an invocation; the part of it that is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""
        ...


class Order(BaseModel):
    """The event: what the flow `ingest` takes as parameters."""

    model_config = ConfigDict(extra="forbid")
    source: str
    refresh: list[str] = []
    full_refresh: bool = False


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Ingest the source that the event names; called by AWS's runtime client.

    Args:
        event: ``{"source": …}``, and ``refresh`` or ``full_refresh`` as the flow `ingest` has them.
        context: tells how much time is left.

    Returns:
        ``complete``: whether the source is caught up; if not, the next event goes on. ``extracted`` and
        ``loaded``: batches and rows of each stream, where they are known here.

    Raises:
        GroundworkError: when the event is not an order, or as `extract` and `load` do.
    """
    order = _order(event)
    with limited(lambda: context.get_remaining_time_in_millis() / 1000) as limit:
        run = _as_flow_run if os.environ.get("PREFECT_API_URL") else _alone
        answer = run(order, context.aws_request_id)
    return {"source": order.source, "complete": not limit.cut_short, **answer}


def _order(event: dict[str, Any]) -> Order:
    try:
        return Order.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise GroundworkError(
            "event", f"is not an order to ingest: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            fix='send {"source": "<name in the catalog>"}, and if wanted "refresh" or "full_refresh"',
        ) from None  # fmt: skip


def _alone(order: Order, run_id: str) -> dict[str, Any]:
    """Extract; then load, if the warehouse is one that can be reached from here."""
    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)[order.source], open_bucket(settings.bucket_url)
    source = open_source(entry, resolve_from_environment, bucket)
    extracted = extract(
        entry, source, bucket, run_id=run_id, full_refresh=order.full_refresh, refresh=order.refresh
    )
    unloaded: list[str] = []
    answer: dict[str, Any] = {"extracted": {"batches": extracted.batches, "rows": extracted.rows}}
    if _has_warehouse(settings):
        with open_warehouse(settings, who=f"load {order.source}") as warehouse:
            loaded = load(entry, bucket, warehouse, run_id=run_id)
        answer["loaded"] = {"batches": loaded.batches, "rows": loaded.rows}
        unloaded = loaded.complaints
    extracted.insist(unloaded)
    return answer


def _as_flow_run(order: Order, _run_id: str) -> dict[str, Any]:
    if not _has_warehouse(Settings()):
        raise SettingMissing(
            "AWS Lambda",
            "the flow 'ingest' loads a warehouse, and a DuckDB file would not outlive the event",
            fix="set GROUNDWORK_WAREHOUSE=snowflake; or unset PREFECT_API_URL, then events only extract, and "
            "the machine that has the file loads",
        )
    from flows.ingest import ingest
    from tasks.prefect_api import send_log_lines

    try:
        ingest(order.source, order.refresh, order.full_refresh)
    finally:
        send_log_lines()  # Lambda freezes this process as soon as the event is answered
    return {}


def _has_warehouse(settings: Settings) -> bool:
    """Whether this place can load: a function has no disk that outlives it, but the network."""
    return settings.warehouse != "duckdb"
