"""What a run leaves behind for people: artifacts beside it in Prefect's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from groundwork.escaping import markdown_text

if TYPE_CHECKING:
    from groundwork.extract import Extracted
    from groundwork.landing import Loaded


@task(task_run_name="report-{extracted.source}")
def report_ingest(extracted: Extracted, loaded: Loaded) -> None:
    """Tell rows per stream and operation, and what to worry about; nothing when there is nothing."""
    worries = [*extracted.complaints, *loaded.complaints, extracted.slot.get("concern", "")]
    worries += [mark.complaint for mark in loaded.unmatched.values()]
    if not (extracted.rows or loaded.rows or any(worries)):
        return
    streams = sorted(set(extracted.rows) | set(loaded.rows))
    rows: list[dict[str, Any]] = [
        {"stream": s, "extracted": extracted.rows.get(s, 0), "loaded": loaded.rows.get(s, 0)} for s in streams
    ]
    operations = ", ".join(f"{n:,} {name}" for name, n in sorted(extracted.operations.items()))
    lines = [
        f"**{markdown_text(extracted.source)}**: {operations or 'nothing new'}",
        *(f"**Attention**: {markdown_text(worry)}" for worry in worries if worry),
        f"{len(extracted.batches)} batches extracted in {extracted.seconds:.1f} s"
        f", {len(loaded.batches)} loaded in {loaded.seconds:.1f} s",
        "| stream | extracted | loaded |\n| --- | ---: | ---: |\n"
        + "\n".join(f"| {r['stream']} | {r['extracted']:,} | {r['loaded']:,} |" for r in rows),
    ]
    create_markdown_artifact("\n\n".join(lines), key=f"ingest-{extracted.source.replace('_', '-')}")
    create_table_artifact(rows, key=f"rows-{extracted.source.replace('_', '-')}")


@task(task_run_name="report-dbt")
def report_dbt(records: list[dict[str, Any]]) -> None:
    """Tell what became of every node, what went wrong first."""
    shown = ("name", "resource_type", "status", "execution_time", "rows_affected", "failures")
    rank = {"error": 0, "fail": 0, "runtime error": 0, "warn": 1, "skipped": 2}
    ordered = sorted(records, key=lambda r: (rank.get(r["status"], 3), -(r["execution_time"] or 0)))
    create_table_artifact([{name: r[name] for name in shown} for r in ordered], key="dbt-results")
