"""Keep the bucket in good order: few objects, and none that nobody lists."""

from __future__ import annotations

import logging

from prefect import task

log = logging.getLogger("groundwork.upkeep")


@task(task_run_name="compact-{source}")
def compact_source(source: str) -> None:
    """Merge the small objects of a source's settled batches."""
    from groundwork.errors import RewriteUnderWay
    from groundwork.keep.compaction import compact
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id

    try:
        done = compact(platform_bucket(Settings()), source, run_id=run_id())
    except RewriteUnderWay as error:  # an erasure; the sources after this one need not wait for it
        log.warning("left alone source=%s why=%s", source, error)
        return
    log.info("compacted source=%s objects_before=%d objects_after=%d", source, done.before, done.after)


@task(task_run_name="sweep-{source}")
def sweep_source(source: str, remove: bool) -> None:
    """Remove objects that no manifest lists, or only count them."""
    from groundwork.keep.sweeping import sweep
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    found = sweep(platform_bucket(Settings()), source, remove=remove)
    log.info(
        "swept source=%s removed=%s objects=%d bytes=%d young=%d pending=%d",
        source, remove, len(found.removed), found.bytes, found.young, found.pending,
    )  # fmt: skip
