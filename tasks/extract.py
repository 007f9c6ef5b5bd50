"""Extract one source into the bucket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prefect import task

from tasks.retries import RETRIES

if TYPE_CHECKING:
    from groundwork.extract import Extracted


@task(task_run_name="extract-{source}", **RETRIES)
def extract_source(source: str, refresh: list[str] | None = None, full_refresh: bool = False) -> Extracted:
    """Read a source from its newest manifest on, until it is caught up; some or all streams anew."""
    from groundwork.catalog import load_catalog
    from groundwork.extract import extract, open_source
    from groundwork.identity import compare_before_reading
    from groundwork.settings import Settings
    from tasks.keeping import KeepInPrefect
    from tasks.lookup import platform_bucket, resolve, run_id
    from tasks.warehouse import platform_warehouse

    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)[source], platform_bucket(settings)
    opened = partial(platform_warehouse, settings, f"extract {source}", read_only=True)
    compare_before_reading(source, bucket, settings, opened, again=bool(refresh) or full_refresh)
    return extract(
        entry, open_source(entry, resolve, bucket, KeepInPrefect()), bucket,
        run_id=run_id(), full_refresh=full_refresh, refresh=refresh or [],
    )  # fmt: skip


@task(task_run_name="extract-ops", **RETRIES)
def extract_history(settle_seconds: float) -> Extracted:
    """Read the platform's own life: Prefect's runs and log lines, dbt's results."""
    from datetime import timedelta

    from groundwork.catalog import load_catalog
    from groundwork.dbt_results import DbtResults
    from groundwork.extract import extract
    from groundwork.identity import compare_before_reading
    from groundwork.settings import Settings
    from groundwork.sources.pushed import PushedSource
    from tasks.lookup import platform_bucket, run_id
    from tasks.prefect_api import asking, send_log_lines
    from tasks.run_history import RunHistory
    from tasks.warehouse import platform_warehouse

    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)["ops"], platform_bucket(settings)
    opened = partial(platform_warehouse, settings, "extract ops", read_only=True)
    compare_before_reading("ops", bucket, settings, opened, again=False)
    send_log_lines()
    with asking() as ask:
        history = RunHistory(ask, settle=timedelta(seconds=settle_seconds))
        return extract(entry, PushedSource(history, DbtResults(bucket)), bucket, run_id=run_id())
