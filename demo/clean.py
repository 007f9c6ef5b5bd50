"""``make clean``: remove what ran here, but never under a running platform; standard library only."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path

HOME = ".groundwork"
LOCK = "platform.lock"
LEFT = (HOME, "dbt/target", "dbt/logs", "logs")


def main() -> int:
    """Remove it; 1, and nothing is touched, while a platform holds its lock."""
    lock = Path(HOME) / LOCK
    descriptor = os.open(lock, os.O_RDWR) if lock.exists() else None
    if descriptor is not None:
        try:  # kept until the end: no platform starts while its files go
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"make clean: a platform is running in {HOME}; stop it first (Ctrl-C where it was started)",
                file=sys.stderr,
            )
            return 1
    for place in LEFT:
        shutil.rmtree(place, ignore_errors=True)
    if Path(HOME).exists():
        print(f"make clean: {HOME} could not be removed whole; is it another user's?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
