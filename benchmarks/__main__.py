"""`python -m benchmarks`: measure, beside the peers, in one command."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.ground import Ground
from benchmarks.measure import ROOT, BenchError, Rounds

BENCHES = {
    "end-to-end": ("end_to_end", "a million changes: slot, S3, landing, dbt; beside dlt's extract and load"),
    "cdc": (
        "cdc",
        "a million changes: slot to Parquet in S3; beside pg_recvlogical, Debezium, dlt, plain code",
    ),
    "snapshot": (
        "snapshot",
        "two million rows: table to Parquet in S3; beside dlt, ADBC, DuckDB's extension",
    ),
    "api": (
        "api",
        "a million nested records of an HTTP API: to Parquet in S3; beside dlt and fetch-and-drop",
    ),
    "load": ("load", "two million rows: S3 to landing; beside a bare INSERT of local files, and dlt"),
    "increments": (
        "increments",
        "a base model's run after 1,000 keys changed, by the size of the table",
    ),
    "idle": ("idle", "extract and load with nothing new, beyond imports; beside dlt"),
    "tables": ("tables", "one changed row in 2,000 tables: extract and load, beyond imports"),
}


def main() -> int:
    """Run what is asked for and write it down."""
    asked = arguments()
    chosen = list(BENCHES) if asked.bench == "all" else [asked.bench]
    rounds = Rounds(asked.rounds, min(asked.slow_rounds, asked.rounds))
    keep = asked.scale == 1 and not asked.only and not asked.dry
    with Ground(asked.home, asked.scale, lambda text: print(text, file=sys.stderr, flush=True)) as ground:
        for bench in chosen:
            module, _ = BENCHES[bench]
            run: Callable[[Ground, Rounds, str], list[dict[str, Any]]]
            run = import_module(f"benchmarks.{module}").run
            began = time.monotonic()
            try:
                runs = run(ground, rounds, asked.only)
            except BenchError as error:
                print(f"{bench}: {error}", file=sys.stderr)
                return 1
            if not runs:
                print(f"{bench}: nobody's name holds '{asked.only}'", file=sys.stderr)
                return 1
            result = report.result(bench, runs, rounds, asked.scale, time.monotonic() - began)
            print(report.section(bench, result))
            if keep:
                report.keep(ROOT, bench, result)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    listed = "\n".join(f"  {name:12}{what}" for name, (_, what) in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure Groundwork beside its peers.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Runs at scale 1 are written to benchmarks/results.json and docs/benchmarks.md.\n"
        "The servers, their rows and the peers are kept for the next run: up to 25 GB, until `make clean`.",
    )
    parser.add_argument("bench", nargs="?", default="all", choices=[*BENCHES, "all"], metavar="bench")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run, in turn (3)")
    parser.add_argument("--slow-rounds", type=int, default=1, help="and those that take minutes (1)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows; 0.01 for a look (1)")
    parser.add_argument("--only", default="", help="contenders whose name holds this")
    parser.add_argument("--dry", action="store_true", help="write nothing down")
    parser.add_argument("--home", type=Path, default=ROOT / ".groundwork" / "bench", help="where to work")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
