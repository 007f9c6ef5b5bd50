"""From pages to a frame: buffers are handed on, no record is touched one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from groundwork.sources.rest.records import CutPage, FieldReader


class OpenFrame:
    """Pages gathered until they are worth a frame."""

    def __init__(self, operation: str | None = None, deleted: FieldReader | None = None) -> None:
        """Start empty.

        Args:
            operation: what happened to each row, if not an insert.
            deleted: reads what only deleted records have.
        """
        self._operation, self._deleted = operation, deleted
        self.clear()

    def clear(self) -> None:
        """Forget all pages."""
        self._records: list[pa.Array] = []
        self._requests: list[str] = []
        self._committed_at: list[str | None] = []
        self._gone: list[bool] = []
        self.rows = 0
        self.bytes = 0

    def add(self, page: CutPage, request: str, places: list[int] | None, times: Sequence[str | None]) -> None:
        """Add a page.

        Args:
            page: its records.
            request: where it came from, as JSON.
            places: which of its records to take; None for all.
            times: when each record was committed, ``YYYY-MM-DDTHH:MM:SS.ffffff`` in UTC; empty if
                not known.
        """
        text = page.text()
        gone = self._deleted.flags(page, "") if self._deleted else []
        if places is not None:
            text = text.take(pa.array(places, type=pa.int64()))
            times = [times[place] for place in places] if times else []
            gone = [gone[place] for place in places] if gone else []
        if not len(text):
            return
        self._records.append(text)
        self._requests.append(request)
        self._gone += gone
        self._committed_at += times or [None] * len(text)
        self.rows += len(text)
        self.bytes += text.nbytes

    def take(self) -> pl.DataFrame:
        """The frame of what was added, and start anew."""
        counts = np.array([len(text) for text in self._records], dtype=np.int64)
        places = np.repeat(np.arange(len(counts)), counts)
        requests = pl.Series("_request", self._requests, dtype=pl.String)
        frame = pl.DataFrame(
            [
                pl.Series("record", pa.chunked_array(self._records, type=pa.string())),
                requests.gather(pl.Series(places)),
                _times(self._committed_at),
            ]
        )
        if self._operation:
            frame = frame.with_columns(pl.lit(self._operation).alias("_operation"))
        if any(self._gone):
            usual = pl.lit(self._operation or "insert")
            operation = pl.when(pl.Series(self._gone)).then(pl.lit("delete")).otherwise(usual)
            frame = frame.with_columns(operation.alias("_operation"))
        self.clear()
        return frame


def truncate_row() -> pl.DataFrame:
    """The row that says: whatever was there before is gone."""
    return pl.DataFrame(
        {"record": [None], "_request": [None], "_committed_at": [None], "_operation": ["truncate"]},
        schema={
            "record": pl.String,
            "_request": pl.String,
            "_committed_at": pl.Datetime("us"),
            "_operation": pl.String,
        },
    )


def _times(texts: list[str | None]) -> pl.Series:
    if not any(texts):
        return pl.Series("_committed_at", [None] * len(texts), dtype=pl.Datetime("us"))
    try:  # ten times cheaper than polars' parser, but one day of no calendar stops it
        parsed = pa.array(texts, type=pa.string()).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        series = pl.Series("_committed_at", texts, dtype=pl.String)
        return series.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return pl.Series("_committed_at", parsed)
