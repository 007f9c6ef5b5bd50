"""How long each deployment may be silent, from `update_every` and its schedule; and automations that need it.

A window that is the same for all would be a day for a source that is wanted every five minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from groundwork.alerts.silence import WATCH, allowed
from groundwork.catalog import Catalog
from groundwork.schedules import longest_gap
from groundwork.settings import Settings

PER_DEPLOYMENT = "scheduled deployment"
SCHEDULED = "groundwork-scheduled"


@dataclass(frozen=True)
class Window:
    """A scheduled deployment, and how long it may go without a success."""

    deployment: str
    every: timedelta
    """How often it is wanted: the catalog's word for a source, else what its schedule says."""
    silent: timedelta


def windows(catalog: Catalog, prefect_yaml: Path, settings: Settings | None = None) -> list[Window]:
    """The window of every scheduled deployment.

    Args:
        catalog: says how often a source is wanted.
        prefect_yaml: holds the deployments and their schedules.
        settings: says how late anything may be at least; from the environment when None.
    """
    file, settings = yaml.safe_load(prefect_yaml.read_text(encoding="utf-8")), settings or Settings()
    found = []
    for stanza in file["deployments"]:
        if SCHEDULED in (stanza.get("tags") or []):
            # Whether schedules are on is the environment's; how often they fire is not.
            fires = [{**schedule, "active": True} for schedule in stanza.get("schedules") or []]
            sources = [tag.removeprefix("source:") for tag in stanza["tags"] if tag.startswith("source:")]
            every = catalog[sources[0]].update_every if sources and sources[0] in catalog else None
            every = every or longest_gap(fires) or timedelta(days=1)
            found.append(Window(stanza["name"], every, allowed(stanza["name"], every, settings.patience)))
    return found


def expanded(
    entries: Sequence[Mapping[str, Any]], found: Sequence[Window], runbooks: str
) -> Iterator[dict[str, Any]]:
    """The automations with one each for those that are per deployment, and all placeholders filled in.

    Args:
        entries: what automations.yaml holds.
        found: see `windows`.
        runbooks: address of the page of runbooks.
    """
    for entry in entries:
        text = json.dumps({key: value for key, value in entry.items() if key != "per"})
        text = text.replace("<runbooks>", json.dumps(runbooks)[1:-1])
        if entry.get("per") != PER_DEPLOYMENT:
            yield json.loads(text)
            continue
        for window in found:
            if window.deployment == WATCH:
                continue  # the dead man's switch looks at its newest success
            seconds = str(int(window.silent.total_seconds()))
            filled = text.replace("<deployment>", window.deployment).replace('"<window>"', seconds)
            yield json.loads(filled)
