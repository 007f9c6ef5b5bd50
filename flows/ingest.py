"""Ingest: one source, from where it is to landing."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.extract import extract_source
from tasks.load import load_source
from tasks.reports import report_ingest


@flow(name="ingest", flow_run_name="ingest-{source}")
def ingest(source: str) -> None:
    """Extract what is new of a source into the bucket, and load it into landing.

    Args:
        source: its name in the catalog.
    """
    extracted = extract_source(source)
    loaded = load_source(source)
    report_ingest(extracted, loaded)


if __name__ == "__main__":
    ingest(sys.argv[1])
