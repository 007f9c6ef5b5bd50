"""`make clean`, and where the reports of proofs go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import filelock

from tests.commands import PROJECT
from tests.proofs import report


def clean(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(PROJECT / "demo" / "clean.py")]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)


def test_clean_takes_nothing_from_a_running_platform(tmp_path: Path) -> None:
    home = tmp_path / ".groundwork"
    home.mkdir()
    for kept in (home / "warehouse.duckdb", tmp_path / "dbt" / "target" / "manifest.json"):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("kept")
    with filelock.FileLock(home / "platform.lock"):  # as `demo.platform` takes it
        done = clean(tmp_path)
        assert done.returncode == 1 and "a platform is running in .groundwork; stop it first" in done.stderr
        assert (home / "warehouse.duckdb").exists() and (tmp_path / "dbt/target/manifest.json").exists()
    assert clean(tmp_path).returncode == 0
    assert not home.exists() and not (tmp_path / "dbt" / "target").exists()
    assert clean(tmp_path).returncode == 0, "when nothing ran"


def test_a_report_is_written_beside_the_published_one_and_is_not_committed() -> None:
    for name in ("chaos", "alerts"):
        beside, published = report(name, publish=False), report(name, publish=True)
        assert beside != published and beside.parent == published.parent and published.exists()
        ignored = subprocess.run(
            ["git", "check-ignore", "-q", str(beside)], cwd=PROJECT, check=False, timeout=60
        )
        assert ignored.returncode == 0
