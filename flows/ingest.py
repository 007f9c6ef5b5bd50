"""Ingest: one source, from where it is to landing."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.extract import extract_source
from tasks.load import load_source
from tasks.reports import report_ingest


@flow(name="ingest", flow_run_name="ingest-{source}")
def ingest(source: str, refresh: list[str] | None = None, full_refresh: bool = False) -> None:
    """Extract what is new of a source into the bucket, and load it into landing.

    A stream that cannot be read or loaded is left out, and makes the run fail once all others are loaded.

    Args:
        source: its name in the catalog.
        refresh: streams to read again from the beginning, beside what is new of the others.
        full_refresh: read all of them again.
    """
    extracted = extract_source(source, refresh, full_refresh)
    loaded = load_source(source)
    report_ingest(extracted, loaded)
    extracted.insist(loaded.complaints)
    loaded.insist_matched()


if __name__ == "__main__":
    ingest(sys.argv[1])
