"""What became of each dbt node, kept in the bucket beside dbt's own artifacts.

dbt runs in one flow run and its results are exported in another, so they meet in the bucket:
``artifacts/dbt/<day>/<time>-<invocation>/`` holds ``manifest.json``, ``run_results.json`` and, written
last, ``records.jsonl``: what has no records was never finished, and is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from groundwork.bucket import Bucket
from groundwork.sources import Cursors
from groundwork.sources.pushed import Reached, Records

PREFIX = "artifacts/dbt"
FAILED = ("error", "fail", "runtime error")
NEWEST_MANIFEST = f"{PREFIX}/manifest.json"
"""The manifest of the newest invocation, for those who ask what depends on what."""


def store(bucket: Bucket, target: Path, *, run_id: str) -> list[dict[str, Any]]:
    """Keep the artifacts of dbt's last invocation.

    Args:
        bucket: where to.
        target: dbt's target directory, holding run_results.json and manifest.json.
        run_id: the flow run that ran dbt.

    Returns:
        One record per node, as they will reach landing.
    """
    results = json.loads((target / "run_results.json").read_bytes())
    nodes = json.loads((target / "manifest.json").read_bytes())
    records = [_record(results, result, nodes, run_id) for result in results["results"]]
    at = datetime.fromisoformat(results["metadata"]["generated_at"]).astimezone(UTC)
    invocation = results["metadata"]["invocation_id"]
    place = f"{PREFIX}/{at:%Y-%m-%d}/{at:%H%M%S}-{invocation}"
    bucket.put(f"{place}/manifest.json", target / "manifest.json")
    bucket.put(NEWEST_MANIFEST, target / "manifest.json")
    bucket.put(f"{place}/run_results.json", target / "run_results.json")
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    bucket.put(f"{place}/records.jsonl", lines.encode())
    return records


def built_relations(records: Iterable[dict[str, Any]]) -> list[str]:
    """``schema.name`` of every table and view that was built."""
    return [
        ".".join(part.strip('"') for part in str(record["relation_name"]).split(".")[-2:])
        for record in records
        if record["resource_type"] == "model" and record["status"] == "success" and record["relation_name"]
    ]


class DbtResults:
    """Hands over the records of every invocation that was not handed over before."""

    def __init__(self, bucket: Bucket) -> None:
        """Name the bucket that `store` wrote to."""
        self._bucket = bucket

    def __call__(self, cursors: Cursors) -> Iterator[Records | Reached]:
        """Yield one page per invocation.

        The cursor is a day and the names seen on it and the day before: what is stored late (a clock
        that is off, a slow upload) is still found, and the listing stays short.
        """
        cursor = cursors.get("dbt_results") or {}
        done = set(cursor.get("done", []))
        today = datetime.now(UTC).date()
        found = [key for key in self._keys(cursor.get("day"), today) if _name(key) not in done]
        for key in sorted(found):
            lines = self._bucket.get(key).decode().splitlines()
            moments = [_moment(json.loads(line)) for line in lines]
            yield Records("dbt_results", lines, key, moments)
        kept = {_name(key) for key in found} | done
        recent = sorted(name for name in kept if name[:10] >= (today - timedelta(days=1)).isoformat())
        yield Reached("dbt_results", {"day": today.isoformat(), "done": recent})

    def _keys(self, since: str | None, today: date) -> Iterator[str]:
        prefixes = [f"{PREFIX}/"]
        if since:
            first = date.fromisoformat(since) - timedelta(days=1)
            days = range((today - first).days + 2)
            prefixes = [f"{PREFIX}/{first + timedelta(days=n)}/" for n in days]
        for prefix in prefixes:
            for stored in self._bucket.list(prefix):
                if stored.key.endswith("/records.jsonl"):
                    yield stored.key


def _name(key: str) -> str:
    """``<day>/<time>-<invocation>`` of a key."""
    return "/".join(key.split("/")[2:4])


def _moment(record: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(record["completed_at"]) if record["completed_at"] else None


def _record(
    results: dict[str, Any], result: dict[str, Any], manifest: dict[str, Any], run_id: str
) -> dict[str, Any]:
    """One node's result, with what dbt leaves in other places put beside it."""
    unique_id = result["unique_id"]
    known = {**manifest.get("nodes", {}), **manifest.get("unit_tests", {})}
    node = known.get(unique_id, {})
    timing = {step["name"]: step for step in result.get("timing", [])}
    work = timing.get("execute") or timing.get("compile") or {}
    return {
        "invocation_id": results["metadata"]["invocation_id"],
        "generated_at": results["metadata"]["generated_at"],
        "flow_run_id": run_id or None,
        "unique_id": unique_id,
        "resource_type": node.get("resource_type") or unique_id.split(".")[0],
        "name": node.get("name") or unique_id.split(".")[-1],
        "relation_name": result.get("relation_name"),
        "status": str(result["status"]),
        "execution_time": result.get("execution_time"),
        "rows_affected": (result.get("adapter_response") or {}).get("rows_affected"),
        "failures": result.get("failures"),
        "message": result.get("message"),
        "started_at": work.get("started_at"),
        "completed_at": work.get("completed_at"),
    }


def failed_nodes(bucket: Bucket, run_id: str) -> list[str]:
    """Dbt's unique ids of what failed in a flow run of today or yesterday; empty when dbt did not run."""
    today = datetime.now(UTC).date()
    for day in (today, today - timedelta(days=1)):
        keys = [stored.key for stored in bucket.list(f"{PREFIX}/{day}/")]
        for key in sorted(keys, reverse=True):
            if not key.endswith("/records.jsonl"):
                continue
            records = [json.loads(line) for line in bucket.get(key).decode().splitlines()]
            if records and records[0]["flow_run_id"] == run_id:
                return [r["unique_id"] for r in records if r["status"] in FAILED]
    return []
