"""Changes by hand: psycopg2's stream, parsed by plain Python, columns of text to Parquet, put to S3.

What one writes without any platform: no exact position, no restart, no metadata but operation and position.
Argument: dsn, slot, publication, end (position), s3 (boto3 options), bucket, prefix.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2.extras import LogicalReplicationConnection

GROUP = 100_000


class Reader:
    def __init__(self, directory: Path, end: int) -> None:
        self.directory, self.end, self.rows = directory, end, 0
        self.columns: list[list[Any]] = []
        self.names: list[str] = []
        self.writer: pq.ParquetWriter | None = None
        self.path = directory / "changes.parquet"

    def __call__(self, message: Any) -> None:
        body = message.payload
        kind = body[0]
        if kind in (73, 85, 68):  # I U D
            at = 5
            tag = body[at]
            if tag in (75, 79) and kind == 85:  # the old row of an update is not wanted
                at = self.skip(body, at + 1)
            self.row(body, at + 1, kind, message.data_start)
        elif kind == 82:  # R
            self.relation(body)
        elif kind == 67 and message.data_start >= self.end:  # C
            raise StopIteration

    def relation(self, body: bytes) -> None:
        at = body.index(0, 5) + 1
        at = body.index(0, at) + 1
        (count,) = struct.unpack_from(">H", body, at + 1)
        at += 3
        names = []
        for _ in range(count):
            end = body.index(0, at + 1)
            names.append(body[at + 1 : end].decode())
            at = end + 9
        if names != self.names:
            self.flush()
            self.names, self.columns = names, [[] for _ in range(count + 2)]

    def row(self, body: bytes, at: int, kind: int, position: int) -> None:
        (count,) = struct.unpack_from(">H", body, at)
        at += 2
        columns = self.columns
        for index in range(count):
            if body[at] == 116:  # t
                length = int.from_bytes(body[at + 1 : at + 5], "big")
                columns[index].append(body[at + 5 : at + 5 + length].decode())
                at += 5 + length
            else:
                columns[index].append(None)
                at += 1
        columns[count].append(chr(kind))
        columns[count + 1].append(position)
        self.rows += 1
        if len(columns[0]) >= GROUP:
            self.flush()

    def skip(self, body: bytes, at: int) -> int:
        (count,) = struct.unpack_from(">H", body, at)
        at += 2
        for _ in range(count):
            at += 5 + int.from_bytes(body[at + 1 : at + 5], "big") if body[at] == 116 else 1
        return at

    def flush(self) -> None:
        if not self.columns or not self.columns[0]:
            return
        arrays = [pa.array(column, pa.string()) for column in self.columns[:-1]]
        arrays.append(pa.array(self.columns[-1], pa.int64()))
        table = pa.Table.from_arrays(arrays, names=[*self.names, "_operation", "_position"])
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self.writer.write_table(table)
        self.columns = [[] for _ in self.columns]


def main() -> None:
    asked = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        reader = Reader(Path(directory), asked["end"])
        connection = psycopg2.connect(asked["dsn"], connection_factory=LogicalReplicationConnection)
        cursor = connection.cursor()
        options = {"proto_version": "1", "publication_names": asked["publication"]}
        cursor.start_replication(slot_name=asked["slot"], decode=False, options=options)
        try:
            cursor.consume_stream(reader)
        except StopIteration:
            pass
        connection.close()
        reader.flush()
        if reader.writer:
            reader.writer.close()
            client = boto3.client("s3", **asked["s3"])
            client.upload_file(str(reader.path), asked["bucket"], f"{asked['prefix']}/changes.parquet")
    print(json.dumps({"rows": reader.rows}))


if __name__ == "__main__":
    main()
