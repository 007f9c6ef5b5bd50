"""Keep the bucket in good order: few objects, and none that nobody lists."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from prefect import task

if TYPE_CHECKING:
    from groundwork.bucket import Bucket

log = logging.getLogger("groundwork.upkeep")


@task(task_run_name="compact-{source}")
def compact_source(source: str) -> None:
    """Merge the small objects of a source's settled batches."""
    from groundwork.errors import RewriteUnderWay
    from groundwork.keep.compaction import compact
    from tasks.lookup import run_id

    try:
        done = compact(_own_bucket(source), source, run_id=run_id())
    except RewriteUnderWay as error:  # an erasure; the sources after this one need not wait for it
        log.warning("left alone source=%s why=%s", source, error)
        return
    log.info("compacted source=%s objects_before=%d objects_after=%d", source, done.before, done.after)


@task(task_run_name="sweep-{source}")
def sweep_source(source: str, remove: bool) -> None:
    """Remove objects that no manifest lists, or only count them."""
    from groundwork.keep.sweeping import sweep

    found = sweep(_own_bucket(source), source, remove=remove)
    log.info(
        "swept source=%s removed=%s objects=%d bytes=%d young=%d pending=%d",
        source, remove, len(found.removed), found.bytes, found.young, found.pending,
    )  # fmt: skip


def _own_bucket(source: str) -> Bucket:
    """The bucket, once it is known to be the one that the warehouse was loaded from."""
    from groundwork.identity import compare_places
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket
    from tasks.warehouse import platform_warehouse

    settings = Settings()
    bucket = platform_bucket(settings)
    opened = partial(platform_warehouse, settings, f"keep {source}", read_only=True)
    compare_places(bucket, settings, [source], opened)
    return bucket
