"""What one incremental run of a base model costs: two ways to find the newest version of every record.

A  ranks the touched keys over their whole landing history.
B  ranks the new rows, and holds the newest against the row present in the table (`latest_records`).

Both are timed as dbt runs them: the statement into a temporary table, then the merge. B is the SQL that
dbt compiled from our macro; A is written here. Prints one line per size: seconds, best of several runs.

    python -m benchmarks.base_models
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import duckdb
import yaml

from groundwork.catalog import load_catalog
from groundwork.load import prepare
from groundwork.render import render
from groundwork.warehouses.duckdb import open_duckdb
from tests.landing import ROOT, Dbt

CHANGED = 1_000
REPEATS = 5
COLUMNS = [f"value_{n}" for n in range(8)]

_BY_HISTORY = """
with touched as (
    select distinct try_cast(id as bigint) as id from landing.bench__rows
    where _loaded_at > (select max(_loaded_at) from staging.base_bench__rows)
),
history as (
    select {columns}, landed.* exclude ({texts}, id), try_cast(landed.id as bigint) as id
    from landing.bench__rows as landed inner join touched on try_cast(landed.id as bigint) = touched.id
),
ranked as (
    select *, row_number() over (
        partition by id order by _sequence desc, _batch_id desc, _file desc, _row desc
    ) as _recency
    from history
)
select * exclude (_recency), cast(null as text) as _cast_failures, current_timestamp::timestamp as _built_at
from ranked where _recency = 1
"""


def make_project(directory: Path) -> None:
    """A catalog with one table of ten columns, and our macros."""
    described = {"id": {"type": "integer"}, "amount": {"type": "decimal(12,2)"}}
    described |= {name: {"type": "text"} for name in COLUMNS}
    entry = {
        "source": "bench", "kind": "postgres", "priority": 1, "questions": ["?"], "requested_by": ["bench"],
        "owner": {"name": "bench", "email": "bench@example.com"}, "format": "rows", "history": "all",
        "update_every": "1 hour", "connection": {"url": {"secret": "bench"}},
        "streams": {"rows": {"table": "public.rows", "replication": "log_based", "primary_key": ["id"],
                             "columns": described}},
    }  # fmt: skip
    (directory / "catalog").mkdir()
    (directory / "catalog" / "bench.yml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    for part in ["dbt_project.yml", "profiles.yml", "models/staging/_groups.yml",
                 "models/staging/_columns.md", "models/staging/ledger/_ledger__sources.yml"]:  # fmt: skip
        (directory / "dbt" / part).parent.mkdir(parents=True, exist_ok=True)
        (directory / "dbt" / part).write_bytes((ROOT / "dbt" / part).read_bytes())
    (directory / "dbt" / "macros").symlink_to(ROOT / "dbt" / "macros")
    render(load_catalog(directory / "catalog"), directory)


def land(connection: duckdb.DuckDBPyConnection, batch: int, keys: str) -> None:
    """One batch of rows, one per key of a query."""
    values = ", ".join(f"((id * {n + 31} + {batch}) % 100003)::varchar as {c}" for n, c in enumerate(COLUMNS))
    connection.execute(
        f"""
        insert into landing.bench__rows by name
        select
            id::varchar as id, (id % 100000 / 100)::decimal(12, 2)::varchar as amount, {values},
            'update' as _operation, printf('%016x/%08x', {batch}, id) as _sequence,
            timestamp '2026-01-01' as _committed_at, timestamp '2026-01-01' as _extracted_at,
            timestamp '2026-01-01' as _stored_at,
            timestamp '2026-01-01' + interval ({batch}) minute as _loaded_at,
            printf('%010d', {batch}) as _batch_id, 'bench/{batch}' as _file, id as _row, 'run' as _run_id
        from ({keys}) as keys(id)
        """
    )


def compiled(dbt: Dbt) -> str:
    """The statement dbt makes of our macro for an incremental run."""
    dbt("compile", "--quiet")
    folder = dbt.target / "compiled/groundwork/models/staging/bench/base"
    return (folder / "base_bench__rows.sql").read_text(encoding="utf-8")


def timed(connection: duckdb.DuckDBPyConnection, statement: str) -> tuple[float, float, int]:
    """Best seconds of statement and merge, rolled back each time; and the rows it wrote."""
    best, rows = (9e9, 9e9), 0
    for _ in range(REPEATS):
        connection.execute("begin")
        started = time.perf_counter()
        connection.execute(f"create or replace temp table newest as {statement}")
        ranked = time.perf_counter()
        connection.execute(
            "merge into staging.base_bench__rows as old using newest on newest.id = old.id"
            " when matched then update by name when not matched then insert by name"
        )
        merged = time.perf_counter()
        rows = connection.execute("select count(*) from newest").fetchall()[0][0]
        connection.execute("rollback")
        best = min(best, (ranked - started, merged - ranked))
    return *best, rows


def main() -> None:
    """Measure tables of several sizes, each with some thousand changed keys."""
    print("  records    landed  changed |  A rank  merge |  B rank  merge | first")
    for records, versions in [(100_000, 1), (1_000_000, 1), (1_000_000, 5)]:
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            make_project(directory)
            file = directory / "warehouse.duckdb"
            dbt = Dbt(file, directory / "target", directory / "dbt")
            with open_duckdb(file, who="benchmark") as warehouse:
                prepare(load_catalog(directory / "catalog").values(), warehouse)
                for batch in range(1, versions + 1):
                    land(warehouse.connection, batch, f"select range from range({records})")
            started = time.perf_counter()
            dbt("run", "--quiet")
            first = time.perf_counter() - started
            with open_duckdb(file, who="benchmark") as warehouse:
                keys = f"select (range * 7919) % {records} from range({CHANGED})"
                land(warehouse.connection, versions + 1, keys)
            statement = compiled(dbt)
            with duckdb.connect(str(file)) as connection:
                connection.execute("set timezone = 'UTC'")
                texts = ", ".join(["amount", *COLUMNS])
                history = _BY_HISTORY.format(
                    columns=", ".join(["try_cast(amount as decimal(12, 2)) as amount", *COLUMNS]), texts=texts
                )
                a, b = timed(connection, history), timed(connection, statement)
                assert a[2] == b[2] == CHANGED, (a, b)
            print(
                f"{records:>9} {records * versions:>9} {CHANGED:>8} | {a[0]:7.3f} {a[1]:6.3f} |"
                f" {b[0]:7.3f} {b[1]:6.3f} | {first:.1f}"
            )


if __name__ == "__main__":
    main()
