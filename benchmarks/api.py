"""HTTP API: a million nested records, 1,000 a page, to S3 and on to landing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.cdc import CONTENDERS, DLT
from benchmarks.check import parquet_rows, same
from benchmarks.environments import environment
from benchmarks.ground import Ground
from benchmarks.load import ours
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.notes import DLT_S3, FETCHED, OURS, TENTH

RECORDS = 1_000_000
SOURCE = "records"
ENTRY = """source: records
kind: rest
priority: 1
questions: ["What does it cost to read an API?"]
requested_by: [The README]
owner: {{name: Benchmarks, email: benchmarks@example.com}}
format: JSON
history: everything
update_every: 1 day
connection:
  base_url: "{url}"
  requests_per_second: 100000
streams:
  records:
    endpoint: /{path}
    replication: full_table
    primary_key: [id]
    records: data
    paging: {{kind: cursor, parameter: cursor, next: next_cursor}}
    columns:
      id: {{type: text}}
      amount: {{type: "decimal(14,2)", path: amount.value}}
      updated_at: {{type: timestamp}}
"""


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Measure against one server."""
    records = int(RECORDS * ground.scale)
    with api_server(records) as url:
        chosen = [c for c in contenders(ground, url, records) if only in c.name]
        return interleave(SOURCE, chosen, rounds, ground.tell)


@contextmanager
def api_server(records: int) -> Iterator[str]:
    """The API in a process of its own; yields its address."""
    command = [sys.executable, str(CONTENDERS / "api_server.py"), str(records)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.stdin.close()
        process.wait(20)


def contenders(ground: Ground, url: str, records: int) -> list[Contender]:
    """Everybody who reads the API."""

    def groundwork(steps: list[str], path: str = "records", expected: int = records) -> Measured:
        with ground.prefix() as bucket, ground.directory() as directory:
            file = directory / "groundwork.duckdb"
            asked = {
                "catalog": str(ground.catalog(directory, ENTRY.format(url=url, path=path), SOURCE)),
                "source": SOURCE,
                "bucket": bucket,
                "duckdb": str(file),
                "steps": steps,
            }
            measured = measure(ours(asked), ground.environment())
            same("records in S3", expected, parquet_rows(ground, bucket) - 1)  # and our truncate row
            if "load" in steps:
                same("records in landing", [records, records], landed(file))
        return measured

    def dlt() -> Measured:
        with ground.prefix() as bucket, ground.directory() as directory:
            name, _, prefix = bucket.removeprefix("s3://").partition("/")
            words = {
                "base_url": url,
                "s3": ground.s3_options(),
                "bucket": name,
                "prefix": prefix,
                "directory": str(directory / "pipelines"),
            }
            program = CONTENDERS / "dlt_api.py"
            measured = measure([environment("dlt", ground.home), program, json.dumps(words)], DLT)
        same("records that dlt counts", records, measured.said["rows"])
        return measured

    def fetch_and_drop() -> Measured:
        program = CONTENDERS / "fetch_and_drop.py"
        words = {"url": f"{url}/records"}
        measured = measure([environment("bare", ground.home), program, json.dumps(words)])
        same("pages", -(-records // 1000), measured.said["pages"])
        return measured

    return [
        Contender(FETCHED, fetch_and_drop),
        Contender(OURS, lambda: groundwork(["extract"])),
        Contender(TENTH, lambda: groundwork(["extract"], "tenth", records // 10)),
        Contender("groundwork → S3 → landing", lambda: groundwork(["extract", "load"]), slow=True),
        Contender(DLT_S3, dlt, slow=True),
    ]


def landed(file: Path) -> list[int]:
    """Records in landing, and how many different ones."""
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute(
            "select count(*), count(distinct record) from landing.records__records"
            " where _operation <> 'truncate'"
        ).fetchone()
    return [int(n) for n in found or []]
