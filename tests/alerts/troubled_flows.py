"""Flows that get into trouble, for the proof that each kind of it is told."""

from __future__ import annotations

import os
import resource
import signal
import time

from prefect import flow, get_run_logger


@flow(name="troubled", timeout_seconds=8)
def troubled(how: str) -> None:
    """Get into trouble in the way that is asked for; `well` is none."""
    get_run_logger().info("troubled how=%s pid=%d", how, os.getpid())
    if how == "kill":
        time.sleep(5)  # its log line is sent every half second; on a busy machine that takes a while
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "memory":
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, hard))
        try:
            len(bytearray(1 << 34))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    elif how == "fail":
        raise ValueError("password=hunter2-hunter2 of jane@example.org was refused")
    elif how == "slow":
        time.sleep(60)


@flow(name="endless")
def endless(how: str) -> None:
    """Never end, as a run whose other side has gone silent."""
    get_run_logger().info("endless how=%s pid=%d", how, os.getpid())
    if how == "hang":
        time.sleep(3600)
