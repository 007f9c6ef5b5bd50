"""prefect.yaml in Prefect: deploy what it says, remove what it does not say any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.exceptions import ObjectNotFound

from deployments.changes import Change
from groundwork.errors import GroundworkError

FILE = Path("prefect.yaml")
POOL = "groundwork"


def apply_pool(client: SyncPrefectClient, *, dry_run: bool) -> Change:
    """Make the work pool, of type process, if there is none of its name; its type is never changed."""
    try:
        client.read_work_pool(POOL)
        return Change("unchanged", "work pool", POOL)
    except ObjectNotFound:
        if not dry_run:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        return Change("created", "work pool", POOL)


def deploy(file: Path = FILE) -> None:
    """Run ``prefect --no-prompt deploy --all``.

    Raises:
        GroundworkError: when it fails; its own last lines say why.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = " ".join((result.stdout + result.stderr).split()[-60:])
        raise GroundworkError(str(file), "cannot be deployed", why=last)


def prune(client: SyncPrefectClient, *, dry_run: bool, file: Path = FILE) -> Iterator[Change]:
    """Remove deployments of ours, and schedules of theirs, that the file does not name any more.

    ``prefect deploy`` adds and changes, but leaves both behind.
    """
    stanzas = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    wanted: dict[str, Any] = {stanza["name"]: stanza for stanza in stanzas}
    for tag in ("groundwork", "groundwork-alert"):
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
        for deployment in client.read_deployments(deployment_filter=ours):
            if deployment.name not in wanted:
                if not dry_run:
                    client.delete_deployment(deployment.id)
                yield Change("removed", "deployment", deployment.name)
                continue
            slugs = {s["slug"] for s in wanted[deployment.name].get("schedules") or []}
            for schedule in deployment.schedules:
                if schedule.slug not in slugs:
                    if not dry_run:
                        client.delete_deployment_schedule(deployment.id, schedule.id)
                    yield Change("removed", "schedule", f"{deployment.name}/{schedule.slug}")
