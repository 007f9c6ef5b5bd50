"""Decode the rows of ``COPY … TO STDOUT`` (text format) into columns. No I/O here.

The text format prints each value exactly as the log does (both call the type's output function), so a
snapshot and the log agree to the letter; a cast to text in SQL would not (``inet``, ``char(n)``, ``bool``).
Format: PostgreSQL manual, COPY, "Text Format".
"""

from __future__ import annotations

import numpy as np
import polars as pl

from groundwork.errors import ProtocolError
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.views import Buffer, Positions, nulls

_TAB, _BACKSLASH = 9, 92
_ESCAPES = {
    "\\\\": "\\", "\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v",
}  # fmt: skip


def decode(buffer: Buffer, framed: Framed, columns: list[str], where: str) -> pl.DataFrame:
    """Cut rows into columns of text.

    Args:
        buffer: the bytes received. The headers in it are overwritten.
        framed: one message per row.
        columns: names, in the order of the query.
        where: the table, for errors.

    Raises:
        ProtocolError: when a row does not have these columns.
    """
    content, starts, ends = buffer.bytes, framed.starts, framed.ends
    rows, width = len(starts), len(columns)
    if not width:
        raise ProtocolError(where, "a table without columns cannot be copied")
    if (content[ends - 1] != ord("\n")).any():
        raise ProtocolError(where, "a row does not end with a line feed")
    for place in range(1, HEADER):
        content[starts + place] = 0  # a length may look like a tab or a backslash
    tabs = np.flatnonzero(content[: framed.consumed] == _TAB)
    if len(tabs) != rows * (width - 1):
        raise ProtocolError(where, f"{rows} rows of {width} columns have {len(tabs)} separators")
    between = tabs.reshape(rows, width - 1)
    if width > 1 and ((between[:, 0] < starts) | (between[:, -1] >= ends)).any():
        raise ProtocolError(where, "a row has another number of columns")
    begins = np.concatenate([(starts + HEADER)[:, None], between + 1], axis=1)
    stops = np.concatenate([between, (ends - 1)[:, None]], axis=1)
    escaped = _columns_with_escapes(buffer, framed.consumed, begins, stops)
    frame: dict[str, pl.Series] = {}
    for index, name in enumerate(columns):
        at, lengths = np.ascontiguousarray(begins[:, index]), stops[:, index] - begins[:, index]
        absent = (lengths == 2) & (buffer.int16(at) == 0x5C4E)  # \N
        texts = nulls(rows) if absent.all() else buffer.texts(at, lengths, ~absent)
        if escaped[index]:
            texts = texts.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
        frame[name] = texts
    return pl.DataFrame(frame)


def _columns_with_escapes(
    buffer: Buffer, filled: int, begins: Positions, stops: Positions
) -> list[bool]:
    """Which columns hold a backslash that is not the mark of a null."""
    width = begins.shape[1]
    backslashes = np.flatnonzero(buffer.bytes[:filled] == _BACKSLASH)
    if not len(backslashes):
        return [False] * width
    cell = np.searchsorted(begins.ravel(), backslashes, side="right") - 1
    null = (buffer.int16(backslashes) == 0x5C4E) & (stops.ravel()[cell] - begins.ravel()[cell] == 2)
    counts = np.bincount(cell[~null] % width, minlength=width)
    return [bool(count) for count in counts]
