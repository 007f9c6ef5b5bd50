"""Records that are handed over instead of fetched: the platform's own logs, runs and results.

Whoever hands them over knows where they come from (Prefect's API, the bucket) and this source does not:
it turns records into rows and what was reached into checkpoints. So the platform's own life goes through
the same pipe as all else, and nothing here knows Prefect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from groundwork.sources import Checkpoint, Cursors, Rows

BATCH_ROWS = 20_000
"""Rows after which a checkpoint is offered, so that a long catch-up commits many batches."""


@dataclass(frozen=True)
class Records:
    """Some records of one stream, in the order they are to be kept.

    ``records`` are JSON texts, letter for letter as they were sent; ``committed_at`` says for each when
    it was true at its source, or is empty when nobody knows.
    """

    stream: str
    records: Sequence[str]
    request: str = ""
    """What was asked to get them, e.g. ``POST /logs/filter``."""
    committed_at: Sequence[datetime | None] = field(default=())


@dataclass(frozen=True)
class Reached:
    """Every record of a stream up to ``cursor`` (JSON-able) has been handed over."""

    stream: str
    cursor: Any


Reader = Callable[[Cursors], Iterable[Records | Reached]]
"""Hands over what is new since the cursors; ends each stream with a `Reached`."""


class PushedSource:
    """A source made of readers that hand records over."""

    def __init__(self, *readers: Reader, batch_rows: int = BATCH_ROWS) -> None:
        """Name the readers; they are called in this order, one after the other.

        Args:
            readers: each hands over its own streams.
            batch_rows: rows after which a checkpoint is offered.
        """
        self._readers, self._batch_rows = readers, batch_rows

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
        """Yield rows with the columns ``record`` and ``_request``, and checkpoints between them."""
        reached, open_rows = dict(cursors), 0
        for reader in self._readers:
            for item in reader(cursors):
                if isinstance(item, Reached):
                    reached[item.stream] = item.cursor
                    if open_rows >= self._batch_rows:
                        yield Checkpoint(dict(reached))
                        open_rows = 0
                elif item.records:
                    yield Rows(item.stream, _frame(item))
                    open_rows += len(item.records)
        yield Checkpoint(dict(reached))


def _frame(item: Records) -> pl.DataFrame:
    instants = [_naive(at) for at in item.committed_at] or [None] * len(item.records)
    return pl.DataFrame(
        {
            "record": pl.Series(item.records, dtype=pl.String),
            "_request": pl.Series([item.request] * len(item.records), dtype=pl.String),
            "_committed_at": pl.Series(instants, dtype=pl.Datetime("us")),
        }
    )


def _naive(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC).replace(tzinfo=None) if at else None
