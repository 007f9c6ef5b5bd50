"""Whether this container does its work; asked by Docker every half minute.

A worker answers on its own port, and says no when it has not asked for work for too long. A run of a pool
and a function of Lambda are healthy as long as they are there: Prefect and Lambda watch them by other means.
Only the standard library: it runs in a few hundredths of a second, without site-packages.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path


def is_worker(command: bytes) -> bool:
    """Whether a command line, as /proc shows it, is that of a Prefect worker with its health server."""
    words = command.split(b"\0")
    return b"worker" in words and b"--with-healthcheck" in words


def worker_is_well(port: int) -> bool:
    """Ask the worker's health server."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # it does not answer, or answers 503
        return False


def main() -> int:
    """0 when well, 1 when not: Docker's convention."""
    if not is_worker(Path("/proc/1/cmdline").read_bytes()):
        return 0
    return 0 if worker_is_well(int(os.environ.get("PREFECT_WORKER_WEBSERVER_PORT", "8080"))) else 1


if __name__ == "__main__":
    sys.exit(main())
