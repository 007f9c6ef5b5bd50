"""Holds prefect.yaml against the catalog: what is wanted must be scheduled, often enough, once.

prefect.yaml is read as YAML, so this knows nothing of Prefect but the file's format
(https://docs.prefect.io/v3/how-to-guides/deployments/prefect-yaml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from cronsim import CronSim, CronSimError
from pydantic import TypeAdapter, ValidationError

from groundwork.catalog import AnySource, Catalog

_SPAN = TypeAdapter(timedelta)
_FROM = datetime(2026, 1, 1)
"""Schedules are looked at from here on, as if all had fired then."""


def check_schedules(catalog: Catalog, prefect_yaml: Path) -> list[str]:
    """What is wrong with the deployments, one clear sentence each; empty when all is well.

    A deployment is a source's when it has the tag ``source:<name>``.
    """
    try:
        file = yaml.safe_load(prefect_yaml.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        return [f"{prefect_yaml}: cannot be read ({type(error).__name__})."]
    deployments = [d for d in (file or {}).get("deployments") or [] if isinstance(d, dict)]
    problems = list(_templates(prefect_yaml, deployments))
    for deployment in deployments:
        problems += _whole(prefect_yaml, deployment)
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for deployment in deployments:
        for tag in deployment.get("tags") or []:
            if str(tag).startswith("source:"):
                by_source.setdefault(str(tag).removeprefix("source:"), []).append(deployment)
    for source in by_source.keys() - set(catalog):
        problems.append(
            f"{prefect_yaml}: deployments.{by_source[source][0]['name']}.tags: 'source:{source}' is "
            f"not a source of the catalog ({', '.join(catalog)})."
        )
    for name, entry in catalog.items():
        problems += _source(prefect_yaml, entry, by_source.get(name, []))
    return problems


def _source(file: Path, entry: AnySource, deployments: list[Mapping[str, Any]]) -> Iterator[str]:
    where = f"{file}: deployments"
    if not deployments:
        yield (
            f"{where}: no deployment has the tag 'source:{entry.source}', though the catalog wants "
            f"it every {_told(entry.update_every)}. Add a stanza for it."
        )
        return
    names = [str(d.get("name")) for d in deployments]
    if len(names) > 1:
        yield f"{where}: {' and '.join(names)} both read '{entry.source}'. Keep one of them."
    for deployment in deployments:
        given = (deployment.get("parameters") or {}).get("source", entry.source)
        if given != entry.source:
            yield (
                f"{where}.{deployment['name']}.parameters.source: is '{given}', but its tag says "
                f"'source:{entry.source}'. Make them agree."
            )
        limit = deployment.get("concurrency_limit")
        if (limit.get("limit") if isinstance(limit, dict) else limit) != 1:
            yield (
                f"{where}.{deployment['name']}.concurrency_limit: must be 1, so that one source is "
                "never read twice at once."
            )
        try:
            longest = longest_gap(deployment.get("schedules") or [])
        except ValueError as error:
            yield f"{where}.{deployment['name']}.schedules: {error}."
            continue
        if longest is None:
            yield f"{where}.{deployment['name']}.schedules: has no active schedule. Add one."
        elif longest > entry.update_every:
            yield (
                f"{where}.{deployment['name']}.schedules: leaves up to {_told(longest)} between two "
                f"runs, but catalog/{entry.source}.yml wants update_every: "
                f"{_told(entry.update_every)}. Run it more often, or ask for less."
            )


def longest_gap(schedules: Sequence[Mapping[str, Any]]) -> timedelta | None:
    """The longest time between two runs of all active schedules together; None without any.

    Clocks that change in summer are not counted: a schedule in local time may be an hour off once a year.

    Raises:
        ValueError: for a schedule that cannot be understood.
    """
    active = [s for s in schedules if str(s.get("active", True)).lower() != "false"]
    if not active:
        return None
    end = _FROM + max(_repeats_after(schedule) for schedule in active)
    firings = {_FROM}
    for schedule in active:
        firings |= set(_firings(schedule, end))
    return max(later - earlier for earlier, later in pairwise(sorted(firings)) if earlier <= end)


def _repeats_after(schedule: Mapping[str, Any]) -> timedelta:
    """How long to look at a schedule to have seen all its gaps."""
    cron = str(schedule.get("cron") or "* * * * *").split()
    if cron[2:] == ["*", "*", "*"]:
        return timedelta(days=2)  # every day is the same
    return timedelta(days=8 if cron[2:4] == ["*", "*"] else 400)


def _firings(schedule: Mapping[str, Any], end: datetime) -> Iterator[datetime]:
    """When a schedule fires, up to some time and once after it."""
    if schedule.get("cron"):
        try:
            following = CronSim(str(schedule["cron"]), _FROM)
        except CronSimError as error:
            raise ValueError(f"'{schedule['cron']}' is not a cron expression ({error})") from error
        for at in following:
            yield at
            if at > end:
                return
    elif schedule.get("interval"):
        try:
            every = _SPAN.validate_python(schedule["interval"])
        except ValidationError as error:
            raise ValueError(f"'{schedule['interval']}' is not an interval") from error
        if every <= timedelta(0):
            raise ValueError(f"'{schedule['interval']}' is not an interval")
        anchor = datetime.fromisoformat(str(schedule.get("anchor_date", "2026-01-01T00:00:00")))
        at = _FROM + (anchor.replace(tzinfo=UTC) - _FROM.replace(tzinfo=UTC)) % every
        while at <= end + every:
            yield at
            at += every
    else:
        raise ValueError("has a schedule that is neither 'cron' nor 'interval'; use one of them")


def _whole(file: Path, deployment: Mapping[str, Any]) -> Iterator[str]:
    """What a stanza leaves out that Prefect then chooses by itself."""
    where = f"{file}: deployments.{deployment.get('name')}"
    for schedule in deployment.get("schedules") or []:
        if not schedule.get("slug"):
            yield (
                f"{where}.schedules: a schedule has no slug. "
                "Without one, a change of it adds a second schedule instead of changing the first."
            )
        if not schedule.get("timezone"):
            yield f"{where}.schedules: a schedule has no timezone. Say which clock it goes by, e.g. UTC."
    limit = deployment.get("concurrency_limit")
    if limit is not None and not (isinstance(limit, dict) and limit.get("collision_strategy")):
        yield (
            f"{where}.concurrency_limit: does not say what becomes of a run that finds the place taken. Add "
            "collision_strategy: CANCEL_NEW (it is dropped) or ENQUEUE (it waits)."
        )


def _templates(file: Path, deployments: list[Any]) -> Iterator[str]:
    """Templates that Prefect fills in at deploy time, wrongly and without a word."""
    for found in sorted(set(re.findall(r"\{\{\s*(\$\w+|prefect\.[\w.-]+)\s*\}\}", str(deployments)))):
        if found.startswith("$"):
            why = "becomes an empty text when the variable is not set at deploy time"
            yield f"{file}: '{{{{ {found} }}}}' {why}. Write the value."
        elif found.startswith("prefect.blocks"):
            why = "is stored in the deployment in the clear"
            yield f"{file}: '{{{{ {found} }}}}' {why}. Look the secret up in the flow."
        elif found.startswith("prefect.variables"):
            why = "is read once, when it is deployed; later changes do nothing"
            yield f"{file}: '{{{{ {found} }}}}' {why}. Look the variable up in the flow."


def _told(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds != size else ''}"
    return f"{seconds} seconds"
