"""Replay: landing once more, from the bucket alone, and everything that is made of it."""

from __future__ import annotations

import sys

from prefect import flow
from prefect.futures import wait

from tasks.dbt import build
from tasks.digests import keep_digests
from tasks.replay import prepare_sources, replay_source


@flow(name="replay", flow_run_name="replay-{source}")
def replay(
    source: str = "",
    stream: str = "",
    since: str = "",
    until: str = "",
    into: str = "",
    transform: bool = True,
    resume: str = "",
) -> None:
    """Load batches again from the bucket, and build all that follows from scratch; no source is asked.

    The id of the replay is the id of the flow run: a retry of the run continues it. A stream that cannot be
    loaded is left out, and makes the run fail once all others are loaded and built.

    Args:
        source: its name in the catalog; all when empty.
        stream: only this one of the source.
        since: a batch's number, or a time at which batches were stored (2026-01-31T10:00Z).
        until: the same for the end.
        into: another warehouse: snowflake, or the path of a DuckDB file.
        transform: build staging and visualization afterwards, by a full refresh.
        resume: continue the replay of this id, which was cut short, with the parameters it was started with.
    """
    replay_id, sources = prepare_sources(source, stream, since, until, into, resume)
    replays = [replay_source.submit(one, stream, since, until, into, replay_id) for one in sources]
    wait(replays)
    loaded = [done.result() for done in replays]
    if transform:
        # A warehouse that is new has none of the others' tables yet.
        some = f"source:{source}.{stream or '*'}+ source:ledger+" if source and not into else ""
        build(some, full_refresh=True, into=into)
        keep_digests(into, all_of_it=True)
    for replayed in loaded:
        replayed.insist()


if __name__ == "__main__":
    replay(sys.argv[1] if sys.argv[1:] else "")
