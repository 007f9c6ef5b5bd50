"""The statements of one dbt run of a base model, rolled back.

Argument: duckdb (file), sql (file with the model's compiled query), whole (a full refresh; else only what
changed is written).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb


def main() -> None:
    asked = json.loads(sys.argv[1])
    query = Path(asked["sql"]).read_text(encoding="utf-8")
    with duckdb.connect(asked["duckdb"]) as connection:
        connection.execute("set timezone = 'UTC'")
        began = time.process_time()
        connection.execute("begin")
        if asked["whole"]:
            connection.execute(f"create table staging.newest as {query}")
            counted = "staging.newest"
        else:
            connection.execute(f"create temp table newest as {query}")
            base = "staging.base_bench__rows"
            connection.execute(f"delete from {base} as old using newest where newest.id = old.id")
            connection.execute(f"insert into {base} by name select * from newest")
            counted = "newest"
        spent = time.process_time() - began
        (rows,) = connection.execute(f"select count(*) from {counted}").fetchone()
        connection.execute("rollback")
    print(json.dumps({"rows": rows, "statements_cpu": spent}))


if __name__ == "__main__":
    main()
