"""Memory of loads: wide rows, large values and many of them, each loaded on two threads within 2 GB.

Run as ``python -m benchmarks.memory [words of a case …]``. The load is a process in a control group with that
limit, where one can be made (Linux, root); where none can be made there is no limit, and the table says so.
Batches are built without a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 2_000_000_000
"""Bytes that the load may have."""
_GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_CHUNK = 8 << 20
"""Bytes of rows that a source hands over at a time, unless one row is larger."""

CASES: dict[str, tuple[int, int, int]] = {
    "1,600 columns x 100,000 rows": (1600, 100_000, 7),
    "300 columns x 1,000,000 rows": (300, 1_000_000, 7),
    "1,000 rows x 300 KB": (1, 1000, 300_000),
    "300 rows x 1 MB": (1, 300, 1_000_000),
    "200 rows x 2 MB": (1, 200, 2_000_000),
    "60 rows x 5 MB": (1, 60, 5_000_000),
    "1 row x 140 MB": (1, 1, 140_000_000),
    "1 row x 500 MB": (1, 1, 500_000_000),
    "1 row of 10 x 20 MB": (10, 1, 20_000_000),
    "one page of 2,000 rows x 100 KB": (1, 2000, 100_000),
}
"""Columns, rows, bytes of a value."""


def build(place: Path, case: str) -> None:
    """Commit one batch of a case to a bucket in a directory."""
    import numpy as np
    import pyarrow as pa

    from groundwork.bucket import open_bucket
    from groundwork.extract import extract
    from groundwork.sources import Checkpoint, Cursors, Rows
    from tests.capture import entry

    columns, rows, size = CASES[case]
    step = rows if "page" in case else max(1, min(rows, _CHUNK // (columns * (size + 8))))
    names = [f"c{number}" for number in range(columns)]
    random = np.random.default_rng(7)

    def texts(count: int) -> pa.Array:
        data = random.integers(97, 123, count * size, dtype=np.uint8)
        ends = np.arange(0, (count + 1) * size, size, dtype=np.int64)
        large = pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(data))
        return large if count * size > 2**31 - 1 else large.cast(pa.string())

    class Source:
        def read(self, _cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            for first in range(0, rows, step):
                count = min(step, rows - first)
                yield Rows("wide", pa.table({name: texts(count) for name in names}))
            yield Checkpoint({}, heartbeat=True)

    described = entry({"wide": ("public.wide", ["c0"])})
    extract(described, Source(), open_bucket((place / "bucket").as_uri()))


def load(place: Path) -> None:
    """Load what was built, and say the peak in MB and how many rows are there."""
    import resource

    from groundwork.bucket import open_bucket
    from groundwork.load import load
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse
    from tests.capture import entry

    settings = Settings(home=place)
    described = entry({"wide": ("public.wide", ["c0"])})
    with open_warehouse(settings, who="bench") as warehouse:
        load(described, open_bucket((place / "bucket").as_uri()), warehouse).insist()
        loaded = warehouse.count("landing", "shop__wide")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak // 1000, "rows": loaded}))


@contextmanager
def limited() -> Iterator[Callable[[], None] | None]:
    """Puts the process that calls it into a control group with the limit; None when there is no group."""
    for root in _GROUPS:
        group = root / f"groundwork-{os.getpid()}"
        name = "memory.max" if (root / "cgroup.controllers").exists() else "memory.limit_in_bytes"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(LIMIT))
        except OSError:
            group.rmdir()
            continue
        try:
            yield lambda: _join(group)  # noqa: B023
        finally:
            group.rmdir()
        return
    yield None


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def measured(case: str, join: Callable[[], None] | None) -> dict[str, object]:
    """Build a case and load it; its peak, or how it failed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(Path.cwd()),
    }
    command = [sys.executable, "-m", "benchmarks.memory"]
    with tempfile.TemporaryDirectory(prefix="groundwork-memory-") as place:
        words = [*command, "--place", place]
        subprocess.run([*words, "--build", case], env=environment, check=True)
        done = subprocess.run(
            [*words, "--load"], env=environment, preexec_fn=join, capture_output=True, text=True, check=False
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return {"failed": f"exit {done.returncode}: {last[:300]}"}
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> int:
    """Measure every case, or those that are named; 1 when one was not loaded whole within the limit."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory")
    parser.add_argument("cases", nargs="*", help="words of the cases to measure; all when none is named")
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        build(options.place, options.build)
        return 0
    if options.load:
        load(options.place)
        return 0
    failed = False
    with limited() as join:
        limit = (
            f"control group of {LIMIT // 1_000_000} MB"
            if join
            else "no limit: no control group can be made here"
        )
        print(f"{'case':<34} {'peak MB':>8}   ({limit}, {os.cpu_count()} cores)")
        for case in CASES:
            if options.cases and not any(words in case for words in options.cases):
                continue
            found = measured(case, join)
            whole = found.get("rows") == CASES[case][1] and int(str(found["peak"])) <= LIMIT // 1_000_000
            failed = failed or not whole
            print(f"{case:<34} {found.get('peak', '-'):>8}   {'' if whole else found}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
