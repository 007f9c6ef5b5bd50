"""The benchmarks: what the pages show is what the command wrote, and the command runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report, targets
from benchmarks.__main__ import BENCHES
from benchmarks.notes import DEBEZIUM, NOTES, OURS, TITLES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / report.RESULTS


def benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_page_of_figures_is_what_the_command_wrote() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert (ROOT / report.PAGE).read_text(encoding="utf-8") == report.page(results)


def test_the_readme_shows_the_figures_that_the_command_wrote() -> None:
    readme = (ROOT / report.README).read_text(encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if report.BEGIN in readme:
        assert report.with_figures(readme, results) == readme


def test_kept_figures_are_those_of_whole_runs() -> None:
    for kept in json.loads(RESULTS.read_text(encoding="utf-8")).values():
        assert kept["scale"] == 1
        assert kept["rounds"] >= 3


def test_help_lists_every_bench() -> None:
    done = benchmarks("--help")
    assert done.returncode == 0
    for name, (_, what) in BENCHES.items():
        assert f"{name:12}{what}" in done.stdout


def test_every_bench_has_its_page() -> None:
    assert set(BENCHES) == set(TITLES) == set(NOTES)


def test_an_unknown_bench_is_refused() -> None:
    done = benchmarks("speed")
    assert done.returncode == 2
    assert "invalid choice: 'speed'" in done.stderr


def test_peers_are_pinned_exactly() -> None:
    for path in (ROOT / "benchmarks" / "peers").glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines), path.name


def test_a_target_that_was_missed_is_said_to_be_missed() -> None:
    run = {"workload": "orders", "round": 0, "wall": 1.0, "rss_mb": 451.0, "server_cpu": 4.0}
    runs = [run | {"contender": OURS, "cpu": 5.0}, run | {"contender": DEBEZIUM, "cpu": 60.0}]
    lines = targets.table("cdc", runs)
    assert lines[0] == "| target | orders |"
    assert "| CPU at most the server's own | **missed**: 1.25 |" in lines
    assert "| CPU at most 1/12 of Debezium's | reached: 0.083 |" in lines
    assert "| memory below 450 MB | **missed**: 451 |" in lines
    assert not any("dlt" in line for line in lines), "nobody measured it"


@pytest.mark.slow
def test_a_tiny_run_measures_and_checks_ours(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--scale", "0.002", "--only", "groundwork", "--home", str(tmp_path)]
    for bench in ("cdc", "snapshot", "idle", "tables"):
        done = benchmarks(bench, *words)
        assert done.returncode == 0, done.stderr
        assert "| **groundwork** | 1 |" in done.stdout
