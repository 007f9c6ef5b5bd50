"""The work pool, its queues, and the limits on what runs at once.

The templates in ``work_pools/`` are ours, not Prefect's own: they name the variables that we use and refuse
all others, because Prefect takes a misspelt job variable without a word and then leaves it out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from deployments.changes import Change, differences
from deployments.environments import Environment, Limit, Queue
from groundwork.errors import SettingMissing

POOL = "groundwork"
TEMPLATES = Path(__file__).with_name("work_pools")


def template(environment: Environment) -> tuple[str, dict[str, Any]]:
    """Type and base job template of an environment's pool.

    Secrets stand in it as references, which the worker resolves when a run begins.

    Raises:
        SettingMissing: when there is no such kind of pool, or it has no such variable.
    """
    where = f"environment '{environment.name}'"
    file = TEMPLATES / f"{environment.pool}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(found.stem for found in TEMPLATES.glob("*.yaml")))
        raise SettingMissing(where, f"there is no pool of the kind '{environment.pool}'", fix=f"use {known}")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    kind = str(content.pop("type"))
    properties = content["variables"]["properties"]
    if wrong := check_job_variables(environment.job_variables, content):
        raise SettingMissing(where, f"job_variables: {wrong}")
    for name, value in environment.job_variables.items():
        properties[name]["default"] = copy.deepcopy(value)
    properties["env"]["default"] |= environment.env
    for name, block in environment.secrets.items():
        properties["env"]["default"][name] = f"{{{{ prefect.blocks.secret.{block} }}}}"
    return kind, content


def check_job_variables(given: Mapping[str, Any], base_job_template: Mapping[str, Any]) -> str:
    """What is wrong with job variables for a pool, as a clause; empty when nothing is."""
    known = base_job_template["variables"]["properties"]
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return ""
    names = ", ".join(f"'{name}'" for name in unknown)
    return f"{names}: the pool knows no such variable ({', '.join(sorted(known))})"


def apply_pool(client: SyncPrefectClient, environment: Environment, *, dry_run: bool) -> Change:
    """Make the work pool as the environment wants it.

    Raises:
        SettingMissing: when the pool is of another type: Prefect cannot change that.
    """
    kind, wanted = template(environment)
    try:
        existing = client.read_work_pool(POOL)
    except ObjectNotFound:
        if not dry_run:
            client.create_work_pool(WorkPoolCreate(name=POOL, type=kind, base_job_template=wanted))
        return Change("created", "work pool", POOL)
    if existing.type != kind:
        raise SettingMissing(
            f"work pool '{POOL}'", f"is of the type {existing.type}, the environment wants {kind}",
            why="Prefect cannot change the type of a pool",
            fix=f"drain it, `prefect work-pool delete {POOL}`, and apply again",
        )  # fmt: skip
    fields = differences(existing.base_job_template, wanted)
    if not fields:
        return Change("unchanged", "work pool", POOL)
    if not dry_run:
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=wanted))
    return Change("updated", "work pool", POOL, fields=fields)


def apply_queues(
    client: SyncPrefectClient, environment: Environment, *, dry_run: bool, fresh: bool = False
) -> Iterator[Change]:
    """Make the pool's queues as the environment wants them; whether one is paused is left as it is.

    Args:
        client: speaks to the server.
        environment: says which.
        dry_run: say what would change, and change nothing.
        fresh: the pool was made just now, so that Prefect's own queue `default` is new too.
    """
    there = _queues(client)
    for name, wanted in sorted(environment.queues.items(), key=lambda item: item[1].priority):
        change = _apply_queue(client, name, wanted, there.get(name), dry_run)
        yield Change("created", change.kind, change.name) if fresh else change


def _queues(client: SyncPrefectClient) -> dict[str, dict[str, Any]]:
    try:
        found = client.request("POST", f"/work_pools/{POOL}/queues/filter", json={})  # type: ignore[arg-type]
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 404:  # a dry run before there is a pool
            raise
        return {}
    return {queue["name"]: queue for queue in found.json()}


def _apply_queue(
    client: SyncPrefectClient, name: str, wanted: Queue, existing: dict[str, Any] | None, dry_run: bool
) -> Change:
    path, kind, label = f"/work_pools/{POOL}/queues", "work queue", f"{POOL}/{name}"
    content = wanted.model_dump()
    if existing is None:
        if not dry_run:
            client.request("POST", f"{path}/", json={"name": name, **content})  # type: ignore[arg-type]
        return Change("created", kind, label)
    fields = differences({key: existing[key] for key in content}, content)
    if not fields:
        return Change("unchanged", kind, label)
    if not dry_run:
        client.request("PATCH", f"{path}/{name}", json=content)  # type: ignore[arg-type]
    return Change("updated", kind, label, fields=fields)


def apply_limits(client: SyncPrefectClient, environment: Environment, *, dry_run: bool) -> Iterator[Change]:
    """Make the global concurrency limits as the environment wants them."""
    for name, wanted in environment.limits.items():
        yield _apply_limit(client, name, wanted, dry_run)


def _apply_limit(client: SyncPrefectClient, name: str, wanted: Limit, dry_run: bool) -> Change:
    kind, content = "concurrency limit", wanted.model_dump()
    try:
        existing = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        if not dry_run:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, **content))
        return Change("created", kind, name)
    fields = differences({key: getattr(existing, key) for key in content}, content)
    if not fields:
        return Change("unchanged", kind, name)
    if not dry_run:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(**content))
    return Change("updated", kind, name, fields=fields)
