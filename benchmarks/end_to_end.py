"""End to end: a million changes from a slot to a visualization."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import cdc
from benchmarks.check import same
from benchmarks.ground import Database, Ground
from benchmarks.load import ours
from benchmarks.measure import ROOT, Contender, Measured, Rounds, interleave, measure
from benchmarks.workloads import WORKLOADS, Workload, catalog_entry


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Measure both workloads, each from the state after its first snapshot."""
    runs = []
    for workload in WORKLOADS.values():
        with ground.changed_database(workload) as database, ground.directory() as directory:
            project = dbt_project(ground, workload, directory)
            before = loaded_before(ground, database, project, directory)
            chosen = [c for c in contenders(ground, database, project, before) if only in c.name]
            runs += interleave(workload.name, chosen, rounds, ground.tell)
    return runs


def contenders(ground: Ground, database: Database, project: Path, before: Path) -> list[Contender]:
    """Ours with and without dbt, and dlt, which has no such step."""
    short = ["extract", "load"]
    return [
        Contender("groundwork", lambda: groundwork(ground, database, project, before, [*short, "dbt"])),
        Contender(
            "groundwork (extract and load only)",
            lambda: groundwork(ground, database, project, before, short),
        ),
        Contender(
            "dlt (extract and load only)",
            lambda: cdc.dlt(ground, database, destination="duckdb"),
            slow=True,
        ),
    ]


def groundwork(ground: Ground, database: Database, project: Path, before: Path, steps: list[str]) -> Measured:
    """The steps in one process, and whether the visualization then tells what the table holds."""
    workload = database.workload
    with cdc.copied_slot(database) as slot, ground.prefix() as bucket, ground.directory() as directory:
        ground.begin_after_snapshot(database, bucket, slot)
        file = Path(shutil.copy(before, directory / "warehouse.duckdb"))
        asked = {
            "catalog": str(ground.catalog(directory, catalog_entry(workload, slot=slot), workload.name)),
            "source": workload.name,
            "bucket": bucket,
            "duckdb": str(file),
            "dbt": str(project),
            "steps": steps,
        }
        measured = measure(ours(asked), ground.environment(database), database.pid)
        same("changes extracted", ground.facts(database)["changes"], measured.said["extract_rows"])
        if "dbt" in steps:
            answers_are_right(database, file)
    return measured


def loaded_before(ground: Ground, database: Database, project: Path, directory: Path) -> Path:
    """The warehouse with the first snapshot loaded and built; made once."""
    workload = database.workload
    file = directory / "before.duckdb"
    asked = {
        "catalog": str(ground.catalog(directory, catalog_entry(workload), workload.name)),
        "source": workload.name,
        "bucket": ground.initial_bucket(database).as_uri(),
        "duckdb": str(file),
        "dbt": str(project),
        "steps": ["load", "dbt"],
    }
    measure(ours(asked), ground.environment(database))
    return file


def dbt_project(ground: Ground, workload: Workload, directory: Path) -> Path:
    """A dbt project of our macros, the base model rendered for the workload, and a small visualization."""
    from groundwork.catalog import load_catalog
    from groundwork.render import render

    place = directory / "dbt"
    for name in ("dbt_project.yml", "profiles.yml", "macros", "models/staging"):
        source = ROOT / "dbt" / name
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy(source, target)
        elif name == "macros":
            shutil.copytree(source, target)
    staging = place / "models" / "staging"
    shutil.copytree(ROOT / "dbt/models/staging/ledger", staging / "ledger")
    for shared in (ROOT / "dbt/models/staging").glob("_*"):
        shutil.copy(shared, staging / shared.name)
    catalog = ground.catalog(directory, catalog_entry(workload), workload.name)
    render(load_catalog(catalog), directory)
    shown = place / "models" / "visualization"
    shown.mkdir(parents=True)
    model = f"{workload.name}_shown"
    # no contract: the model is the benchmark's, its columns are not served to anybody
    config = "{{ config(contract={'enforced': false}, group='staging') }}\n"
    (shown / f"{model}.sql").write_text(config + workload.visualization.lstrip(), encoding="utf-8")
    return place


def answers_are_right(database: Database, file: Path) -> None:
    """Hold the visualization's totals against the table's."""
    total, sum_column = {
        "accounts": ("accounts", "balance"),
        "orders": ("orders", "amount"),
    }[database.workload.name]
    source_column = {"accounts": "abalance", "orders": "amount"}[database.workload.name]
    expected = database.sql(f"select count(*), sum({source_column}) from {database.workload.table}")[0]
    with duckdb.connect(str(file), read_only=True) as connection:
        name = f"{database.workload.name}_shown"
        schema = connection.execute(
            "select schema_name from duckdb_tables() where table_name = ?", [name]
        ).fetchone()
        assert schema
        found = connection.execute(
            f"select sum({total}), sum({sum_column}) from {schema[0]}.{name}"
        ).fetchone()
    assert found
    same("rows and total shown", [int(expected[0]), str(expected[1])], [int(found[0]), str(found[1])])
