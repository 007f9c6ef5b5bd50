"""Decode the rows of ``COPY … TO STDOUT`` (text format) into columns. No I/O here.

The text format prints each value exactly as the log does (both call the type's output function), so a
snapshot and the log agree to the letter; a cast to text in SQL would not (``inet``, ``char(n)``, ``bool``).
Format: PostgreSQL manual, COPY, "Text Format". A line feed or tab within a value is escaped in it, so
pyarrow's CSV parser, told to know no quotes, cuts it: three times faster than gathers over the buffer.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from groundwork.errors import ProtocolError
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.views import Buffer

_HEADER_COLUMN = "header"
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
    content, starts = buffer.bytes, framed.starts
    rows, width = len(starts), len(columns)
    if not width:
        raise ProtocolError(where, "a table without columns cannot be copied")
    if (content[framed.ends - 1] != ord("\n")).any():
        raise ProtocolError(where, "a row does not end with a line feed")
    # A length may look like a tab or a line feed. The header becomes a column that nobody reads.
    for place in range(HEADER - 1):
        content[starts + place] = ord("-")
    content[starts + HEADER - 1] = ord("\t")
    lines = pa.py_buffer(content).slice(0, framed.consumed)
    names = [_HEADER_COLUMN, *map(str, range(width))]
    try:
        table = csv.read_csv(
            pa.BufferReader(lines),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=framed.consumed + 1, column_names=names
            ),
            parse_options=csv.ParseOptions(
                delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False
            ),
            convert_options=csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(names, pa.string()), include_columns=names[1:],
                null_values=["\\N"], strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise ProtocolError(where, "a row has another number of columns") from error
    if table.num_rows != rows:
        raise ProtocolError(where, f"{rows} rows are {table.num_rows} lines")
    frame = pl.DataFrame(pl.from_arrow(table))
    frame.columns = columns
    backslashes = int(np.count_nonzero(content[: framed.consumed] == ord("\\")))
    if backslashes > sum(frame.null_count().row(0)):  # a null is one backslash and nothing to replace
        old, new = list(_ESCAPES), list(_ESCAPES.values())
        frame = frame.with_columns(
            pl.col(name).str.replace_many(old, new)
            for name in columns
            if frame[name].str.contains("\\", literal=True).any()
        )
    return frame
