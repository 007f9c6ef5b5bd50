"""Flows that get into trouble, for tests of what happens then."""

from __future__ import annotations

import os
import time

from prefect import flow, get_run_logger


@flow(name="wait-for-the-end")
def wait_for_the_end(source: str) -> None:
    """Say who we are, and wait to be killed."""
    get_run_logger().info("waiting pid=%d", os.getpid())
    time.sleep(300)
