"""Transform: landing becomes staging becomes visualization, tested on the way."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.dbt import build
from tasks.digests import keep_digests
from tasks.publish import publish_copy


@flow(name="transform", flow_run_name="transform")
def transform(select: str = "", task_per_node: bool = False) -> None:
    """Build and test dbt's models, unless nothing is new; a data test that fails, fails this run.

    Args:
        select: dbt's selection syntax; everything when empty.
        task_per_node: show every node as a task run in Prefect's timeline; much slower.
    """
    if build(select, task_per_node):
        keep_digests()
        publish_copy()


if __name__ == "__main__":
    transform(" ".join(sys.argv[1:]))
