"""Arrow columns that point into a buffer of received bytes, so that moving text copies nothing.

A string view is 16 bytes: the length, then either the text itself (up to 12 bytes) or its first four bytes
and where it lies in the buffer (Arrow columnar format, "Variable-size Binary View Layout"). Views are built
for all rows of a column at once, by gathers over the buffer. Polars is loaded where a column is made: a run
that finds no change does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PADDING = 16
"""Bytes a buffer must have behind its content: gathers read up to 12 bytes past a value."""

_KEEP = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)  # the lowest n bytes of a word


class Buffer:
    """A flat buffer with gathers of big-endian integers at any position."""

    def __init__(self, content: Bytes) -> None:
        """Look at ``content``, whose last `PADDING` bytes are not data."""
        self.bytes = content
        self._arrow = pa.py_buffer(content)
        self._u16 = _at_any_position(content, "<u2")
        self._u32 = _at_any_position(content, "<u4")
        self._u64 = _at_any_position(content, "<u8")

    def int16(self, at: Positions) -> Positions:
        """Unsigned 16-bit numbers at the given positions."""
        return self._u16[at].byteswap().astype(np.int64)

    def int32(self, at: Positions) -> Positions:
        """Unsigned 32-bit numbers at the given positions."""
        return self._u32[at].byteswap().astype(np.int64)

    def int64(self, at: Positions) -> npt.NDArray[np.uint64]:
        """Unsigned 64-bit numbers at the given positions."""
        return self._u64[at].byteswap()

    def blank(self, at: Positions, size: int) -> None:
        """Overwrite ``size`` bytes at each position with zeros."""
        _at_any_position(self.bytes, f"V{size}")[at] = np.zeros((), f"V{size}")

    def is_ascii(self, begin: int, end: int) -> bool:
        """Whether no byte of a stretch is above 127."""
        return begin >= end or bool(self.bytes[begin:end].max() < 128)

    def texts(self, at: Positions, lengths: Positions, valid: Mask | None = None) -> pl.Series:
        """A column of texts that point into the buffer.

        Args:
            at: position of each text's first byte.
            lengths: bytes of each text.
            valid: False where the value is null (position and length are then ignored).
        """
        if valid is not None and not valid.all():
            at, lengths = np.where(valid, at, 0), np.where(valid, lengths, 0)
        else:
            valid = None
        views = np.empty((len(at), 2), np.uint64)
        first = self._u32[at].astype(np.uint64) & _KEEP[np.minimum(lengths, 4)]
        views[:, 0] = (first << np.uint64(32)) | lengths.astype(np.uint64)
        longest, shortest = (int(lengths.max()), int(lengths.min())) if len(at) else (0, 0)
        if longest <= 4:
            views[:, 1] = 0
        elif longest <= 12:
            views[:, 1] = self._u64[at + 4] & _KEEP[np.clip(lengths - 4, 0, 8)]
        elif shortest > 12:
            views[:, 1] = at.astype(np.uint64) << np.uint64(32)
        else:
            inlined = self._u64[at + 4] & _KEEP[np.clip(lengths - 4, 0, 8)]
            views[:, 1] = np.where(lengths > 12, at.astype(np.uint64) << np.uint64(32), inlined)
        return _series(views, valid, [self._arrow])


def constants(values: list[str], codes: npt.NDArray[np.intp]) -> pl.Series:
    """A column of few different short texts (12 bytes at most), by their index in ``values``."""
    views = np.zeros((len(values), 2), np.uint64)
    for row, value in enumerate(values):
        encoded = value.encode()
        packed = len(encoded).to_bytes(4, "little") + encoded.ljust(12, b"\0")
        views[row] = np.frombuffer(packed, np.uint64)
    return _series(views[codes], None, [])


def sequences(commits: npt.NDArray[np.uint64], ordinals: Positions) -> pl.Series:
    """``{commit:016x}/{ordinal:08x}`` for every row, as one sortable text."""
    import polars as pl

    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(commits), 25), np.uint8)
    for place in range(16):
        text[:, place] = digits[((commits >> np.uint64(4 * (15 - place))) & np.uint64(15)).astype(np.intp)]
    text[:, 16] = ord("/")
    for place in range(8):
        text[:, 17 + place] = digits[(ordinals >> (4 * (7 - place))) & 15]
    offsets = np.arange(len(commits) + 1, dtype=np.int64) * 25
    column = pa.Array.from_buffers(
        pa.large_string(), len(commits), [None, pa.py_buffer(offsets), pa.py_buffer(text.ravel())]
    )
    return pl.Series(pl.from_arrow(column))


def first_broken(column: pl.Series) -> int | None:
    """Number of the first text that is not UTF-8, None when all are."""
    import polars as pl

    try:
        column.to_arrow(compat_level=pl.CompatLevel.newest()).validate(full=True)
    except pa.ArrowInvalid:
        for row, text in enumerate(column.cast(pl.Binary)):
            try:
                (text or b"").decode()
            except UnicodeDecodeError:
                return row
    return None


def nulls(rows: int) -> pl.Series:
    """A column of text without any value."""
    import polars as pl

    return pl.Series([None], dtype=pl.String).new_from_index(0, rows)


def _series(views: npt.NDArray[np.uint64], valid: Mask | None, data: list[pa.Buffer]) -> pl.Series:
    import polars as pl

    bitmap = None
    if valid is not None:
        views[~valid] = 0
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    column = pa.Array.from_buffers(
        pa.string_view(), len(views), [bitmap, pa.py_buffer(np.ascontiguousarray(views)), *data]
    )
    return pl.Series(pl.from_arrow(column))


def _at_any_position(content: Bytes, kind: str) -> npt.NDArray[Any]:
    """The buffer seen as overlapping words, one starting at each byte."""
    word = np.dtype(kind)
    return np.ndarray((len(content) - word.itemsize + 1,), word, content, strides=(1,))
