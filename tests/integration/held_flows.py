"""Flows whose runs take as long as a test wants."""

from __future__ import annotations

import hashlib
import os
import time

from prefect import flow, get_run_logger


@flow(name="hold", flow_run_name="hold")
def hold(seconds: float = 0, fail: bool = False) -> None:
    """Take a while."""
    time.sleep(seconds)
    if fail:
        raise RuntimeError("as the test wants")


@flow(name="tell", flow_run_name="tell")
def tell(variable: str) -> None:
    """Log the digest of an environment variable of this run."""
    get_run_logger().info("digest=%s", hashlib.sha256(os.environ[variable].encode()).hexdigest())


@flow(name="watch", flow_run_name="watch")
def watch() -> None:
    """As the platform's own, to whoever looks from outside: a run that ends."""
