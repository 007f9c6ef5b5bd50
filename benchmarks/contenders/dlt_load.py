"""Stored Parquet objects with dlt from S3 into DuckDB, as Arrow batches (its fastest way).

Argument: keys (bucket/key), s3 (boto3 options), duckdb (file), directory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs


@dlt.resource(name="landed", write_disposition="append")
def landed(keys: list[str], s3: dict[str, str]) -> Iterator[Any]:
    files = s3fs.S3FileSystem(
        key=s3["aws_access_key_id"], secret=s3["aws_secret_access_key"], endpoint_url=s3["endpoint_url"]
    )
    for key in keys:
        with files.open(key, "rb") as file:
            stored = pq.ParquetFile(file)
            schema = pa.schema([(f.name, known_to_dlt(f.type)) for f in stored.schema_arrow])
            for batch in stored.iter_batches(100_000):
                yield pa.Table.from_batches([batch]).cast(schema)


def known_to_dlt(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_string_view(kind) else kind


def main() -> None:
    asked = json.loads(sys.argv[1])
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.duckdb(asked["duckdb"]),
        dataset_name="landing",
        pipelines_dir=asked["directory"],
    )
    pipeline.run(landed(asked["keys"], asked["s3"]), loader_file_format="parquet")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps({"rows": counts["landed"]}))


if __name__ == "__main__":
    main()
