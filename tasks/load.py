"""Load batches from the bucket into the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from tasks.retries import RETRIES

if TYPE_CHECKING:
    from groundwork.landing import Loaded


@task(task_run_name="load-{source}", **RETRIES)
def load_source(source: str) -> Loaded:
    """Bring every batch of a source that the ledger does not know into landing."""
    from groundwork.catalog import load_catalog
    from groundwork.idle import load_if_new
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id
    from tasks.warehouse import platform_warehouse

    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)[source], platform_bucket(settings)
    return load_if_new(
        entry, bucket, settings, lambda: platform_warehouse(settings, f"load {source}"), run_id=run_id()
    )
