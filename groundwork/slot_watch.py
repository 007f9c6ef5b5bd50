"""Look at a source's replication slot from outside, also when nothing reads the source any more.

Past the policy (``slot_lag.drop``) the slot is dropped: through the same claim and the same commit as a run,
so the two never cross.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import PostgresSource
from groundwork.errors import ManifestConflict, SettingMissing, SourceBusy, SourceError
from groundwork.extract import extract
from groundwork.settings import Resolve
from groundwork.sizes import size_text
from groundwork.sources import Checkpoint, Cursors, postgres


class _SlotOnly:
    """The source, of which nothing is read."""

    def __init__(self, source: postgres.PostgresSource) -> None:
        self._source = source

    def claim(self) -> AbstractContextManager[None]:
        return self._source.claim()

    def read(self, cursors: Cursors) -> Iterator[Checkpoint]:
        return self._source.release(cursors)


def look(entry: PostgresSource, bucket: Bucket, resolve: Resolve, *, run_id: str = "") -> str:
    """What a person should know of a source's slot, or nothing.

    Args:
        entry: the catalog's entry.
        bucket: holds the cursors, which name the slot.
        resolve: looks secrets up.
        run_id: the flow run on whose behalf this is.
    """
    state = manifest.latest(bucket, entry.source)
    if state is None:
        return ""
    try:
        source = postgres.PostgresSource(entry, resolve, bucket.url)
        concern, past = source.concern(state.cursors)
        if past:
            report = extract(entry, _SlotOnly(source), bucket, run_id=run_id)
            for event in report.events:
                held, drop = size_text(event["held"]), size_text(event["drop"])
                return (
                    f"{entry.source}: slot '{event['slot']}' held back {held} of log and was dropped "
                    f"(slot_lag.drop {drop}); the next run copies its tables again"
                )
    except (SourceBusy, ManifestConflict):
        return f"{entry.source}: {concern}; a run reads it now, so it was not dropped"
    except (SourceError, SettingMissing) as error:
        return f"{entry.source}: its slot cannot be looked at. {error}"
    return f"{entry.source}: {concern}" if concern else ""
