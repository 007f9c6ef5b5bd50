"""Replay: landing once more, from the bucket alone."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.load import replay_source


@flow(name="replay", flow_run_name="replay-{source}")
def replay(source: str) -> None:
    """Empty a source's landing tables and load every batch again; the source is not asked.

    Args:
        source: its name in the catalog.
    """
    replay_source(source)


if __name__ == "__main__":
    replay(sys.argv[1])
