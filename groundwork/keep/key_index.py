"""Keys and places of every stored row of some streams, in a DuckDB file of their own.

Only what names a record is read, so that a bucket of any size can be searched; the rows themselves stay where
they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, PostgresSource
from groundwork.fetching import fetch
from groundwork.manifest import Manifest, StoredRows

_NUMBERS = ("integer", "float", "decimal")
Key = tuple[str | None, ...]


@dataclass(frozen=True)
class IndexedRow:
    """One stored row."""

    key: Key
    """Values of the primary key; empty for a stream without one."""
    sequence: str
    operation: str
    object: str
    """Where it lies now."""
    file: str
    """Where it was committed, which landing shows as `_file`; and its number there."""
    row: int


class KeyIndex:
    """Keys and places of every row of some streams of one source."""

    def __init__(self, entry: AnySource, columns: Mapping[str, Iterable[str]], directory: Path) -> None:
        """Begin empty.

        Args:
            entry: the catalog's entry of the source.
            columns: by stream, those to look for beside its key.
            directory: for the file, and for objects on their way.
        """
        self._entry, self._directory = entry, directory
        self._columns = {
            stream: list(dict.fromkeys([*entry.streams[stream].primary_key, *more]))
            for stream, more in columns.items()
        }
        self._objects: dict[str, int] = {}
        self._database = duckdb.connect(str(directory / f"{entry.source}.duckdb"))
        for stream, names in self._columns.items():
            listed = "".join(f", c{number} varchar" for number, _ in enumerate(names))
            self._database.execute(
                f'create table "{stream}"'
                f" (object integer, file varchar, number bigint, operation varchar, sequence varchar{listed})"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def read(self, bucket: Bucket, batches: Iterable[Manifest]) -> None:
        """Take in every object of the streams, each once.

        Raises:
            ObjectDamaged: when one is not what its manifest says.
        """
        for batch in batches:
            for stored in batch.objects:
                if stored.stream in self._columns and stored.key not in self._objects:
                    self._objects[stored.key] = len(self._objects)
                    path = fetch(bucket, stored, self._directory / "object.parquet", batch)
                    self._take_in(stored, path)
                    path.unlink()

    def where(self, stream: str, column: str, value: str) -> list[IndexedRow]:
        """Rows with a value, compared as its type in the catalog means it."""
        kind = self._entry.streams[stream].columns[column].type
        return self._rows(stream, f"c{self._columns[stream].index(column)} = ?", [canonical(value, kind)])

    def of_key(self, stream: str, key: Key) -> list[IndexedRow]:
        """All rows of a key, in the source's order."""
        same = " and ".join(f"c{number} is not distinct from ?" for number, _ in enumerate(key))
        return self._rows(stream, same, list(key))

    def at(self, stream: str, sequence: str) -> list[IndexedRow]:
        """Rows at a place of the source's order."""
        return self._rows(stream, "sequence = ?", [sequence])

    def _rows(self, stream: str, condition: str, parameters: list[Any]) -> list[IndexedRow]:
        width = len(self._entry.streams[stream].primary_key)
        key = "".join(f", c{number}" for number in range(width))
        found = self._database.execute(
            f'select sequence, operation, object, file, number{key} from "{stream}" where {condition}'
            " and operation <> 'truncate' order by sequence, file, number",
            parameters,
        ).fetchall()
        keys = list(self._objects)
        return [
            IndexedRow(tuple(key), sequence, operation, keys[at], file, number)
            for sequence, operation, at, file, number, *key in found
        ]

    def _take_in(self, stored: StoredRows, path: Path) -> None:
        names, first = self._columns[stored.stream], 0
        kinds = self._entry.streams[stored.stream].columns
        source = ["_operation", "_sequence", *(["_file", "_row"] if stored.rewritten else [])]
        tabular = isinstance(self._entry, PostgresSource)
        with pq.ParquetFile(path) as file:
            wanted = [*source, *(names if tabular else ["record", "_request"])]
            there = [name for name in wanted if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                read = file.read_row_group(group, columns=there)
                count = read.num_rows
                texts = _columns(read, names) if tabular else self._out_of_records(stored.stream, read)
                taken: dict[str, Any] = {
                    "object": pa.repeat(pa.scalar(self._objects[stored.key], pa.int32()), count),
                    "file": read.column("_file") if stored.rewritten else pa.repeat(stored.key, count),
                    "number": read.column("_row")
                    if stored.rewritten
                    else pa.array(range(first, first + count), pa.int64()),
                    "operation": read.column("_operation"),
                    "sequence": read.column("_sequence"),
                }
                for number, name in enumerate(names):
                    taken[f"c{number}"] = _canonical(texts[name], kinds[name].type)
                self._database.register("taken", pa.table(taken))
                listed = ", ".join(taken)
                self._database.execute(f'insert into "{stored.stream}" ({listed}) select {listed} from taken')
                self._database.unregister("taken")
                first += count

    def _out_of_records(self, stream: str, read: pa.Table) -> dict[str, list[str | None]]:
        described = self._entry.streams[stream].columns
        names = self._columns[stream]
        inside = {n: described[n].keys(n) for n in names if not described[n].parent}
        parents = {n: ("parent", described[n].parent) for n in names if described[n].parent}
        values: dict[str, list[str | None]] = {name: [] for name in names}
        for column, paths in (("record", inside), ("_request", parents)):
            for text in read.column(column).to_pylist() if paths else ():
                record = _parsed(text)
                for name, path in paths.items():
                    values[name].append(_at(record, path))
        return values


def canonical(value: str | None, kind: str) -> str | None:
    """A value as it is compared: 17, 17.0 and 1.7e1 are one number, texts are what they are.

    Args:
        value: as text.
        kind: the column's type in the catalog.
    """
    if value is None or not kind.startswith(_NUMBERS):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return str(number.normalize()) if number.is_finite() else value


def _columns(read: pa.Table, names: Iterable[str]) -> dict[str, list[str | None]]:
    there = set(read.column_names)
    return {
        name: read.column(name).to_pylist() if name in there else [None] * read.num_rows for name in names
    }


def _canonical(texts: list[str | None], kind: str) -> pa.Array:
    if kind.startswith(_NUMBERS):
        texts = [canonical(text, kind) for text in texts]
    return pa.array(texts, pa.string())


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str) if text else None
    except ValueError:  # no JSON, hence no key: `keys_fit` tells of it
        return None


def _at(record: Any, path: Iterable[str]) -> str | None:
    for part in path:
        record = record.get(part) if isinstance(record, dict) else None
    if record is None or isinstance(record, str):
        return record
    return json.dumps(record)
