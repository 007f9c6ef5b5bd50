"""Groundwork: extract, load and transform one source, with the steps that are asked for.

Argument: catalog (directory), source, bucket (URL), steps (of catalog, extract, load, replay, dbt); duckdb
(file) for load, replay and dbt; dbt (project directory). Prints what each step did, and its seconds and CPU.
Without the step ``catalog`` each step reads the catalog itself.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    asked = json.loads(sys.argv[1])
    said: dict[str, Any] = {}
    work = {"catalog": catalog, "extract": extract, "load": load, "replay": replay, "dbt": dbt}
    if asked.get("beyond_imports"):
        import_everything(asked)
    for step in asked["steps"]:
        said |= measured(step, lambda step=step: work[step](asked))
    print(json.dumps(said))


def measured(step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began, cpu = time.perf_counter(), cpu_seconds()
    said = work()
    spent = {"wall": time.perf_counter() - began, "cpu": cpu_seconds() - cpu}
    return {f"{step}_{name}": value for name, value in (said | spent).items()}


def cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def import_everything(asked: dict[str, Any]) -> None:
    """What an idle run needs anyway: its work is told apart from its imports."""
    import boto3.session
    import polars
    import pyarrow.parquet

    import groundwork.extract
    import groundwork.idle
    import groundwork.load
    import groundwork.sources.postgres
    import groundwork.warehouses.duckdb
    from groundwork.bucket import open_bucket

    # botocore loads its description of S3 (JSON) for the process's client: an import in all but name
    open_bucket(asked["bucket"])
    assert boto3 and polars and pyarrow and groundwork.extract and groundwork.load


def catalog(asked: dict[str, Any]) -> dict[str, Any]:
    asked["entry"] = entry_of(asked)
    return {"streams": len(asked["entry"].streams)}


def entry_of(asked: dict[str, Any]) -> Any:
    from groundwork.catalog import load_catalog

    return asked.get("entry") or load_catalog(Path(asked["catalog"]))[asked["source"]]


def extract(asked: dict[str, Any]) -> dict[str, Any]:
    from groundwork.bucket import open_bucket
    from groundwork.extract import extract, open_source
    from groundwork.settings import resolve_from_environment

    entry = entry_of(asked)
    bucket = open_bucket(asked["bucket"])
    done = extract(entry, open_source(entry, resolve_from_environment, bucket), bucket)
    return {"rows": sum(done.rows.values()), "batches": len(done.batches), "bytes": done.bytes}


def load(asked: dict[str, Any]) -> dict[str, Any]:
    from groundwork.bucket import open_bucket
    from groundwork.idle import load_if_new
    from groundwork.settings import Settings
    from groundwork.warehouses.duckdb import open_duckdb

    os.environ["GROUNDWORK_DUCKDB_PATH"] = asked["duckdb"]
    settings = Settings()
    entry = entry_of(asked)
    done = load_if_new(
        entry, open_bucket(asked["bucket"]), settings, lambda: open_duckdb(settings.duckdb_file, who="bench")
    )
    return {"rows": sum(done.rows.values()), "batches": len(done.batches)}


def replay(asked: dict[str, Any]) -> dict[str, Any]:
    from groundwork.bucket import open_bucket
    from groundwork.replay import replay
    from groundwork.warehouses.duckdb import open_duckdb

    entry = entry_of(asked)
    file = Path(asked["duckdb"])
    done = replay(entry, open_bucket(asked["bucket"]), lambda: open_duckdb(file, who="bench"))
    return {"rows": sum(done.rows.values()), "batches": len(done.batches)}


def dbt(asked: dict[str, Any]) -> dict[str, Any]:
    from dbt.cli.main import dbtRunner

    os.environ["GROUNDWORK_DUCKDB_PATH"] = asked["duckdb"]
    place = ["--project-dir", asked["dbt"], "--profiles-dir", asked["dbt"]]
    quiet = ["--quiet", "--no-use-colors", "--log-level-file", "none"]
    done = dbtRunner().invoke([*quiet, "build", "--exclude-resource-type", "unit_test", *place])
    if not done.success:
        raise SystemExit(f"dbt build failed: {done.exception or [r.message for r in done.result]}")
    return {"nodes": len(done.result)}


if __name__ == "__main__":
    main()
