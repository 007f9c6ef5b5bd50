"""dbt: from landing to what people see, in the writer's turn, with its results kept.

prefect-dbt makes a task run of every node when it finds itself in a run. For our 212 nodes that cost 50
seconds of processor time on top of 14, so it is asked for by name only; else each node becomes a line of
the log and of the table artifact.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

if TYPE_CHECKING:
    from groundwork.settings import Settings

log = logging.getLogger("groundwork.dbt")

# Unit tests prove the models' logic with rows of their own; they belong to CI, not to every run.
BUILD = ["--quiet", "build", "--exclude-resource-type", "unit_test"]


@task(task_run_name="dbt-build")
def build(select: str = "", task_per_node: bool = False) -> list[dict[str, Any]]:
    """Build and test models; the results are kept even when some fail.

    Args:
        select: dbt's selection syntax; everything when empty.
        task_per_node: make a task run of every node.

    Returns:
        One record per node. ValueError, from prefect-dbt, names every node that failed.
    """
    from groundwork import dbt_results
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id
    from tasks.reports import report_dbt

    settings, records = Settings(), []
    bucket, target = platform_bucket(settings), settings.dbt.absolute() / "target"
    (target / "run_results.json").unlink(missing_ok=True)  # those of an earlier run are not ours
    try:
        with _writers_turn(settings):
            arguments = [*BUILD, *(["--select", *select.split()] if select else [])]
            (copy_context() if task_per_node else Context()).run(_invoke, arguments, settings)
    finally:
        if (target / "run_results.json").exists():
            records = dbt_results.store(bucket, target, run_id=run_id())
            _tell(records)
            report_dbt(records)
    return records


def _invoke(arguments: list[str], settings: Settings) -> None:
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

    place, home = settings.dbt.absolute(), Path.cwd()
    found = PrefectDbtSettings(project_dir=place, profiles_dir=place)
    try:
        PrefectDbtRunner(settings=found, raise_on_failure=True).invoke(arguments)
    finally:
        os.chdir(home)  # dbt moves into its project
        _let_go()


def _tell(records: list[dict[str, Any]]) -> None:
    """One line per model, and per test that is not content."""
    from groundwork.dbt_results import FAILED

    levels = {**dict.fromkeys(FAILED, logging.ERROR), "warn": logging.WARNING, "skipped": logging.WARNING}
    for record in records:
        if record["resource_type"] == "model" or record["status"] in levels:
            log.log(
                levels.get(record["status"], logging.INFO),
                "built node=%s status=%s seconds=%.1f",
                record["name"], record["status"], record["execution_time"] or 0,
            )  # fmt: skip


@contextmanager
def _writers_turn(settings: Settings) -> Iterator[None]:
    """Tell dbt where the warehouse is, with landing tables to read; hold DuckDB's single place."""
    from groundwork.catalog import load_catalog
    from groundwork.load import prepare
    from groundwork.warehouses import open_warehouse
    from groundwork.warehouses.writer import writer_lock

    os.environ["GROUNDWORK_WAREHOUSE"] = settings.warehouse
    with open_warehouse(settings, who="transform") as warehouse:
        prepare(load_catalog(settings.catalog).values(), warehouse)
    if settings.warehouse != "duckdb":
        yield
        return
    os.environ["GROUNDWORK_DUCKDB_PATH"] = str(settings.duckdb_file)
    with writer_lock(settings.duckdb_file, "transform"):
        yield


def _let_go() -> None:
    """Close what dbt keeps open until the process ends, so that others can have the warehouse."""
    from dbt.adapters import factory

    forget: Callable[[], None] = factory.reset_adapters
    forget()
    if os.environ["GROUNDWORK_WAREHOUSE"] == "duckdb":
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        manager: Any = DuckDBConnectionManager
        if manager._ENV is not None:
            manager._ENV.close()
        manager.close_all_connections()
