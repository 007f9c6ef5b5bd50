"""Change data capture: a million changes from a slot to Parquet in S3, and the manifest that commits them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import notes
from benchmarks.check import changes_are_right, parquet_rows, same
from benchmarks.environments import environment
from benchmarks.ground import PUBLICATION, Database, Ground, address_parts, other_url
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.workloads import WORKLOADS, catalog_entry, operations
from demo.postgres import binaries

CONTENDERS = Path(__file__).with_name("contenders")


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Measure both workloads."""
    runs = []
    for workload in WORKLOADS.values():
        with ground.changed_database(workload) as database:
            chosen = [c for c in contenders(ground, database) if only in c.name]
            runs += interleave(workload.name, chosen, rounds, ground.tell)
    return runs


def contenders(ground: Ground, database: Database) -> list[Contender]:
    """Everybody who reads the changes."""
    return [
        Contender(notes.LIMIT, lambda: recvlogical(database)),
        Contender(notes.OURS, lambda: groundwork(ground, database)),
        Contender("psycopg2 + plain Python", lambda: psycopg2(ground, database)),
        Contender(notes.DLT, lambda: dlt(ground, database), slow=True),
        Contender(notes.DEBEZIUM, lambda: debezium(ground, database), slow=True),
        Contender(
            "pg_recvlogical, streaming of open transactions",
            lambda: recvlogical(database, "proto_version=2", "streaming=on"),
            slow=True,
        ),
        Contender(
            "pg_recvlogical, binary",
            lambda: recvlogical(database, "proto_version=1", "binary=true"),
            slow=True,
        ),
    ]


@contextmanager
def copied_slot(database: Database) -> Iterator[str]:
    """A slot for one run."""
    try:
        yield database.copy_of_slot()
    finally:
        database.drop_slots()


def recvlogical(database: Database, *protocol: str) -> Measured:
    """What the server can send and a C program can throw away."""
    with copied_slot(database) as slot:
        end = database.sql("select cast(pg_current_wal_insert_lsn() as text)")[0][0]
        options = [*(protocol or ["proto_version=1"]), "messages=true", f"publication_names={PUBLICATION}"]
        return measure(
            [
                *(binaries() / "pg_recvlogical", f"--dbname={database.url}", f"--slot={slot}"),
                *("--start", "--no-loop", "--file=/dev/null", "--fsync-interval=0", f"--endpos={end}"),
                *(f"--option={option}" for option in options),
            ],
            server_pid=database.pid,
        )


def groundwork(ground: Ground, database: Database) -> Measured:
    """Ours, and whether snapshot and changes together are the table."""
    workload = database.workload
    with copied_slot(database) as slot, ground.prefix() as bucket, ground.directory() as directory:
        ground.begin_after_snapshot(database, bucket, slot)
        entry = catalog_entry(workload, slot=slot)
        asked = {
            "catalog": str(ground.catalog(directory, entry, workload.name)),
            "source": workload.name,
            "bucket": bucket,
            "steps": ["extract"],
        }
        measured = measure(
            [sys.executable, "-m", "benchmarks.contenders.groundwork_run", json.dumps(asked)],
            ground.environment(database),
            database.pid,
        )
        same("changes extracted", ground.facts(database)["changes"], measured.said["extract_rows"])
        changes_are_right(ground, database, bucket)
    return measured


def psycopg2(ground: Ground, database: Database) -> Measured:
    """What one writes by hand."""
    with copied_slot(database) as slot, ground.prefix() as bucket:
        name, _, prefix = bucket.removeprefix("s3://").partition("/")
        asked = {
            "dsn": database.url,
            "slot": slot,
            "publication": PUBLICATION,
            "end": last_commit(database),
            "s3": ground.s3_options(),
            "bucket": name,
            "prefix": prefix,
        }
        program = CONTENDERS / "psycopg2_changes.py"
        measured = measure([environment("bare", ground.home), program, json.dumps(asked)], None, database.pid)
        same("changes in Parquet", ground.facts(database)["changes"], parquet_rows(ground, bucket))
    return measured


def dlt(ground: Ground, database: Database, *, destination: str = "filesystem") -> Measured:
    """A resource for dlt like its verified source's, to Parquet in S3 or into DuckDB."""
    with copied_slot(database) as slot, ground.prefix() as bucket, ground.directory() as directory:
        name, _, prefix = bucket.removeprefix("s3://").partition("/")
        asked = {
            "url": other_url(database, "postgresql"),
            "slot": slot,
            "publication": PUBLICATION,
            "directory": str(directory / "pipelines"),
            "destination": destination,
            "s3": ground.s3_options(),
            "bucket": name,
            "prefix": prefix,
            "duckdb": str(directory / "dlt.duckdb"),
        }
        program = CONTENDERS / "dlt_changes.py"
        measured = measure([environment("dlt", ground.home), program, json.dumps(asked)], DLT, database.pid)
        same("changes that dlt counts", ground.facts(database)["changes"], measured.said["rows"])
    return measured


def debezium(ground: Ground, database: Database) -> Measured:
    """Debezium's engine within Python, its events to Parquet in S3."""
    changes = ground.facts(database)["changes"]
    with copied_slot(database) as slot, ground.prefix() as bucket, ground.directory() as directory:
        name, _, prefix = bucket.removeprefix("s3://").partition("/")
        asked = {
            "database": address_parts(database),
            "slot": slot,
            "publication": PUBLICATION,
            "changes": changes,
            "directory": str(directory),
            "s3": ground.s3_options(),
            "bucket": name,
            "prefix": prefix,
        }
        program = [environment("debezium", ground.home), CONTENDERS / "debezium_changes.py"]
        measured = measure([*program, json.dumps(asked)], None, database.pid)
        same("changes in Parquet", changes, parquet_rows(ground, bucket))
        same("changes of each kind", operations(changes), measured.said.pop("operations"))
    return measured


DLT = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
"""dlt's own settings: nothing is sent anywhere."""


def last_commit(database: Database) -> int:
    """Position of the workload's last commit (the next transaction of the log is ours or none)."""
    slot = database.copy_of_slot()
    found = database.sql(
        "select max(lsn) - '0/0' from pg_logical_slot_peek_binary_changes("
        f"'{slot}', null, null, 'proto_version', '1', 'publication_names', '{PUBLICATION}')"
    )
    database.sql(f"select pg_drop_replication_slot('{slot}')")
    return int(found[0][0])
