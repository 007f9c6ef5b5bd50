"""A table with DuckDB's postgres extension: COPY … TO Parquet, put to S3. See benchmarks/snapshot.py."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import boto3
import duckdb
import duckdb_extension_postgres


def main() -> None:
    asked = json.loads(sys.argv[1])
    directory = Path(asked["directory"])
    packaged = next(Path(duckdb_extension_postgres.__file__).parent.rglob("*.duckdb_extension"))
    # the entry point it is looked up by is not the name it is packaged under
    extension = shutil.copy(packaged, directory / "postgres_scanner.duckdb_extension")
    path = directory / "table.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"load '{extension}'")
        connection.execute(f"attach '{asked['url']}' as source (type postgres, read_only)")
        connection.execute(
            f"copy source.public.{asked['table']} to '{path}' (format parquet, compression zstd)"
        )
    client = boto3.client("s3", **asked["s3"])
    client.upload_file(str(path), asked["bucket"], f"{asked['prefix']}/table.parquet")
    print(json.dumps({}))


if __name__ == "__main__":
    main()
