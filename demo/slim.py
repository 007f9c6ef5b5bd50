"""A slim build: only the dbt models that differ from another commit, and what is below them.

    python -m demo.slim --base COMMIT [--empty]        (`make slim BASE=…`)

The platform of the other commit runs first, in a working tree and a directory of its own, so that the models
that changed meet tables as they are today: incremental ones go on from the other version's rows, and dbt
refuses contracts that were broken. With ``--empty`` its landing tables are made but hold no rows, which takes
a tenth of the time and still proves everything but the data tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUILD = """
import sys
from groundwork.dbt_turn import build
from groundwork.settings import Settings
build(Settings(), sys.argv[1:])
"""


class SlimBuildFailed(RuntimeError):
    """A step failed; what it wrote says why."""


def main() -> int:
    """The command line; 1 when the other commit cannot be built, or the models that changed cannot."""
    parser = argparse.ArgumentParser(prog="python -m demo.slim", description=__doc__)
    parser.add_argument("--base", default="main", help="the commit to compare with")
    parser.add_argument("--empty", action="store_true", help="tables without rows")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="slim-") as name, _other(options.base, Path(name)) as other:
            slim(other, Path(name), empty=options.empty)
    except SlimBuildFailed as error:
        print(f"slim: {error}", file=sys.stderr)
        return 1
    return 0


def slim(other: Path, place: Path, *, empty: bool) -> None:
    """Run the other version, then build here what differs from it.

    Args:
        other: the other version's working tree.
        place: a directory for its data.
        empty: leave its tables without rows.

    Raises:
        SlimBuildFailed: naming the step.
    """
    # The demo's own names for what is in its home.
    warehouse = {"GROUNDWORK_HOME": str(place / "home"), "GROUNDWORK_WAREHOUSE": "duckdb"}
    warehouse["GROUNDWORK_DUCKDB_PATH"] = str(place / "home" / "warehouse.duckdb")
    if empty:
        _step("the other version, without rows", other, [*_dbt(), "build", "--quiet"], warehouse)
    else:
        _step("the other version", other, ["-m", "demo", "run", "--home", str(place / "home")], {})
    state = str(other / "dbt" / "target")
    changed = ["build", "--select", "state:modified+", "--state", state]
    # dbt's own files lie apart: a build that goes on in this tree meanwhile is not disturbed.
    apart = {"DBT_TARGET_PATH": str(place / "target"), "DBT_LOG_PATH": str(place / "logs")}
    _step("what changed", Path.cwd(), [*_dbt(), *changed], warehouse | apart)


def _dbt() -> Sequence[str]:
    return ("-c", BUILD)


def _step(what: str, tree: Path, arguments: Sequence[str], variables: dict[str, str]) -> None:
    print(f"→ {what}", flush=True)
    environment = {**os.environ, **variables, "PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, check=False)
    if done.returncode:
        raise SlimBuildFailed(f"{what} ended with {done.returncode}")


@contextmanager
def _other(commit: str, place: Path) -> Iterator[Path]:
    """A working tree of another commit."""
    tree = place / "tree"
    _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
    try:
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> None:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SlimBuildFailed(f"git {words[0]}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
