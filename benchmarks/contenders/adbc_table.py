"""A table with ADBC: record batches to a Parquet file, put to S3. See benchmarks/snapshot.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import boto3
import pyarrow.parquet as pq


def main() -> None:
    asked = json.loads(sys.argv[1])
    path = Path(asked["directory"]) / "table.parquet"
    with adbc.connect(asked["url"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"select * from {asked['table']}")
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
    client = boto3.client("s3", **asked["s3"])
    client.upload_file(str(path), asked["bucket"], f"{asked['prefix']}/table.parquet")
    print(json.dumps({}))


if __name__ == "__main__":
    main()
