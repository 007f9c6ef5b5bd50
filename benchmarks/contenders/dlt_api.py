"""The API with dlt's rest_api, to Parquet in S3 or into DuckDB.

Argument: base_url, destination, s3, bucket, prefix, duckdb, directory.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    asked = json.loads(sys.argv[1])
    destination: Any
    if asked["destination"] == "duckdb":
        destination = dlt.destinations.duckdb(asked["duckdb"])
    else:
        s3 = asked["s3"]
        credentials = {
            "aws_access_key_id": s3["aws_access_key_id"],
            "aws_secret_access_key": s3["aws_secret_access_key"],
            "endpoint_url": s3["endpoint_url"],
            "region_name": s3["region_name"],
        }
        url = f"s3://{asked['bucket']}/{asked['prefix']}"
        destination = dlt.destinations.filesystem(bucket_url=url, credentials=credentials)
    paginator = {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"}
    source = rest_api_source(
        {
            "client": {"base_url": asked["base_url"], "paginator": paginator},
            "resources": [{"name": "records", "endpoint": {"path": "records", "data_selector": "data"}}],
        }
    )
    pipeline = dlt.pipeline(
        "bench", destination=destination, dataset_name="landing", pipelines_dir=asked["directory"]
    )
    pipeline.run(source, loader_file_format="parquet")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps({"rows": counts["records"]}))


if __name__ == "__main__":
    main()
