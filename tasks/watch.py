"""Silence is a failure too: which sources were not looked at for too long, and what they pile up for us."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prefect import task

if TYPE_CHECKING:
    from groundwork.catalog import AnySource


@task(task_run_name="look-for-silence")
def find_silence() -> list[str]:
    """Hold the ledger's newest look at each source against how often it is wanted."""
    from groundwork.catalog import load_catalog
    from groundwork.manifest import now
    from groundwork.settings import Settings
    from groundwork.warehouses import LANDING, LEDGER, open_warehouse

    settings, looks = Settings(), []
    with open_warehouse(settings, who="watch") as warehouse:
        if warehouse.columns(LANDING, LEDGER):
            looks = warehouse.query(f"select source, max(stored_at) from {LANDING}.{LEDGER} group by 1")
    newest, at = dict(looks), now().replace(tzinfo=None)
    entries = load_catalog(settings.catalog).values()
    found = [silence(entry, newest.get(entry.source), at) for entry in entries]
    return [told for told in found if told]


@task(task_run_name="look-at-slots")
def look_at_slots() -> list[str]:
    """How much log each PostgreSQL holds back for us; a slot that is past its policy is dropped."""
    from groundwork.catalog import PostgresSource, load_catalog
    from groundwork.settings import Settings
    from groundwork.slot_watch import look
    from tasks.lookup import platform_bucket, resolve, run_id

    settings = Settings()
    bucket, entries = platform_bucket(settings), load_catalog(settings.catalog).values()
    read = [entry for entry in entries if isinstance(entry, PostgresSource)]
    found = [look(entry, bucket, resolve, run_id=run_id()) for entry in read]
    return [told for told in found if told]


def insist(findings: list[str]) -> None:
    """Fail if there is anything to tell.

    Raises:
        GroundworkError: with all of it.
    """
    from groundwork.errors import GroundworkError

    if findings:
        raise GroundworkError(
            "sources",
            "; ".join(findings),
            fix="look at the newest runs of their deployments, and whether schedules and worker run",
        )


def silence(entry: AnySource, newest: datetime | None, at: datetime) -> str:
    """What is wrong with a source's newest look (UTC without zone), or nothing.

    A look may be late by half its interval, and always by ten minutes: a run takes its time, and it
    may wait for the warehouse.
    """
    wanted = entry.update_every
    patience = wanted + max(wanted / 2, timedelta(minutes=10))
    if newest is not None and at - newest <= patience:
        return ""
    looked = f"{_rough(at - newest)} ago" if newest else "never"
    return f"{entry.source} was last looked at {looked}, wanted every {_rough(wanted)}"


def _rough(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 2880 else f"{minutes / 1440:.0f} days"
