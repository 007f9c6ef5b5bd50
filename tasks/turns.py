"""Turns that are taken over all machines, which only Prefect can see to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundwork.settings import Settings

BUILDS = "groundwork-dbt"
"""Name of the global concurrency limit; `deployments.apply` makes it."""


@contextmanager
def builders_turn(settings: Settings) -> Iterator[None]:
    """Build alone: two builds at once would merge the same changes into the same tables.

    DuckDB's writers queue for the file as it is. Where there is no such limit in Prefect, nothing waits.
    """
    if settings.warehouse == "duckdb":
        yield
        return
    from prefect.concurrency.sync import concurrency

    with concurrency(BUILDS, occupy=1):
        yield
