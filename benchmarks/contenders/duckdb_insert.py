"""The least a load can cost: one INSERT … SELECT of local Parquet files into a table of landing's columns.

Argument: files, duckdb (file), columns (of the source).
"""

from __future__ import annotations

import json
import sys

import duckdb


def main() -> None:
    asked = json.loads(sys.argv[1])
    own = [f'"{name}"' for name in asked["columns"]]
    body = ", ".join(f"{name} varchar" for name in own)
    with duckdb.connect(asked["duckdb"]) as connection:
        connection.execute("set preserve_insertion_order = false")
        connection.execute(
            f"create table landed ({body}, _operation varchar, _sequence varchar, _unchanged varchar,"
            " _committed_at timestamp, _extracted_at timestamp, _stored_at timestamp, _loaded_at timestamp,"
            " _batch_id varchar, _file varchar, _row bigint, _run_id varchar)"
        )
        connection.execute(
            f"insert into landed select {', '.join(own)}, _operation, _sequence, _unchanged, _committed_at,"
            " _extracted_at, now()::timestamp, now()::timestamp, '0000000001', filename, file_row_number, ''"
            " from read_parquet(?, filename = true, file_row_number = true)",
            [asked["files"]],
        )
    print(json.dumps({}))


if __name__ == "__main__":
    main()
