"""Put the copy for readers in place."""

from __future__ import annotations

from prefect import task


@task(task_run_name="publish")
def publish_copy() -> None:
    """Copy the visualization layer to where GROUNDWORK_READERS_COPY says; nothing when it says nothing."""
    from groundwork.serving.publishing import publish
    from groundwork.settings import Settings

    settings = Settings()
    if settings.readers_copy and settings.warehouse == "duckdb":
        publish(settings, settings.readers_copy)
