"""Replay batches from the bucket, with their progress told in Prefect's UI."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.retries import RETRIES

if TYPE_CHECKING:
    from groundwork.landing import Loaded
    from groundwork.replay_scope import Wanted

_EVERY = 2.0
"""Seconds between two updates of the progress artifact."""


@task(task_run_name="replay-{source}", **RETRIES)
def replay_source(
    source: str, stream: str = "", since: str = "", until: str = "", into: str = "", replay_id: str = ""
) -> Loaded:
    """Load batches of a source again from the bucket; a retry continues where it was cut short.

    Args:
        source: its name in the catalog.
        stream: this one only.
        since: the first batch, or the time from which batches were stored.
        until: the last batch, or the time until which they were.
        into: another warehouse than the settings say, see `groundwork.settings.Settings.into`.
        replay_id: what `prepare_sources` returned.
    """
    from groundwork.catalog import load_catalog
    from groundwork.replay import replay
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id
    from tasks.warehouse import platform_warehouse

    settings = Settings().into(into)
    return replay(
        load_catalog(settings.catalog)[source],
        platform_bucket(settings),
        lambda: platform_warehouse(settings, f"replay {source}"),
        _wanted(stream, since, until),
        replay_id=replay_id,
        run_id=run_id(),
        progress=ProgressArtifact(source),
    )


@task(task_run_name="prepare", **RETRIES)
def prepare_sources(
    source: str, stream: str = "", since: str = "", until: str = "", into: str = "", resume: str = ""
) -> tuple[str, list[str]]:
    """The replay's id (its flow run's, so a retry continues it) and its sources, whose tables are made.

    Args:
        source: its name; empty for all.
        stream: this one only; refused when it is none of the source's.
        since: see `replay_source`.
        until: see `replay_source`.
        into: another warehouse than the settings say.
        resume: the id of a replay that was cut short; its own sources are taken then.
    """
    from groundwork.catalog import load_catalog
    from groundwork.replay import make_ready
    from groundwork.replay_records import Records
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id
    from tasks.warehouse import platform_warehouse

    settings = Settings().into(into)
    catalog, opened = load_catalog(settings.catalog), partial(platform_warehouse, settings, "replay")
    sources = [source] if source else list(catalog)
    if resume:
        with opened() as warehouse:
            begun = Records(warehouse).unfinished(resume)
        sources = [record.source for record in begun if source in ("", record.source)]
    entries, wanted = [catalog[one] for one in sources], _wanted(stream, since, until)
    replay_id = make_ready(entries, platform_bucket(settings), opened, wanted, replay_id=resume or run_id())
    return replay_id, [entry.source for entry in entries]


def _wanted(stream: str, since: str, until: str) -> Wanted:
    from groundwork.replay_scope import Wanted, bound

    return Wanted((stream,) if stream else (), bound(since), bound(until))


class ProgressArtifact:
    """A progress bar on the run's page, made when there is something to tell."""

    def __init__(self, source: str) -> None:
        """Make nothing yet."""
        self._source, self._told = source, 0.0
        self._artifact: Any = None

    def __call__(self, done: int, total: int, rows: int) -> None:
        """Tell batches done, batches in all, rows so far; not more often than is seen."""
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share = 100.0 * done / total
        if self._artifact is None:
            key, text = (
                f"replay-{self._source.replace('_', '-')}",
                f"Replay of {self._source}: {total} batches",
            )
            self._artifact = create_progress_artifact(share, key=key, description=text)
        elif time.monotonic() - self._told > _EVERY or done == total:
            text = f"Replay of {self._source}: {done:,} of {total:,} batches, {rows:,} rows"
            update_progress_artifact(self._artifact, share, description=text)
        else:
            return
        self._told = time.monotonic()
