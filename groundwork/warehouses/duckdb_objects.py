"""Objects as DuckDB reads them when it cannot number their rows itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

ROW = "_row"
_BYTES = 16 << 20
"""Bytes of rows that are in memory at a time, unless one row is larger."""


def numbered(path: Path) -> pa.RecordBatchReader:
    """The rows of an object in pieces, with their number in the column `ROW`.

    For objects with a column ``file_row_number`` of their source: DuckDB's own number has that name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    schema = file.schema_arrow.append(pa.field(ROW, pa.int64()))

    def pieces() -> Iterator[pa.RecordBatch]:
        first = 0
        for group in range(file.num_row_groups):
            described = file.metadata.row_group(group)
            a_row = max(1, described.total_byte_size // max(1, described.num_rows))
            for batch in file.iter_batches(max(1, _BYTES // a_row), row_groups=[group]):
                numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
                first += batch.num_rows
                yield pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, pieces())
