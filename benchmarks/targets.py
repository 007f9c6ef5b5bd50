"""What Groundwork sets out to reach, and whether the kept runs reached it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.notes import (
    BARE,
    DEBEZIUM,
    DLT,
    DLT_S3,
    DUCKDB,
    FETCHED,
    LIMIT,
    OURS,
    REPLAYED,
    TEN_TIMES,
    TENTH,
)

Runs = list[dict[str, Any]]
Figure = Callable[[Runs], float | None]


@dataclass(frozen=True)
class Target:
    """A figure that must not be larger than ``most``."""

    what: str
    most: float
    figure: Figure
    """From the runs of one workload; none when somebody did not take part."""
    shown: str = ".2f"
    """How the figure is printed."""


def of(runs: Runs, contender: str) -> Runs:
    """The runs of one contender."""
    return [run for run in runs if run["contender"] == contender]


def paired(own: Runs, base: Runs, name: str = "cpu") -> list[float]:
    """Ratios of the runs of the same round."""
    by_round = {run["round"]: run[name] for run in base}
    return [run[name] / by_round[run["round"]] for run in own if by_round.get(run["round"])]


def against(peer: str, name: str = "cpu", own: str = OURS) -> Figure:
    """Median of our cost divided by a peer's in the same round."""
    return lambda runs: middle(paired(of(runs, own), of(runs, peer), name))


def to_server(runs: Runs) -> float | None:
    """Median of our CPU divided by the server's in the same run."""
    return middle([run["cpu"] / run["server_cpu"] for run in of(runs, OURS) if run["server_cpu"]])


def peak(name: str) -> Figure:
    """The most memory of any run of a contender, MB."""
    return lambda runs: max((run["rss_mb"] for run in of(runs, name)), default=None)


def said(name: str) -> Figure:
    """Median of something that our runs say of themselves."""
    return lambda runs: middle([run["said"][name] for run in of(runs, OURS) if name in run["said"]])


def middle(numbers: list[float]) -> float | None:
    """The median, if there is one."""
    return float(statistics.median(numbers)) if numbers else None


TARGETS: dict[str, list[Target]] = {
    "cdc": [
        Target("CPU at most the server's own", 1.0, to_server),
        Target("CPU at most 1/12 of Debezium's", 1 / 12, against(DEBEZIUM), ".3f"),
        Target("CPU at most 1/12 of dlt's", 1 / 12, against(DLT), ".3f"),
        Target("wall at most 1.3 × pg_recvlogical's", 1.3, against(LIMIT, "wall")),
        Target("memory below 450 MB", 450, peak(OURS), ".0f"),
    ],
    "snapshot": [
        Target("CPU at most 1.2 × the DuckDB extension's", 1.2, against(DUCKDB)),
        Target("memory below 400 MB", 400, peak(OURS), ".0f"),
        Target("memory below 400 MB with ten times the rows", 400, peak(TEN_TIMES), ".0f"),
        Target("memory at most 1.1 × with ten times the rows", 1.1, against(OURS, "rss_mb", TEN_TIMES)),
    ],
    "api": [
        Target("CPU at most 2.5 × fetching and dropping", 2.5, against(FETCHED)),
        Target("CPU at most 1/10 of dlt's", 1 / 10, against(DLT_S3), ".3f"),
        Target("memory below 300 MB", 300, peak(OURS), ".0f"),
        Target("memory at most 1.1 × that of a tenth of the pages", 1.1, against(TENTH, "rss_mb")),
    ],
    "load": [
        Target("CPU at most 1.15 × the bare INSERT's", 1.15, against(BARE)),
        Target("memory below 500 MB", 500, peak(OURS), ".0f"),
        Target("memory below 500 MB with 25 times the rows", 500, peak(REPLAYED), ".0f"),
    ],
    "idle": [
        Target("at most 0.2 CPU s beyond imports", 0.2, said("work_cpu")),
        Target("at most 0.2 s of wall time beyond imports", 0.2, said("work_wall")),
    ],
    "tables": [
        Target("extract and load at most 3 CPU s beyond imports", 3.0, said("work_cpu")),
        Target("catalog read in at most 0.3 CPU s", 0.3, said("catalog_cpu")),
    ],
}


def table(bench: str, runs: Runs) -> list[str]:
    """A bench's targets as a table, a column per workload."""
    workloads = list(dict.fromkeys(run["workload"] for run in runs))
    lines = []
    for target in TARGETS.get(bench, []):
        found = [target.figure([run for run in runs if run["workload"] == name]) for name in workloads]
        if any(figure is not None for figure in found):
            lines.append(f"| {target.what} | {' | '.join(verdict(target, figure) for figure in found)} |")
    if not lines:
        return []
    return [f"| target | {' | '.join(workloads)} |", f"|---|{'---|' * len(workloads)}", *lines, ""]


def verdict(target: Target, figure: float | None) -> str:
    """Whether a target was reached, and the figure."""
    if figure is None:
        return "not measured"
    return f"{'reached' if figure <= target.most else '**missed**'}: {figure:{target.shown}}"
