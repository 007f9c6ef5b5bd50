"""Stored Parquet objects with dlt from S3 into DuckDB, as Arrow batches (its fastest way).

Argument: keys (bucket/key), s3 (boto3 options), duckdb (file), directory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow.parquet as pq
import s3fs


@dlt.resource(name="landed", write_disposition="append")
def landed(keys: list[str], s3: dict[str, str]) -> Iterator[Any]:
    files = s3fs.S3FileSystem(
        key=s3["aws_access_key_id"], secret=s3["aws_secret_access_key"], endpoint_url=s3["endpoint_url"]
    )
    for key in keys:
        with files.open(key, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(100_000):
                yield batch


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
