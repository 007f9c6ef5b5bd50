"""From pages to a table: buffers are handed on, no record is touched one by one.

Arrow all the way, and no polars: what is a text stays one, and to load it takes longer than a small pull.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from groundwork.sources import Rows
from groundwork.sources.rest.records import CutPage, FieldReader

_MICROS = pa.timestamp("us")


class OpenFrame:
    """Pages gathered until they are worth a table."""

    def __init__(self, operation: str | None = None, deleted: FieldReader | None = None) -> None:
        """Start empty.

        Args:
            operation: what happened to each row; an insert when None.
            deleted: reads what only deleted records have.
        """
        self._operation, self._deleted = operation or "insert", deleted
        self.clear()

    def clear(self) -> None:
        """Forget all pages."""
        self._records: list[pa.Array] = []
        self._requests: list[str] = []
        self._committed_at: list[pa.Array] = []
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
        self._committed_at.append(_instants(times, len(text)))
        self.rows += len(text)
        self.bytes += text.nbytes

    def take(self, stream: str) -> Rows:
        """What was added, as rows of a stream; and start anew."""
        counts = [len(text) for text in self._records]
        columns = {
            "record": pa.chunked_array(self._records, type=pa.string()),
            "_request": _few(self._requests, np.repeat(np.arange(len(counts)), counts)),
            "_committed_at": pa.chunked_array(self._committed_at, type=_MICROS),
        }
        constants: Mapping[str, str] = {"_operation": self._operation}
        if any(self._gone):
            columns["_operation"] = _few([self._operation, "delete"], np.array(self._gone))
            constants = {}
        self.clear()
        return Rows(stream, pa.table(columns), constants)


def truncate_row(stream: str) -> Rows:
    """The row that says: whatever was there before is gone."""
    columns = {
        "record": pa.nulls(1, pa.string()),
        "_request": pa.nulls(1, pa.dictionary(pa.int32(), pa.string())),
        "_committed_at": pa.nulls(1, _MICROS),
    }
    return Rows(stream, pa.table(columns), {"_operation": "truncate"})


def _few(texts: Sequence[str], codes: np.ndarray) -> pa.DictionaryArray:
    """A column of few different texts, by their index."""
    numbers = pa.Array.from_buffers(pa.int32(), len(codes), [None, pa.py_buffer(codes.astype(np.int32))])
    return pa.DictionaryArray.from_arrays(numbers, pa.array(texts, pa.string()))


def _instants(texts: Sequence[str | None], count: int) -> pa.Array:
    if not any(texts):
        return pa.nulls(count, _MICROS)
    try:
        return pa.array(texts, type=pa.string()).cast(_MICROS)
    except pa.ArrowInvalid:  # one day of no calendar among them stops the whole column
        return pa.array([_instant(text) for text in texts], type=_MICROS)


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
