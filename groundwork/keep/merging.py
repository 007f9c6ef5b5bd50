"""Merging: one Parquet object out of several, less some rows; every row keeps where it came from.

The rows of an object that was written anew carry what landing knows of them (`REWRITTEN`), so landing is the
same table, letter for letter, whether it was loaded before or after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groundwork.manifest import METADATA, REWRITTEN, Manifest, StoredRows
from groundwork.objects import OpenObject

Places = Mapping[str, Iterable[int]]
"""Rows by the object they were committed in (landing's `_file`) and their number there (`_row`)."""

_KINDS = {name: pa.string() for name in ("_operation", "_sequence", "_unchanged", *REWRITTEN)} | {
    "_committed_at": pa.timestamp("us"),
    "_extracted_at": pa.timestamp("us"),
    "_stored_at": pa.timestamp("us"),
    "_row": pa.int64(),
}
_ROW_GROUP = 100_000
"""Rows gathered before they are written, so that a thousand small batches are not read in as many steps."""


@dataclass(frozen=True)
class Piece:
    """An object to be merged: its file, how a manifest lists it, and the batches that use it."""

    path: Path
    stored: StoredRows
    users: list[Manifest]


@dataclass
class Merged:
    """What came out."""

    rows: int = 0
    sha256: str = ""
    bytes: int = 0
    operations: dict[str, Counter[str]] = field(default_factory=dict)
    """Rows per operation, by the batch's name."""


def merge(pieces: list[Piece], without: Places, path: Path) -> Merged:
    """Write the rows of all pieces, in order, into one object.

    Args:
        pieces: objects of one stream, by their batches in order.
        without: rows to leave out.
        path: the file to write; there is none when no row is left.

    Raises:
        GroundworkError: when the disk is full.
    """
    schema = _schema(pieces)
    dropped = {file: np.fromiter(rows, np.int64) for file, rows in without.items()}
    merged, target = Merged(), None
    for table in _gathered(_kept(pieces, schema, dropped)):
        if target is None:
            target = OpenObject(path, schema)
        target.append(table)
        _count(merged, table)
    if target is not None:
        merged.sha256, merged.rows, merged.bytes = target.close(), target.rows, 0
        merged.bytes = target.bytes
    return merged


def _schema(pieces: list[Piece]) -> pa.Schema:
    """All columns of all pieces as text, then the metadata."""
    own: dict[str, None] = {}
    for piece in pieces:
        names = pq.read_schema(piece.path).names
        own |= dict.fromkeys(name for name in names if name not in (*METADATA, *REWRITTEN))
    names = [*own, *METADATA, *REWRITTEN]
    return pa.schema([(name, _KINDS.get(name, pa.string())) for name in names])


def _kept(
    pieces: list[Piece], schema: pa.Schema, dropped: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[pa.Table]:
    for piece in pieces:
        first = 0
        with pq.ParquetFile(piece.path) as file:
            for number in range(file.num_row_groups):
                read = file.read_row_group(number)
                yield _without(_completed(read, piece, first, schema), dropped)
                first += read.num_rows


def _completed(read: pa.Table, piece: Piece, first: int, schema: pa.Schema) -> pa.Table:
    """Rows with every column of the schema; what the manifest says of them is written beside them."""
    columns = {name: read.column(name) for name in read.column_names}
    if not piece.stored.rewritten:
        (batch,) = piece.users
        constant = {
            "_stored_at": batch.stored_at.replace(tzinfo=None),
            "_batch_id": batch.name,
            "_file": piece.stored.key,
            "_run_id": batch.run_id,
        }
        for name, value in constant.items():
            columns[name] = pa.repeat(pa.scalar(value, _KINDS[name]), read.num_rows)
        columns["_row"] = pa.array(np.arange(first, first + read.num_rows))
    arrays = [
        _cast(columns[column.name], column.type)
        if column.name in columns
        else pa.nulls(read.num_rows, column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _cast(column: Any, kind: pa.DataType) -> Any:
    return column if column.type == kind else column.cast(kind)


def _without(table: pa.Table, dropped: Mapping[str, np.ndarray[Any, Any]]) -> pa.Table:
    if not dropped:
        return table
    files, numbers = table.column("_file").to_numpy(), table.column("_row").to_numpy()
    gone = np.zeros(table.num_rows, bool)
    for file in set(files) & dropped.keys():
        gone |= (files == file) & np.isin(numbers, dropped[file])
    return table.filter(pa.array(~gone)) if gone.any() else table


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= _ROW_GROUP:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    rest = pa.concat_tables(waiting) if waiting else None
    if rest is not None and rest.num_rows:
        yield rest.combine_chunks()


def _count(merged: Merged, table: pa.Table) -> None:
    import polars as pl

    kinds = pl.DataFrame({name: table.column(name) for name in ("_batch_id", "_operation")})
    for batch, operation, count in kinds.group_by("_batch_id", "_operation").len().iter_rows():
        merged.operations.setdefault(batch, Counter())[operation] += count
