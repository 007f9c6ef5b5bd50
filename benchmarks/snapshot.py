"""Snapshot: two million rows of a table to Parquet in S3."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import notes
from benchmarks.cdc import CONTENDERS, DLT
from benchmarks.check import LANDED, digest_of, fetched, parquet_rows, same
from benchmarks.environments import environment
from benchmarks.ground import Database, Ground, other_url
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.workloads import WORKLOADS, Workload, catalog_entry


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Measure both tables."""
    runs = []
    for workload in WORKLOADS.values():
        with ground.snapshot_database(workload) as database:
            chosen = [c for c in contenders(ground, database) if only in c.name]
            runs += interleave(workload.name, chosen, rounds, ground.tell)
    return runs


def contenders(ground: Ground, database: Database) -> list[Contender]:
    """Everybody who copies the table."""

    def peer(where: str, program: str, *words: str) -> Measured:
        return copied(ground, database, where, program, words)

    return [
        Contender(notes.OURS, lambda: groundwork(ground, database)),
        Contender(notes.DUCKDB, lambda: peer("bare", "duckdb_table.py")),
        Contender("ADBC", lambda: peer("bare", "adbc_table.py")),
        Contender("dlt (connectorx)", lambda: peer("dlt", "dlt_table.py", "connectorx")),
        Contender("dlt (pyarrow)", lambda: peer("dlt", "dlt_table.py", "pyarrow"), slow=True),
        Contender(notes.TEN_TIMES, lambda: ten_times(ground, database.workload), slow=True),
    ]


def ten_times(ground: Ground, workload: Workload) -> Measured:
    """Ours with ten times the rows."""
    with ground.snapshot_database(workload, times=10) as database:
        return groundwork(ground, database, to_the_letter=False)


def groundwork(ground: Ground, database: Database, *, to_the_letter: bool = True) -> Measured:
    """Ours, and whether every value in the bucket is the table's, or at least all rows are there."""
    workload = database.workload
    with ground.prefix() as bucket, ground.directory() as directory:
        entry = catalog_entry(workload, slot="run_snapshot")
        asked = {
            "catalog": str(ground.catalog(directory, entry, workload.name)),
            "source": workload.name,
            "bucket": bucket,
            "steps": ["extract"],
        }
        try:
            measured = measure(
                [sys.executable, "-m", "benchmarks.contenders.groundwork_run", json.dumps(asked)],
                ground.environment(database),
                database.pid,
            )
        finally:
            database.drop_slots()
        facts = ground.facts(database)
        if to_the_letter:
            found = digest_of(workload, fetched(ground, bucket, directory), LANDED)
            same(f"rows and digest of {workload.name}", facts["digest"], found)
        # a copy begins by emptying the table: one row more
        same("rows extracted", facts["rows"] + 1, measured.said["extract_rows"])
    return measured


def copied(ground: Ground, database: Database, where: str, program: str, words: Sequence[str]) -> Measured:
    """A peer's run, and whether all rows are in S3."""
    with ground.prefix() as bucket, ground.directory() as directory:
        name, _, prefix = bucket.removeprefix("s3://").partition("/")
        asked = {
            "url": database.url,
            "table": database.workload.table,
            "directory": str(directory),
            "s3": ground.s3_options(),
            "bucket": name,
            "prefix": prefix,
            "words": list(words),
        }
        if where == "dlt":
            asked["url"] = other_url(database, "postgresql+psycopg2")
        measured = measure(
            [environment(where, ground.home), CONTENDERS / program, json.dumps(asked)], DLT, database.pid
        )
        below = f"/{database.workload.table}/" if where == "dlt" else ""
        found = parquet_rows(ground, bucket, below)
    same("rows in Parquet", ground.facts(database)["rows"], found)
    return measured
