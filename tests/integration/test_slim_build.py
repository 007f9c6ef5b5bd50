"""A slim build makes what a change touches, on the tables of the version before it, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import PROJECT


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A working tree of the newest commit, to change at will."""
    place = tmp_path / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, "HEAD"], cwd=PROJECT, check=True)
    yield place
    subprocess.run(["git", "worktree", "remove", "--force", place], cwd=PROJECT, check=True)


@pytest.mark.slow
def test_only_the_model_that_changed_and_what_hangs_on_it_is_built(tree: Path) -> None:
    (model,) = tree.glob("dbt/models/visualization/**/revenue_daily.sql")
    model.write_text(model.read_text(encoding="utf-8") + "\n-- a change\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "demo.slim", "--base", "HEAD", "--empty"],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1"},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    built = set(re.findall(r"OK created sql \w+ model (\S+)", done.stdout))
    assert built == {"visualization.revenue_daily"}, done.stdout[-3000:]
