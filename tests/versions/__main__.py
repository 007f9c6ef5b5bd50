"""Run the change capture's tests on every PostgreSQL we promise: `make test-versions`.

python -m tests.versions [--fetch-only] [14 15 …] [-- words for pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.versions.servers import PROJECT, VARIABLE, fetch, programs, versions

SUITE = "tests/integration/capture"


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
