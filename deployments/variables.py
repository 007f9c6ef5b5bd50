"""Prefect variables that an environment sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from deployments.changes import Change, differences


def apply_variables(
    client: SyncPrefectClient, wanted: Mapping[str, Any], *, dry_run: bool
) -> Iterator[Change]:
    """Make Prefect's variables of these names hold these values."""
    for name, value in wanted.items():
        existing = client.read_variable_by_name(name)
        if existing is None:
            if not dry_run:
                client.create_variable(VariableCreate(name=name, value=value))
            yield Change("created", "variable", name)
        elif fields := differences(existing.value, value):
            if not dry_run:
                client.update_variable(VariableUpdate(name=name, value=value))
            yield Change("updated", "variable", name, fields=fields)
        else:
            yield Change("unchanged", "variable", name)
