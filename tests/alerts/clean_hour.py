"""An hour in which all is well, replayed fast: every run that the schedules would begin, and not one mail."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from cronsim import CronSim

from tests.alerts.stage import Stage
from tests.commands import PROJECT

FLOWS = {"export-logs": "export-logs", "transform": "transform", "watch": "watch"}


def due(minutes: int) -> Iterator[tuple[datetime, str]]:
    """Every run that the schedules of prefect.yaml begin within so many minutes, in order."""
    begin = datetime(2026, 11, 22, 12)
    stanzas = yaml.safe_load(Path(PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    found = []
    for stanza in stanzas:
        name = stanza["name"]
        for schedule in stanza.get("schedules") or []:
            for at in CronSim(schedule["cron"], begin - timedelta(seconds=1)):
                if at >= begin + timedelta(minutes=minutes):
                    break
                found.append((at, f"{FLOWS.get(name, 'ingest')}/{name}"))
    yield from sorted(found)


def replay(stage: Stage, minutes: int, tell: Callable[[str], None] = print) -> tuple[Counter[str], list[str]]:
    """Run them, two at a time, while the source changes.

    Returns:
        How many runs of each deployment, and the subjects of all mails that came (there should be none).
    """
    before, counted, began = len(stage.mails), Counter[str](), time.monotonic()

    def run(deployment: str, number: int) -> str:
        if deployment.endswith("shop"):
            stage.database.sql(f"insert into orders values ({100_000 + number}, 1)")
        state = stage.run(deployment).state
        return f"{deployment}: {state.name if state else '?'}"

    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(copy_context().run, run, deployment, number)
            for number, (_, deployment) in enumerate(due(minutes))
        ]
        for done in runs:
            counted[done.result()] += 1
    stage.settle()
    tell(f"clean hour: {counted.total()} runs in {time.monotonic() - began:.0f} s: {dict(counted)}")
    return counted, [str(mail["Subject"]) for mail in stage.mails[before:]]
