"""Idle: extract and load when nothing is new."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.cdc import CONTENDERS, DLT, copied_slot
from benchmarks.check import same
from benchmarks.environments import environment
from benchmarks.ground import PUBLICATION, Ground, other_url
from benchmarks.load import ours
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.workloads import ACCOUNTS, catalog_entry


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Catch up once, then measure runs that find nothing."""
    with (
        ground.changed_database(ACCOUNTS) as database,
        copied_slot(database) as slot,
        ground.prefix() as bucket,
        ground.directory() as directory,
    ):
        for own in (slot, "run_dlt"):
            if own != slot:
                database.sql("select pg_copy_logical_replication_slot(:a, :b, false)", a=slot, b=own)
            database.sql(f"select pg_replication_slot_advance('{own}', pg_current_wal_lsn())")
        asked = {
            "catalog": str(ground.catalog(directory, catalog_entry(ACCOUNTS, slot=slot), ACCOUNTS.name)),
            "source": ACCOUNTS.name,
            "bucket": bucket,
            "duckdb": str(directory / "groundwork.duckdb"),
            "steps": ["extract", "load"],
            "beyond_imports": True,
        }
        environ = ground.environment(database)
        measure(ours(asked), environ)  # copies the table: there is no manifest yet
        measure(ours(asked), environ)  # and what the copy's own message left

        def groundwork() -> Measured:
            measured = measure(ours(asked), environ, database.pid)
            said = measured.said
            same("batches of an idle run", [0, 0], [said["extract_batches"], said["load_batches"]])
            for spent in ("cpu", "wall"):
                said[f"work_{spent}"] = said.pop(f"extract_{spent}") + said.pop(f"load_{spent}")
            return measured

        def dlt() -> Measured:
            words = {
                "url": other_url(database, "postgresql"), "slot": "run_dlt", "publication": PUBLICATION,
                "directory": str(directory / "pipelines"), "destination": "duckdb",
                "duckdb": str(directory / "dlt.duckdb"),
            }  # fmt: skip
            program = [environment("dlt", ground.home), CONTENDERS / "dlt_changes.py", json.dumps(words)]
            measured = measure(program, DLT, database.pid)
            same("rows of an idle run", 0, measured.said["rows"])
            return measured

        chosen = [c for c in (Contender("groundwork", groundwork), Contender("dlt", dlt)) if only in c.name]
        return interleave(ACCOUNTS.name, chosen, rounds, ground.tell)
