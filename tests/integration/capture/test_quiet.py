"""A run that finds nothing new leaves no trace: nothing in the bucket, nothing in the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from groundwork.load import load
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import Capture, Database


def files(directory: Path) -> dict[Path, tuple[int, int]]:
    """Every file below a directory: its size, and when it was last written."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_an_idle_run_puts_no_object_and_runs_no_statement_that_writes(
    capture: Callable[..., Capture], database: Database, tmp_path: Path
) -> None:
    database.sql("create table items (id int primary key); insert into items values (1), (2)")
    database.publish("items")
    source = capture(items=("public.items", ["id"]))
    source.run()
    bucket, warehouse = files(tmp_path / "bucket"), source.file.read_bytes()
    extracted = source.extract()
    # DuckDB refuses whatever would write to a file that is opened so.
    with open_duckdb(source.file, who="a test", read_only=True) as opened:
        loaded = load(source.entry, source.bucket, opened)
    assert (extracted.batches, loaded.batches) == ([], [])
    assert files(tmp_path / "bucket") == bucket
    assert source.file.read_bytes() == warehouse
