"""prefect.yaml in Prefect: check it, deploy what it says, tell and remove what it does not say any more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.templating import apply_values
from pydantic import TypeAdapter

from deployments.changes import Change, differences
from deployments.pools import check_job_variables
from groundwork.catalog import load_catalog
from groundwork.errors import GroundworkError
from groundwork.schedules import check_schedules
from groundwork.settings import Settings

FILE = Path("prefect.yaml")
_SPAN = TypeAdapter(timedelta)
TAGS = ("groundwork", "groundwork-alert")
"""Every deployment of ours has one of them; others are never touched."""


def read(file: Path = FILE) -> dict[str, dict[str, Any]]:
    """The stanzas by name, as they are written."""
    stanzas = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return {str(stanza["name"]): stanza for stanza in stanzas}


def problems(base_job_template: Mapping[str, Any], file: Path = FILE) -> list[str]:
    """What is wrong with the file, one clear sentence each: against the catalog, and against the pool.

    Raises:
        CatalogError: when the catalog itself is wrong.
    """
    found = check_schedules(load_catalog(Settings().catalog), file)
    for name, stanza in read(file).items() if not found else ():
        given = stanza["work_pool"].get("job_variables") or {}
        if wrong := check_job_variables(given, base_job_template):
            found.append(f"{file}: deployments.{name}.work_pool.job_variables: {wrong}.")
        if not set(TAGS) & set(stanza.get("tags") or []):
            found.append(f"{file}: deployments.{name}.tags: has neither {' nor '.join(TAGS)}. Add one.")
    return found


def compare(client: SyncPrefectClient, outputs: Mapping[str, Any], *, file: Path = FILE) -> Iterator[Change]:
    """What `prefect deploy --all` would change, and what it would leave behind.

    Args:
        client: speaks to the server.
        outputs: what the build steps give, by their ids.
        file: the stanzas.
    """
    top = yaml.safe_load(file.read_text(encoding="utf-8"))
    there = {deployment.name: deployment for deployment in ours(client)}
    for name, stanza in read(file).items():
        wanted = _wanted(apply_values(stanza, dict(outputs)))
        wanted["pull_steps"] = apply_values(top["pull"], dict(outputs))
        if name not in there:
            yield Change("created", "deployment", name)
        elif fields := differences(_present(there[name], set(wanted["schedules"])), wanted):
            yield Change("updated", "deployment", name, fields=fields)
        else:
            yield Change("unchanged", "deployment", name)


def deploy(settings: Mapping[str, str], *, file: Path = FILE) -> None:
    """Run ``prefect --no-prompt deploy --all``.

    Args:
        settings: environment variables, on top of this process's.
        file: the stanzas.

    Raises:
        GroundworkError: when it fails; its own last lines say why.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(file)]
    environment = {**os.environ, **settings}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        raise GroundworkError(str(file), "cannot be deployed", why=_reason(result.stdout + result.stderr))


def _reason(output: str) -> str:
    """The first error in Prefect's output: what follows it only says that it was not expected."""
    errors = re.findall(r"^(?:[\w.]+\.)?(?:\w+Error|\w+Missing|\w+Exception)\b.*$", output, re.MULTILINE)
    return " ".join((errors[0] if errors else output).split()[-80:])


def ours(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Every deployment of ours that Prefect has."""
    found: dict[Any, DeploymentResponse] = {}
    for tag in TAGS:
        tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
        place = 0
        while page := client.read_deployments(deployment_filter=tagged, limit=200, offset=place):
            found |= {deployment.id: deployment for deployment in page}
            place += len(page)
    return list(found.values())


def prune(client: SyncPrefectClient, *, remove: bool, dry_run: bool, file: Path = FILE) -> Iterator[Change]:
    """Tell, or remove, deployments of ours and schedules of theirs that the file does not name any more.

    ``prefect deploy`` adds and changes, but leaves both behind: a schedule that was removed from the file
    goes on starting runs.

    Args:
        client: speaks to the server.
        remove: remove them; else only tell.
        dry_run: say what would be removed, and remove nothing.
        file: the stanzas.
    """
    wanted = read(file)
    for deployment in ours(client):
        if deployment.name not in wanted:
            if remove and not dry_run:
                client.delete_deployment(deployment.id)
            yield _leftover("deployment", deployment.name, remove)
            continue
        slugs = {schedule["slug"] for schedule in wanted[deployment.name].get("schedules") or []}
        for schedule in deployment.schedules:
            if schedule.slug not in slugs:
                if remove and not dry_run:
                    client.delete_deployment_schedule(deployment.id, schedule.id)
                yield _leftover("schedule", f"{deployment.name}/{schedule.slug}", remove)


def _leftover(kind: str, name: str, removed: bool) -> Change:
    if removed:
        return Change("removed", kind, name)
    return Change("left over", kind, name, "it is in Prefect, but not in the file; apply with --prune")


def _wanted(stanza: dict[str, Any]) -> dict[str, Any]:
    """A stanza, in the words of `_present`."""
    limit = stanza.get("concurrency_limit") or {}
    pool = stanza["work_pool"]
    return {
        "description": stanza.get("description"),
        "version": stanza.get("version"),
        "entrypoint": stanza["entrypoint"],
        "parameters": stanza.get("parameters") or {},
        "tags": sorted(stanza.get("tags") or []),
        "concurrency_limit": limit.get("limit"),
        "collision_strategy": limit.get("collision_strategy"),
        "grace_period_seconds": limit.get("grace_period_seconds"),
        "work_pool": pool["name"],
        "work_queue": pool.get("work_queue_name") or "default",
        "job_variables": pool.get("job_variables") or {},
        "schedules": {s["slug"]: _wanted_schedule(s) for s in stanza.get("schedules") or []},
    }


def _wanted_schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    return {
        "when": schedule.get("cron") or str(_SPAN.validate_python(schedule["interval"])),
        "timezone": schedule.get("timezone"),
        "active": bool(schedule.get("active", True)),
        "parameters": schedule.get("parameters") or {},
    }


def _present(deployment: DeploymentResponse, slugs: set[str]) -> dict[str, Any]:
    """A deployment as Prefect has it; of its schedules only those that the file still names."""
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    return {
        "description": deployment.description,
        "version": deployment.version,
        "entrypoint": deployment.entrypoint,
        "parameters": deployment.parameters,
        "tags": sorted(deployment.tags),
        "concurrency_limit": limit.limit if limit else None,
        "collision_strategy": options.collision_strategy.value if options else None,
        "grace_period_seconds": options.grace_period_seconds if options else None,
        "work_pool": deployment.work_pool_name,
        "work_queue": deployment.work_queue_name,
        "job_variables": deployment.job_variables,
        "schedules": {
            str(one.slug): {
                "when": getattr(one.schedule, "cron", None) or str(getattr(one.schedule, "interval", "")),
                "timezone": getattr(one.schedule, "timezone", None),
                "active": one.active,
                "parameters": one.parameters,
            }
            for one in deployment.schedules
            if one.slug in slugs
        },
        "pull_steps": deployment.pull_steps,
    }
