"""dbt: from landing to what people see, in the writer's turn, with its results kept.

prefect-dbt makes a task run of every node when it finds itself in a run. For our 212 nodes that cost 50
seconds of processor time on top of 14, so it is asked for by name only; else each node becomes a line of
the log and of the table artifact.
"""

from __future__ import annotations

import logging
import os
from contextvars import Context, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from groundwork.errors import ParameterRefused

if TYPE_CHECKING:
    from groundwork.bucket import Bucket
    from groundwork.serving import served
    from groundwork.settings import Settings

log = logging.getLogger("groundwork.dbt")

# Unit tests prove the models' logic with rows of their own; they belong to CI, not to every run.
BUILD = ["--quiet", "build", "--exclude-resource-type", "unit_test"]


@task(task_run_name="dbt-build")
def build(
    select: str = "", task_per_node: bool = False, full_refresh: bool = False, into: str = ""
) -> list[dict[str, Any]]:
    """Build and test models, unless nothing is new; the results are kept even when some fail.

    Args:
        select: dbt's selection syntax; everything when empty.
        task_per_node: make a task run of every node.
        full_refresh: build incremental models from all of landing, new or not.
        into: another warehouse than the settings say, see `Settings.into`.

    Returns:
        One record per node, none when nothing was new. ValueError, from prefect-dbt, names every node that
        failed; ParameterRefused when a word of the selection is an option of dbt's.
    """
    from groundwork import idle
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    selection = _selection(select)
    settings = Settings().into(into)
    if not full_refresh and idle.nothing_new(
        platform_bucket(settings), settings, *built_what(settings, select)
    ):
        log.info("nothing new to build select=%s", select or "everything")
        return []
    arguments = [*BUILD, *selection]
    arguments += ["--full-refresh"] if full_refresh else []
    return _build(settings, select, arguments, copy_context() if task_per_node else Context())


def _selection(select: str) -> list[str]:
    # A person who may start runs chooses models. Options could name another target, profile or project.
    words = select.split()
    options = [word for word in words if word.startswith("-")]
    if options:
        raise ParameterRefused(
            "transform, parameter select",
            f"{options[0]!r} is an option of dbt, not a selection",
            fix="name models only, such as 'stg_shop__orders+' or 'source:ops+'",
        )
    return ["--select", *words] if words else []


def _build(settings: Settings, select: str, arguments: list[str], context: Context) -> list[dict[str, Any]]:
    from groundwork import dbt_results, idle
    from groundwork.dbt_turn import writers_turn
    from groundwork.serving import served
    from groundwork.warehouses.writer import writer_lock
    from tasks.lookup import platform_bucket, run_id
    from tasks.reports import report_dbt
    from tasks.turns import builders_turn
    from tasks.warehouse import snowflake_login

    records: list[dict[str, Any]] = []
    bucket, target = platform_bucket(settings), settings.dbt_target
    about, built = built_what(settings, select)
    # On this machine dbt's own files are one build's at a time, on all machines its tables are.
    with builders_turn(settings), writer_lock(target / "groundwork", "transform"):
        (target / "run_results.json").unlink(missing_ok=True)  # those of an earlier run are not ours
        try:
            login = snowflake_login(settings)
            with writers_turn(settings, login=login, run_id=run_id()) as batches:
                would = _promised(settings, bucket)
                context.run(_invoke, arguments, settings)
            idle.note(bucket, settings, about, batches, built)
        finally:
            if (target / "run_results.json").exists():
                records = dbt_results.store(bucket, target, run_id=run_id())
                _tell(records)
                report_dbt(records)
    served.keep(bucket, would, dbt_results.built_relations(records))
    return records


def _promised(settings: Settings, bucket: Bucket) -> served.Served:
    """What the project would serve; refused when it would break what people read."""
    from groundwork.dbt_turn import parsed
    from groundwork.manifest import now
    from groundwork.serving import compatibility, served

    would = served.by_contracts(parsed(settings, settings.dbt_target))
    compatibility.insist(served.last(bucket), would, now().date())
    return would


def built_what(settings: Settings, select: str) -> tuple[str, str]:
    """Under which name a build leaves its note, and what it was a build of."""
    from groundwork.dbt_turn import fingerprint
    from groundwork.idle import BUILDS

    name = "".join(letter if letter.isalnum() else "-" for letter in select)
    return f"{BUILDS}{name or 'everything'}", f"{fingerprint(settings.dbt)} {select}"


def _invoke(arguments: list[str], settings: Settings) -> None:
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

    from groundwork.dbt_turn import let_go

    place, home = settings.dbt.absolute(), Path.cwd()
    found = PrefectDbtSettings(project_dir=place, profiles_dir=place)
    try:
        PrefectDbtRunner(settings=found, raise_on_failure=True).invoke(arguments)
    finally:
        os.chdir(home)  # dbt moves into its project
        let_go(settings)


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
