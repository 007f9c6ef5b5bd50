"""One writer at a time: the queue in front of a DuckDB file, for all processes of a machine.

See docs/decisions/0004-one-writer.md.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from groundwork.errors import WarehouseBusy

log = logging.getLogger(__name__)

LONGEST_WAIT = 3600.0
"""Seconds a writer queues before it gives up."""


@contextmanager
def writer_lock(file: Path, who: str, *, wait: float = LONGEST_WAIT) -> Iterator[None]:
    """Hold the warehouse file for writing; wait for the turn and say so.

    Args:
        file: the DuckDB file.
        who: for whom, told to others that wait.
        wait: seconds to wait at most.

    Raises:
        WarehouseBusy: when the turn does not come in time.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    holder = file.with_name(file.name + ".holder")
    lock = FileLock(file.with_name(file.name + ".lock"))
    started, told = time.monotonic(), -60.0
    while True:
        try:
            lock.acquire(timeout=2, poll_interval=0.02)
            break
        except Timeout:
            waited = time.monotonic() - started
            if waited - told >= 30:
                log.info("waiting for warehouse=%s held_by=%s seconds=%.0f", file.name, _read(holder), waited)
                told = waited
            if waited > wait:
                raise WarehouseBusy(
                    str(file),
                    f"is still held after {wait:.0f} seconds",
                    why=f"held by {_read(holder)}",
                    fix="wait for that run, or end it",
                ) from None
    try:
        holder.write_text(f"{who} (process {os.getpid()})", encoding="utf-8")
        yield
    finally:
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:
        return "another process"
