"""Batches of a small shop in a bucket, as extraction leaves them: what both warehouses are filled from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.manifest import METADATA, Manifest, StoredRows
from groundwork.objects import OpenObject

STARTED = datetime(2026, 1, 3)
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def commit(bucket: Bucket, directory: Path, source: str, batch_id: int, rows: Rows) -> Manifest:
    """One batch: per stream, rows as columns by name; metadata that is not given is made up."""
    name = manifest.batch_name(batch_id)
    at = STARTED + timedelta(minutes=batch_id)
    objects = []
    for stream, given in rows.items():
        frame = _frame(given, batch_id, at)
        path = directory / f"{source}-{stream}-{name}.parquet"
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        draft = OpenObject(path, table.schema)
        draft.append(table)
        sha256 = draft.close()
        key = f"{source}/data/{stream}/{name}/part-00000.parquet"
        bucket.put(key, path)
        objects.append(
            StoredRows(
                stream=stream, key=key, rows=draft.rows, bytes=path.stat().st_size, sha256=sha256,
                columns=[column for column in frame.columns if column not in METADATA],
                operations=dict(draft.operations),
            )
        )  # fmt: skip
    batch = Manifest(
        source=source, batch_id=batch_id, cursors={}, objects=objects,
        started_at=at, stored_at=at, run_id=f"run-{batch_id}",
    )  # fmt: skip
    manifest.commit(bucket, batch)
    return batch


def _frame(given: Sequence[Mapping[str, Any]], batch_id: int, at: datetime) -> pl.DataFrame:
    whole = []
    for number, row in enumerate(given):
        made: dict[str, Any] = {
            "_operation": "insert",
            "_sequence": f"{batch_id:016x}/{2 * number:08x}",
            "_unchanged": None,
            "_committed_at": at,
            "_extracted_at": at,
        }
        made |= row
        if "record" in made and not isinstance(made["record"], str):
            made["record"] = json.dumps(made["record"])
        whole.append(made)
    own = dict.fromkeys(name for row in whole for name in row if name not in METADATA)
    kinds = dict.fromkeys([*own, "_operation", "_sequence", "_unchanged"], pl.String)
    schema = kinds | dict.fromkeys(("_committed_at", "_extracted_at"), pl.Datetime("us"))
    return pl.DataFrame(
        [{name: row.get(name) for name in schema} for row in whole], schema=schema, orient="row"
    )
