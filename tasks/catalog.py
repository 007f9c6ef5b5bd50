"""What the catalog says, for flows."""

from __future__ import annotations

from prefect import task


@task(task_run_name="read-catalog")
def read_sources(pushed: bool = False) -> list[str]:
    """Names of the sources that are read, and of those that are pushed if asked for; most wanted first."""
    from groundwork.catalog import load_catalog
    from groundwork.settings import Settings

    catalog = load_catalog(Settings().catalog)
    return [source for source, entry in catalog.items() if pushed or entry.kind != "pushed"]
