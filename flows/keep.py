"""Keep: the bucket in good order, so that a replay stays quick."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.catalog import read_sources
from tasks.upkeep import compact_source, sweep_source


@flow(name="keep", flow_run_name="keep")
def keep(sweep: bool = False) -> None:
    """Merge small objects of every source; nothing that a replay needs is lost.

    Args:
        sweep: also remove objects that no manifest lists; else they are only counted.
    """
    for source in read_sources(pushed=True):
        compact_source(source)
        sweep_source(source, sweep)


if __name__ == "__main__":
    keep(sweep="--sweep" in sys.argv[1:])
