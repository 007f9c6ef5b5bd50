"""The API with dlt's rest_api, to Parquet in S3.

Argument: base_url, s3, bucket, prefix, directory.
"""

from __future__ import annotations

import json
import sys

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    asked = json.loads(sys.argv[1])
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
