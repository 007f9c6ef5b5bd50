# ruff: noqa: E501 (one case, one line)
"""How long each trouble stays untold at most in production, from automations.yaml, prefect.yaml and the catalog.

A call is late by what notices the trouble (an event, a window, the next `watch`), and by what tells it: the
worker's next look for work, the start of a process, the log lines. What is measured is the telling; the rest
is arithmetic over the files that production runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from deployments.automations import PREFECT_YAML, read_wanted
from deployments.dead_mans_switch.switch import CALLS_WAIT, WATCH_IS_DUE
from deployments.windows import windows
from groundwork.alerts.silence import WATCH
from groundwork.catalog import load_catalog
from groundwork.schedules import longest_gap
from groundwork.settings import Settings
from tests.commands import PROJECT

EVENT = 6
"""Seconds from a state to what an automation starts: 0.3 to 5.7 were measured."""
EVALUATED = 5
"""Seconds between two looks at what did not happen (PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY)."""
LATE = 15 + 5
"""A run is called late 15 s after its time, by a service that looks every 5 s."""
POLL = 10
"""A worker looks for work every 10 s (PREFECT_WORKER_QUERY_SECONDS)."""
RUN = 30
"""A container or process, its imports, and the look itself; 8 to 12 s on an idle machine of two cores."""
LINES = 4
"""Until a run's log lines are complete."""
TELL = POLL + RUN + LINES
LOOK = 60 + 10
"""The switch looks every minute, and one look takes ten seconds at most."""


@dataclass(frozen=True)
class WorstCase:
    """One kind of trouble."""

    trouble: str
    counted: str
    """From when on the five minutes count."""
    noticed: str
    seconds: int


def worst_cases() -> list[WorstCase]:
    """All kinds, from the files that production runs on."""
    within = {entry["name"]: entry["trigger"].get("within", 0) for entry in read_wanted()}
    stanzas = {one["name"]: one for one in yaml.safe_load(Path(PREFECT_YAML).read_text())["deployments"]}
    gap = longest_gap([{**one, "active": True} for one in stanzas["watch"]["schedules"]]) or timedelta(0)
    watch = int(gap.total_seconds()) + POLL + RUN  # its next run, and that run
    late = int(Settings().late_seconds)
    loss, calls = (int(one.total_seconds()) for one in (WATCH_IS_DUE, CALLS_WAIT))
    at_once, seen = EVENT + TELL, watch + EVENT + TELL
    return [
        WorstCase("failed, timed out, data test failed, quarantine", "the run's end", "event", at_once),
        WorstCase("crashed: SIGKILL, out of memory", "the process's end", "event, by the worker", at_once + 2),
        WorstCase("machine gone, another worker is there", "the last heartbeat", f"{within['groundwork: silent run']} s without one", within["groundwork: silent run"] + EVALUATED + at_once),
        WorstCase("no worker, machine gone with it", "the last heartbeat", "90 s without one, and two looks of the switch", 90 + 2 * LOOK),
        WorstCase("pool paused or gone", "the pause", "two looks of the switch", 2 * LOOK),
        WorstCase("late", "the time it was to begin", f"{LATE} s + {max(within['groundwork: run waits'], late)} s", LATE + max(within["groundwork: run waits"], late) + EVALUATED + TELL),
        WorstCase("taken up, and does not begin", "the moment it is taken up", f"{within['groundwork: run does not begin']} s", within["groundwork: run does not begin"] + EVALUATED + at_once),
        WorstCase("never started: paused", "the pause", "next watch", seen),
        WorstCase("bucket or warehouse unreachable", "the first refusal", "next watch, or a run that fails", seen + 20),
        WorstCase("disk filling, slot lag, too little", "the threshold", "next watch", seen),
        WorstCase("hung, stale, does not succeed", "the end of its window (table below)", "next watch", seen),
        WorstCase("watch does not succeed", "the time of its run that did not come", f"{loss} s without a success, and a look of the switch", loss - int(gap.total_seconds()) + LOOK),
        WorstCase("the run that tells fails", "its end", "event, by the server", EVENT),
        WorstCase("server, its database or that one's disk down; mail server down", "the last answer", "two looks of the switch", 2 * LOOK),
        WorstCase("there never was a worker", "the time a run was to begin", "150 s, and two looks of the switch", calls + 2 * LOOK),
        WorstCase("calls are not taken up", "the call", "150 s, and a look of the switch", calls + LOOK),
    ]  # fmt: skip


def tables() -> str:
    """Both tables, as Markdown."""
    rows = [f"| {one.trouble} | {one.counted} | {one.noticed} | {one.seconds} s |" for one in worst_cases()]
    found = windows(load_catalog(PROJECT / "catalog"), PROJECT / "prefect.yaml")
    spans = [
        f"| {one.deployment} | {_said(one.every)} | {_said(one.silent)} |"
        for one in found
        if one.deployment != WATCH
    ]
    return "\n".join(
        ["| trouble | counted from | noticed by | at most |", "|---|---|---|---:|", *rows, "",
         "| deployment | wanted every | may be silent for |", "|---|---:|---:|", *spans, ""]
    )  # fmt: skip


def _said(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:g} min"


if __name__ == "__main__":
    print(tables())
