"""Load: two million stored rows from S3 into landing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.cdc import CONTENDERS, DLT
from benchmarks.check import digest_sql, fetched, same
from benchmarks.environments import environment
from benchmarks.ground import Database, Ground
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.notes import BARE, REPLAYED
from benchmarks.workloads import WORKLOADS, Workload, catalog_entry
from groundwork.manifest import manifest_key

TIMES = 25


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Measure both tables: one snapshot of ours each, loaded again and again."""
    runs = []
    for workload in WORKLOADS.values():
        with (
            ground.snapshot_database(workload) as database,
            ground.prefix() as bucket,
            ground.directory() as local,
        ):
            entry = catalog_entry(workload, replication="full_table")
            asked = {
                "catalog": str(ground.catalog(local, entry, workload.name)),
                "source": workload.name,
                "bucket": bucket,
            }
            extract = ours(asked | {"steps": ["extract"]})
            measure(extract, ground.environment(database))
            chosen = [c for c in contenders(ground, database, asked, local) if only in c.name]
            runs += interleave(workload.name, chosen, rounds, ground.tell)
    return runs


def contenders(ground: Ground, database: Database, asked: dict[str, Any], local: Path) -> list[Contender]:
    """Everybody who loads the stored objects."""
    files = fetched(ground, asked["bucket"], local)
    workload, digest = database.workload, ground.facts(database)["digest"]

    def loaded(command: list[Any], table: str, file: Path, *, check: bool = True) -> Measured:
        measured = measure(command, ground.environment(database) | DLT)
        if check:  # dlt's file has another DuckDB version's format
            same("rows and digest in DuckDB", digest, landed(workload, file, table))
        return measured

    def groundwork() -> Measured:
        with ground.directory() as directory:
            file = directory / "groundwork.duckdb"
            command = ours(asked | {"steps": ["load"], "duckdb": str(file)})
            return loaded(command, f"landing.{workload.name}__{workload.name}", file)

    def bare() -> Measured:
        with ground.directory() as directory:
            file = directory / "bare.duckdb"
            words = {"files": files, "duckdb": str(file), "columns": list(workload.columns)}
            program = CONTENDERS / "duckdb_insert.py"
            return loaded([sys.executable, program, json.dumps(words)], "landed", file)

    def dlt() -> Measured:
        with ground.directory() as directory:
            file = directory / "dlt.duckdb"
            bucket, _, prefix = asked["bucket"].removeprefix("s3://").partition("/")
            keys = [f"{bucket}/{key}" for key in ground.keys(prefix) if key.endswith(".parquet")]
            words = {
                "keys": keys, "s3": ground.s3_options(), "duckdb": str(file), "directory": str(directory),
            }  # fmt: skip
            program = CONTENDERS / "dlt_load.py"
            measured = loaded(
                [environment("dlt", ground.home), program, json.dumps(words)], "", file, check=False
            )
            same("rows that dlt counts", digest[0] + 1, measured.said["rows"])  # and our truncate row
            return measured

    def replayed() -> Measured:
        with ground.directory() as directory, repeated(ground, asked["bucket"], workload.name) as bucket:
            file = directory / "replayed.duckdb"
            command = ours(asked | {"bucket": bucket, "steps": ["replay"], "duckdb": str(file)})
            measured = measure(command, ground.environment(database))
            same("rows that were replayed", TIMES * (digest[0] + 1), measured.said["replay_rows"])
            return measured

    everybody = [Contender(BARE, bare), Contender("groundwork", groundwork), Contender("dlt", dlt)]
    if workload.name == "accounts":  # the other one has wider rows of the same kind, and takes much longer
        everybody.append(Contender(REPLAYED, replayed, slow=True))
    return everybody


@contextmanager
def repeated(ground: Ground, bucket_url: str, source: str) -> Iterator[str]:
    """The same batch `TIMES` times over: its objects once, a manifest for each."""
    client = ground.s3.client()
    name, _, prefix = bucket_url.removeprefix("s3://").partition("/")
    with ground.prefix() as other:
        there = other.removeprefix("s3://").partition("/")[2]
        for key in ground.keys(prefix):
            place = there + key.removeprefix(prefix)
            client.copy_object(Bucket=name, Key=place, CopySource={"Bucket": name, "Key": key})
        first = client.get_object(Bucket=name, Key=f"{prefix}/{manifest_key(source, 1)}")
        manifest = json.loads(first["Body"].read())
        for number in range(2, TIMES + 1):
            body = json.dumps(manifest | {"batch_id": number}).encode()
            client.put_object(Bucket=name, Key=f"{there}/{manifest_key(source, number)}", Body=body)
        yield other


def ours(asked: dict[str, Any]) -> list[Any]:
    """Groundwork's command."""
    return [sys.executable, "-m", "benchmarks.contenders.groundwork_run", json.dumps(asked)]


def landed(workload: Workload, file: Path, table: str) -> list[int]:
    """Rows and digest of a landed table."""
    with duckdb.connect(str(file), read_only=True) as connection:
        relation = f"(select * from {table} where _operation <> 'truncate')"
        found = connection.execute(digest_sql(workload, relation)).fetchone()
    return [int(n) for n in found or []]
