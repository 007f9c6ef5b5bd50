"""Incremental models: what a run costs when a thousand keys changed, by the size of the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.base_models import CHANGED, compiled, land, make_project
from benchmarks.cdc import CONTENDERS
from benchmarks.check import same
from benchmarks.ground import Ground
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.notes import AGAIN, OURS
from groundwork.catalog import load_catalog
from groundwork.load import prepare
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import open_duckdb
from tests.landing import Dbt

RECORDS = (100_000, 1_000_000, 10_000_000)


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Build a table of each size once, and then run the statements of one more run again and again."""
    runs = []
    for records in (int(size * ground.scale) for size in RECORDS):
        with ground.directory() as directory, built(directory, records) as file:
            chosen = [c for c in contenders(directory, file, records) if only in c.name]
            runs += interleave(f"{records:,} records", chosen, rounds, ground.tell)
    return runs


@contextmanager
def built(directory: Path, records: int) -> Iterator[Path]:
    """A warehouse with a base model of so many records, a thousand changed ones in landing, and its SQL."""
    from groundwork.dbt_turn import let_go

    make_project(directory)
    file = directory / "warehouse.duckdb"
    dbt = Dbt(file, directory / "target", directory / "dbt")
    with open_duckdb(file, who="bench") as warehouse:
        prepare(load_catalog(directory / "catalog").values(), warehouse)
        land(warehouse.connection, 1, f"select range from range({records})")
    dbt("run", "--quiet")
    let_go(Settings())
    with open_duckdb(file, who="bench") as warehouse:
        land(warehouse.connection, 2, f"select (range * 7919) % {records} from range({CHANGED})")
    (directory / "incremental.sql").write_text(compiled(dbt), encoding="utf-8")
    dbt("compile", "--quiet", "--full-refresh")
    whole = directory / "target/compiled/groundwork/models/staging/bench/base/base_bench__rows.sql"
    (directory / "whole.sql").write_bytes(whole.read_bytes())
    let_go(Settings())
    yield file


def contenders(directory: Path, file: Path, records: int) -> list[Contender]:
    """One more run, and a full refresh."""

    def statements(sql: str, rows: int) -> Measured:
        words = {"duckdb": str(file), "sql": str(directory / sql), "whole": sql == "whole.sql"}
        measured = measure([sys.executable, CONTENDERS / "increment.py", json.dumps(words)])
        same("rows that were built", rows, measured.said["rows"])
        return measured

    return [
        Contender(OURS, lambda: statements("incremental.sql", CHANGED)),
        Contender(AGAIN, lambda: statements("whole.sql", records), slow=True),
    ]
