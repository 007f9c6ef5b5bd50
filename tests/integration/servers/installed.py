"""Servers that others wrote, each in an environment of its own under .tools/servers, which git ignores.

`requirements/<name>.in` says what is wanted, the `.txt` beside it in which versions (`uv pip compile`); Node
and npm come in a wheel, so nothing need be on the machine. No script of an npm package is run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from benchmarks.environments import environment
from tests.commands import PROJECT

HERE = Path(__file__).parent
PLACE = PROJECT / ".tools" / "servers"


def program(name: str, of: str = "") -> str:
    """A program of an environment, which is made when it is first asked for."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with FileLock(PLACE / "lock"):  # tests run in several processes
        python = environment(of or name, PLACE, HERE / "requirements")
    return str(python.parent / name)


def script(package: str, path: str) -> list[str]:
    """The command that runs a script of an npm package."""
    node = program("node")
    place, lock = PLACE / "npm", HERE / "npm" / "package-lock.json"
    mark = place / "complete.json"
    with FileLock(PLACE / "lock"):
        if not mark.exists() or mark.read_bytes() != lock.read_bytes():
            place.mkdir(parents=True, exist_ok=True)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(HERE / "npm" / file, place / file)
            words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            paths = {"PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
            subprocess.run(
                [str(Path(node).with_name("npm")), *words], cwd=place, check=True, timeout=900,
                env=os.environ | paths,
            )  # fmt: skip
            shutil.copy(lock, mark)
    return [node, str(place / "node_modules" / package / path)]
