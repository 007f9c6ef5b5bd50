"""Pipeline: everything once, in one process; what the schedules do over a day."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from prefect import flow

from flows.export_logs import export_logs
from flows.ingest import ingest
from flows.transform import transform
from groundwork.errors import ChangesUnmatched, StreamsQuarantined, UpdatesRefused
from tasks.catalog import read_sources


@flow(name="pipeline", flow_run_name="pipeline")
def pipeline() -> None:
    """Ingest every source, transform, export the logs of that, and transform those.

    Sources are read side by side, the most wanted first; their loads queue for the warehouse.
    """
    with ThreadPoolExecutor(thread_name_prefix="ingest") as pool:
        runs = [pool.submit(copy_context().run, ingest, source) for source in read_sources()]
    failed: list[Exception] = []
    for run in runs:
        try:
            run.result()
        except (
            ChangesUnmatched,
            StreamsQuarantined,
            UpdatesRefused,
        ) as error:  # all that can be read is loaded
            failed.append(error)
    transform()
    export_logs(settle_seconds=0)
    transform(select="source:ops+")
    if failed:
        raise failed[0]


if __name__ == "__main__":
    pipeline()
