"""Was the result right? A fast wrong answer is not a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.ground import Database, Ground
from benchmarks.measure import BenchError
from benchmarks.workloads import Workload


def digest_sql(workload: Workload, rows: str) -> str:
    """The same digest as `Database.digest`, in DuckDB, over a relation with text columns."""
    columns = ['"' + name + '"' for name in workload.columns]
    text = " || '|' || ".join(f"coalesce({name}, '')" for name in columns)
    nulls = " + ".join(f"({name} is null)::int" for name in columns)
    return (
        f"select count(*), coalesce(sum(('0x' || left(md5({text} || '|' || ({nulls})), 15))::bigint), 0)"
        f" from {rows}"
    )


def newest(workload: Workload, rows: str) -> str:
    """Rows of landed versions that are alive at the end."""
    return (
        f"(select * from {rows} where _operation <> 'truncate'"
        f' qualify row_number() over (partition by "{workload.key}" order by _sequence desc) = 1)'
        " where _operation <> 'delete'"
    )


LANDED = "(select * from {rows} where _operation <> 'truncate')"
"""Relation of every row that was read as such."""


def digest_of(workload: Workload, files: list[str], relation: str) -> list[int]:
    """Rows and digest of Parquet files; ``{rows}`` in ``relation`` stands for all their rows."""
    rows = relation.replace("{rows}", f"read_parquet({files!r}, union_by_name = true)")
    with duckdb.connect() as connection:
        found = connection.execute(digest_sql(workload, rows)).fetchone()
    return [int(n) for n in found or []]


def changes_are_right(ground: Ground, database: Database, bucket_url: str) -> None:
    """Snapshot and changes in the bucket give the table as it is now, to the letter.

    Raises:
        BenchError: when they do not.
    """
    workload = database.workload
    with ground.directory() as directory:
        files = [str(path) for path in ground.initial_bucket(database).rglob("*.parquet")]
        files += fetched(ground, bucket_url, directory)
        found = digest_of(workload, files, newest(workload, "{rows}"))
    same(f"rows and digest of {workload.name}", ground.facts(database)["digest"], found)


def fetched(ground: Ground, bucket_url: str, directory: Path) -> list[str]:
    """All Parquet files below a bucket URL, downloaded."""
    bucket, _, prefix = bucket_url.removeprefix("s3://").partition("/")
    files = []
    for number, key in enumerate(ground.keys(prefix)):
        if key.endswith(".parquet"):
            path = directory / f"{number}.parquet"
            ground.s3.client().download_file(bucket, key, str(path))
            files.append(str(path))
    return files


def parquet_rows(ground: Ground, bucket_url: str, below: str = "") -> int:
    """Rows of all Parquet files below a bucket URL whose key holds ``below``."""
    bucket, _, prefix = bucket_url.removeprefix("s3://").partition("/")
    rows = 0
    with ground.directory() as directory, duckdb.connect() as connection:
        for key in ground.keys(prefix):
            if key.endswith(".parquet") and below in key:
                path = directory / "one.parquet"
                ground.s3.client().download_file(bucket, key, str(path))
                found = connection.execute(
                    "select sum(num_rows) from parquet_file_metadata(?)", [str(path)]
                ).fetchone()
                rows += int(found[0] or 0) if found else 0
    return rows


def same(what: str, expected: Any, found: Any) -> None:
    """Hold a result against what it must be.

    Raises:
        BenchError: when they differ.
    """
    if isinstance(expected, Sequence):
        expected, found = list(expected), list(found)
    if expected != found:
        raise BenchError(f"{what}: expected {expected}, found {found}")
