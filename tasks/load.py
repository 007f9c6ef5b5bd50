"""Load batches from the bucket into the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from tasks.retries import RETRIES

if TYPE_CHECKING:
    from groundwork.load import Loaded


@task(task_run_name="load-{source}", **RETRIES)
def load_source(source: str) -> Loaded:
    """Bring every batch of a source that the ledger does not know into landing."""
    from groundwork.catalog import load_catalog
    from groundwork.load import load
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse
    from tasks.lookup import platform_bucket, run_id

    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)[source], platform_bucket(settings)
    with open_warehouse(settings, who=f"load {source}") as warehouse:
        return load(entry, bucket, warehouse, run_id=run_id())


@task(task_run_name="replay-{source}", **RETRIES)
def replay_source(source: str) -> Loaded:
    """Empty a source's landing tables and load every batch again from the bucket."""
    from groundwork.catalog import load_catalog
    from groundwork.replay import replay
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse
    from tasks.lookup import platform_bucket, run_id

    settings = Settings()
    entry, bucket = load_catalog(settings.catalog)[source], platform_bucket(settings)
    with open_warehouse(settings, who=f"replay {source}") as warehouse:
        return replay(entry, bucket, warehouse, run_id=run_id())
