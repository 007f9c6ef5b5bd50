"""Two warehouses row for row, and dbt over either, as a person would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from groundwork.digests import LAYERS, VARYING
from groundwork.warehouses import LEDGER, Warehouse

ROOT = Path(__file__).parents[2]


def dbt(environment: Mapping[str, str], target: Path, *words: str, fails: bool = False) -> str:
    """Run dbt in a process of its own; what it printed.

    A process, because dbt's adapters are one per process, and a wall clock, because a client of Snowflake
    repeats for ever what its server cannot answer.
    """
    options = ["--project-dir", "dbt", "--profiles-dir", "dbt", "--target-path", target, "--log-path", target]
    program = Path(sys.executable).with_name("dbt")
    done = subprocess.run(
        [str(program), "--no-use-colors", *words, *map(str, options)],
        cwd=ROOT, env={**os.environ, **environment}, timeout=1200,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert bool(done.returncode) == fails, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def differences(one: Warehouse, other: Warehouse, layers: Iterable[str] = LAYERS) -> list[str]:
    """Tables of a DuckDB file whose rows are others on Snowflake, each with the first columns that differ."""
    told = []
    for schema in layers:
        for table in one.tables(schema):
            if table.startswith("_") and table != LEDGER:
                continue
            columns = [name for name in one.columns(schema, table) if name not in VARYING]
            here, there = _rows(one, schema, table, columns), _rows(other, schema, table, columns)
            if here != there:
                odd = [
                    name
                    for at, name in enumerate(columns)
                    if sorted(row[at] for row in here) != sorted(row[at] for row in there)
                ]
                told.append(
                    f"{schema}.{table}: {len(here)} and {len(there)} rows, {odd or 'combined otherwise'}"
                )
    return told


def _rows(warehouse: Warehouse, schema: str, table: str, columns: Iterable[str]) -> list[tuple[str, ...]]:
    listed = ", ".join(map(warehouse.quoted, columns))
    found = warehouse.query(f"select {listed} from {schema}.{warehouse.quoted(table)}")
    return sorted(tuple(map(_canonical, row)) for row in found)


def _canonical(value: Any) -> str:
    """A value as text, whatever type a driver makes of it; a null is before all texts."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"boolean {value}"
    if isinstance(value, float):
        return f"float {value:.11e}"
    if isinstance(value, (int, Decimal)):
        text = f"{Decimal(value):f}"
        return "number " + (text.rstrip("0").rstrip(".") if "." in text else text)
    if isinstance(value, (datetime, date)):
        return f"instant {value.isoformat()}"
    return f"text {value}"
