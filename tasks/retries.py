"""When trying again can help: the network, and nothing else."""

from __future__ import annotations

from typing import Any

from prefect.tasks import exponential_backoff

from groundwork.errors import (
    BucketError,
    KeyMissing,
    KeyTaken,
    ManifestConflict,
    SourceUnreachable,
)

_FINAL = (KeyMissing, KeyTaken, ManifestConflict)


def is_worth_another_try(_task: Any, _task_run: Any, state: Any) -> bool:
    """Whether a task failed for want of a connection; Prefect's ``retry_condition_fn``."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, (SourceUnreachable, BucketError)) and not isinstance(error, _FINAL)


RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=5),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_worth_another_try,
}
"""Keyword arguments for ``@task``: 5, 10 and 20 seconds, up to half as much more."""
