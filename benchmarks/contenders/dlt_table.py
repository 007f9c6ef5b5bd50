"""A table with dlt's sql_database to Parquet in S3. See benchmarks/snapshot.py; word 1 is the backend."""

from __future__ import annotations

import json
import sys
from typing import Any

import dlt
from dlt.sources.sql_database import sql_table


def main() -> None:
    asked = json.loads(sys.argv[1])
    backend = asked["words"][0]
    s3 = asked["s3"]
    credentials = {
        "aws_access_key_id": s3["aws_access_key_id"],
        "aws_secret_access_key": s3["aws_secret_access_key"],
        "endpoint_url": s3["endpoint_url"],
        "region_name": s3["region_name"],
    }
    url = f"s3://{asked['bucket']}/{asked['prefix']}"
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(bucket_url=url, credentials=credentials),
        dataset_name="landing",
        pipelines_dir=asked["directory"],
    )
    options: dict[str, Any] = {"chunk_size": 100_000}
    if backend == "connectorx":
        options["backend_kwargs"] = {"return_type": "arrow_stream", "batch_size": 100_000}
        options["backend_kwargs"]["conn"] = asked["url"].replace("postgresql+psycopg2", "postgresql")
    table = sql_table(
        credentials=asked["url"], schema="public", table=asked["table"], backend=backend, **options
    )
    pipeline.run(table, loader_file_format="parquet", write_disposition="append")
    print(json.dumps({}))


if __name__ == "__main__":
    main()
