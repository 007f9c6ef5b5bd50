"""Export: the platform's own runs, log lines and dbt results, through the pipe they tell of."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.extract import extract_history
from tasks.load import load_source
from tasks.reports import report_ingest


@flow(name="export-logs", flow_run_name="export-logs")
def export_logs(settle_seconds: float = 30) -> None:
    """Read what is new in Prefect's history and in dbt's results, and load it into landing.

    Args:
        settle_seconds: how long log lines are left alone; what comes later is found all the same, by
            looking again at the last minutes.
    """
    extracted = extract_history(settle_seconds)
    loaded = load_source("ops")
    report_ingest(extracted, loaded)
    loaded.insist()


if __name__ == "__main__":
    export_logs(*map(float, sys.argv[1:]))
