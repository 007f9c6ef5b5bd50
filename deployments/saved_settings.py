"""Settings that automations are made from, saved as Prefect variables for whoever applies next.

The machine that applies later may set fewer of them: what it does not set keeps the value that was applied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change
from deployments.variables import apply_variables
from groundwork.settings import Settings

SAVED = ("runbooks", "patience_seconds")
"""Fields of `Settings` that decide what automations say, and when."""


def saved_settings() -> Settings:
    """This process's settings; what it does not set is what was applied before, or the default."""
    from prefect.variables import Variable

    saved: dict[str, Any] = {}
    for name in SAVED:
        if not _set_here(name) and (value := Variable.get(_variable(name))):
            saved[name] = value
    return Settings(**saved)


def apply_saved(client: SyncPrefectClient, *, dry_run: bool) -> Iterator[Change]:
    """Save what this process's environment sets; report what stays as it was saved."""
    here = {_variable(name): value for name in SAVED if (value := _set_here(name))}
    yield from apply_variables(client, here, dry_run=dry_run)
    for name in map(_variable, SAVED):
        if name not in here and client.read_variable_by_name(name):
            yield Change("unchanged", "variable", name)


def _set_here(name: str) -> str:
    return os.environ.get(f"GROUNDWORK_{name.upper()}", "")


def _variable(name: str) -> str:
    return f"groundwork_{name}"
