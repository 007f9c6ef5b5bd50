"""Objects being written: rows become one Parquet file with the metadata that every row has.

A copy of a table comes as Arrow columns and goes to the file as it is; changes come as polars frames, whose
texts still point into the bytes received. Both are written without a copy of ours in between.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groundwork import manifest
from groundwork.manifest import METADATA
from groundwork.scratch import told
from groundwork.sources import Rows

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)

_REPETITIVE = (
    *("_operation", "_unchanged", "_committed_at", "_extracted_at", "_request"),
    *("_stored_at", "_batch_id", "_file", "_run_id"),  # of objects that are written anew
)

_GROUP_BYTES = 16 << 20
"""A row group has at most so many bytes before compression, unless one row is larger."""


class OpenObject:
    """One Parquet file being written, a row group per append, or several when the rows are large."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Open the file."""
        self.path, self.schema, self.rows = path, schema, 0
        self.operations: Counter[str] = Counter()
        with told(path):
            self._writer = pq.ParquetWriter(
                path,
                schema,
                compression="zstd",
                compression_level=1,
                # A dictionary pays only where few values repeat; most source columns are distinct text.
                use_dictionary=_repetitive(schema),
                write_statistics=False,
                # The columns' types in memory are nobody's business: a text is a text.
                store_schema=False,
            )

    @property
    def bytes(self) -> int:
        """Size of the file so far."""
        return self.path.stat().st_size

    def append(self, table: pa.Table) -> None:
        """Write rows, in row groups that whoever reads them can hold in memory.

        Raises:
            GroundworkError: when the disk is full or the file cannot be written.
        """
        with told(self.path):
            self._writer.write_table(table, row_group_size=_rows_of_a_group(table))
        self.rows += table.num_rows
        self.operations.update(_operations(table))

    def close(self) -> str:
        """Finish the file and return its sha256."""
        with told(self.path):
            self._writer.close()
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()


def _rows_of_a_group(table: pa.Table) -> int:
    """Rows per row group: all, unless they are larger than a group should be."""
    groups = max(1, -(-int(table.nbytes) // _GROUP_BYTES))
    return max(1, int(table.num_rows) // groups)


def completed(rows: Rows, batch_id: int, first: int) -> pa.Table:
    """Rows with every metadata column, source columns first.

    Args:
        rows: as the source gave them.
        batch_id: the batch they are for.
        first: how many rows of the stream the batch holds before them.
    """
    if isinstance(rows.frame, pa.Table):
        table = rows.frame
    else:
        import polars as pl

        table = rows.frame.to_arrow(compat_level=pl.CompatLevel.newest())
    columns = dict(zip(table.column_names, table.columns, strict=True))
    own, count = [name for name in columns if name not in METADATA], table.num_rows
    columns |= {name: _constant(value, count) for name, value in rows.constants.items()}
    if "_operation" not in columns:
        columns["_operation"] = _constant("insert", count)
    if "_sequence" not in columns:
        columns["_sequence"] = _numbered(batch_id, first, count)
    columns.setdefault("_unchanged", pa.nulls(count, pa.string()))
    columns.setdefault("_committed_at", pa.nulls(count, pa.timestamp("us")))
    micros = pa.scalar(manifest.now().replace(tzinfo=None), pa.timestamp("us")).value
    extracted_at = pa.py_buffer(np.full(count, micros, np.int64))
    columns["_extracted_at"] = pa.Array.from_buffers(pa.timestamp("us"), count, [None, extracted_at])
    return pa.table({name: columns[name] for name in [*own, *METADATA]})


def _constant(value: str, count: int) -> pa.Array:
    """One text for all rows, written as a dictionary of one."""
    codes = pa.Array.from_buffers(pa.int32(), count, [None, pa.py_buffer(np.zeros(count, np.int32))])
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))


def _numbered(batch_id: int, first: int, count: int) -> pa.Array:
    """The sequence of rows that have no order of their own but that in which they came."""
    text = np.empty((count, 25), np.uint8)
    text[:, :17] = np.frombuffer(f"{batch_id:016x}/".encode(), np.uint8)
    numbers = np.arange(first, first + count, dtype=np.uint32)
    for place in range(8):
        text[:, 17 + place] = _HEX[(numbers >> np.uint32(4 * (7 - place))) & np.uint32(15)]
    ends = pa.py_buffer(np.arange(0, 25 * count + 1, 25, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), count, [None, ends, pa.py_buffer(text)])


def _repetitive(schema: pa.Schema) -> list[str]:
    constant = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return [*constant, *(name for name in _REPETITIVE if name in schema.names and name not in constant)]


def _operations(table: pa.Table) -> dict[str, int]:
    column = table.column("_operation")
    if pa.types.is_dictionary(column.type):
        counts: Counter[str] = Counter()
        for chunk in column.chunks:
            rows = np.bincount(chunk.indices.to_numpy())
            counts.update({chunk.dictionary[code].as_py(): int(n) for code, n in enumerate(rows) if n})
        return counts
    import polars as pl

    # not by pyarrow.compute: to load it takes a quarter of a second
    found = pl.Series(column).value_counts()
    return {str(operation): int(count) for operation, count in found.iter_rows()}
