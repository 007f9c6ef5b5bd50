"""Decode the rows of ``COPY … TO STDOUT`` (text format) into columns. No I/O here.

The text format prints each value exactly as the log does (both call the type's output function), so a
snapshot and the log agree to the letter; a cast to text in SQL would not (``inet``, ``char(n)``, ``bool``).
Format: PostgreSQL manual, COPY, "Text Format". A line feed or tab within a value is escaped in it, so
pyarrow's CSV parser, told to know no quotes, cuts it: three times faster than gathers over the buffer. Its
columns go to Parquet as they are, and polars is loaded only where a value holds an escape.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyarrow import csv

from groundwork.errors import ProtocolError
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.views import Buffer, Bytes

_HEADER_COLUMN = "header"
_ESCAPES = {
    "\\\\": "\\", "\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v",
}  # fmt: skip


def decode(buffer: Buffer, framed: Framed, columns: list[str], where: str) -> pa.Table:
    """Cut rows into columns of text, which hold bytes of their own.

    Args:
        buffer: the bytes received. The headers in it are overwritten.
        framed: one message per row.
        columns: names, in the order of the query.
        where: the table, for errors.

    Raises:
        ProtocolError: when a row does not have these columns, or a value is not UTF-8.
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
    if (content[: framed.consumed] == ord("\r")).any():  # the parser would take it for the end of a line
        raise ProtocolError(where, "a carriage return is not escaped")
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
                column_types=dict.fromkeys(names, pa.string()), include_columns=names[1:],
                null_values=["\\N"], strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:
        # The parser's own words would repeat a part of the row.
        raise ProtocolError(where, _fault(content, framed)) from None
    if table.num_rows != rows:
        raise ProtocolError(where, f"{rows} rows are {table.num_rows} lines")
    found = [table.column(number) for number in range(width)]
    backslashes = int(np.count_nonzero(content[: framed.consumed] == ord("\\")))
    if backslashes > sum(column.null_count for column in found):  # a null is one and nothing to replace
        found = [_unescaped(column) for column in found]
    return pa.Table.from_arrays(found, names=columns)


def _fault(content: Bytes, framed: Framed) -> str:
    """What is wrong with rows that the parser refused."""
    try:
        content[: framed.consumed].tobytes().decode()
    except UnicodeDecodeError as error:
        row = int(np.searchsorted(framed.starts, error.start, side="right")) - 1
        place = error.start - int(framed.starts[row]) - HEADER
        return f"byte {place} of row {row} of a message is not UTF-8"
    return "a row has another number of columns"


def _unescaped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import polars as pl

    texts = pl.Series(pl.from_arrow(column))
    if not texts.str.contains("\\", literal=True).any():
        return column
    replaced = texts.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    large = replaced.to_arrow(compat_level=pl.CompatLevel.oldest())
    # to pa.string() as all other columns; not by a cast: to load pyarrow.compute takes a quarter of a second
    valid, offsets, data = large.buffers()
    narrow = np.frombuffer(offsets, np.int64)[: large.offset + len(large) + 1].astype(np.int32)
    parts = [valid, pa.py_buffer(narrow), data]
    return pa.chunked_array([pa.Array.from_buffers(pa.string(), len(large), parts, offset=large.offset)])
