# ruff: noqa: E501 (a line of the report, one line)
"""``make test-alerts``: every kind of trouble in a real platform, and one mail each; and its report."""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.alerts.clean_hour import replay
from tests.alerts.judge import Verdict, play
from tests.alerts.scenes import WAVES
from tests.alerts.stage import SHORT, WINDOWS, Stage
from tests.alerts.worst_cases import tables
from tests.proofs import report

PRODUCTION = tables()
"""Before anything is shortened."""


def main() -> int:
    """0 when each trouble was told once, in time, and nothing else was."""
    asked = argparse.ArgumentParser(prog="make test-alerts", description=__doc__)
    asked.add_argument("--waves", nargs="+", default=list(WAVES), choices=list(WAVES), metavar="WAVE")
    asked.add_argument("--clean", type=int, default=60, metavar="MINUTES", help="of the clean hour")
    asked.add_argument("--times", type=int, default=1, help="how often all waves are played")
    asked.add_argument("--seed", type=int, default=None, help="of the order of the waves; printed")
    asked.add_argument("--report", type=Path, default=None)
    asked.add_argument("--publish", action="store_true", help="write docs/proofs/alerts.md")
    given = asked.parse_args()
    file = given.report or report("alerts", publish=given.publish)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    draw = random.Random(seed)
    waves = [wave for _ in range(given.times) for wave in draw.sample(given.waves, len(given.waves))]
    tell(f"seed {seed}: {' '.join(waves)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, directory = time.monotonic(), Path(tempfile.mkdtemp(prefix="alerts-"))
    try:
        with Stage(directory).running() as stage, stage.switch():
            tell(f"started in {time.monotonic() - began:.0f} s")
            prepare(stage)
            counted, false = replay(stage, given.clean, tell) if given.clean else (Counter[str](), [])
            verdicts = []
            for wave in waves:
                try:
                    verdicts.append(play(stage, wave, WAVES[wave], tell))
                except (AssertionError, TimeoutError) as error:
                    tell(f"{wave}: could not be played: {error}")
                    verdicts.append(Verdict(strange=[f"wave {wave} could not be played to its end"]))
                about = f"seed {seed}, {given.times} times all waves in random order"
                write(file, verdicts, counted, false, given.clean, time.monotonic() - began, about)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(file.read_text(encoding="utf-8"))
    return 0 if not false and all(verdict.holds for verdict in verdicts) else 1


def prepare(stage: Stage) -> None:
    """Load everything once, so that all is well."""
    for deployment in ("ingest/ingest-shop", "ingest/ingest-payments", "transform/transform"):
        state = stage.run(deployment).state
        assert state is not None and state.is_completed(), (deployment, state)


def tell(line: str) -> None:
    """Say how far it is."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def write(
    file: Path,
    verdicts: list[Verdict],
    counted: Counter[str],
    false: list[str],
    minutes: int,
    seconds: float,
    about: str,
) -> None:
    """Write the report."""
    told = [one for verdict in verdicts for one in verdict.told]
    strange = [subject for verdict in verdicts for subject in verdict.strange]
    rows = [
        f"| {one.scene.title} | `{one.scene.word}` | {one.scene.by} | {_seconds(one.opened, one.caused)} "
        f"| {len(one.opened)} | {len(one.recovered)} | {'yes' if one.holds else 'NO: ' + '; '.join(one.faults)} |"
        for one in told
    ]
    lines = [
        "# Proof: each trouble is mailed once, and once when it is over",
        "",
        f"`make test-alerts`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s, {about}: "
        f"{sum(one.holds for one in told)} of {len(told)} troubles told as they should be, "
        f"{len(strange)} mails that no trouble explains, {len(false)} false alarms in "
        f"{minutes} clean minutes ({counted.total()} runs).",
        "",
        "A real Prefect server on PostgreSQL, a worker, an S3 server, a source, DuckDB, dbt, two mail servers and the",
        "dead man's switch as its container runs it. Every mail is read: who it is for, what it must say, that it is",
        "text and HTML, and that no password and no value is in it. Seconds are from the cause to the mail, the",
        "start of the run that fails included; what is waited for was shortened:",
        "",
        *(f"- `{name}={value}`" for name, value in SHORT.items()),
        *(f"- `{name}`: within {value} s" for name, value in WINDOWS.items()),
        "",
        "| trouble | word | told by | seconds | mails | when over | holds |",
        "|---|---|---|---:|---:|---:|---|",
        *rows,
        "",
        *(f"- also told: {subject}" for subject in strange),
        *(f"- false alarm: {subject}" for subject in false),
        "",
        "## In production",
        "",
        "Computed by `tests/alerts/worst_cases.py` from automations.yaml, prefect.yaml and the catalog.",
        "",
        PRODUCTION,
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines), encoding="utf-8")


def _seconds(came: list[float], caused: float) -> str:
    return f"{came[0] - caused:.0f}" if came else "–"


if __name__ == "__main__":
    sys.exit(main())
