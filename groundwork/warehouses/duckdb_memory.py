"""Memory that DuckDB may use while it lands batches: derived from machine and container, or set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundwork.warehouses import LandingBatch

_CGROUP = Path("/sys/fs/cgroup")
_THREADS, _PER_THREAD = 4, 150_000_000
"""While landing usual rows: threads at most, and bytes for each."""
_SHARES = (0.65, 0.8)
"""Parts of the memory that DuckDB may have for other rows. The rest is for Python, Arrow and what DuckDB does
not count, which is more for many columns than for one large value."""
_SEGMENT = 256 << 10
"""Bytes that each thread holds for each column, until a group of rows is full."""


@dataclass(frozen=True)
class Bounds:
    """What a load may use."""

    threads: int
    memory: int
    """Bytes."""


def bounds(columns: int, setting: int | None) -> Iterator[Bounds]:
    """What a load is tried with, one after the other while memory does not suffice.

    Narrow rows get little, so that many loads can run beside each other. For wide rows and large values it is
    one thread, and what can be spared.

    Args:
        columns: of the widest object.
        setting: bytes, as `Settings.duckdb_memory` says; derived when None.
    """
    threads = min(os.cpu_count() or 1, _THREADS)
    if 2 * columns * _SEGMENT < _PER_THREAD:
        usual = threads * _PER_THREAD
        yield Bounds(threads, min(usual, setting) if setting else usual)
    if setting:
        yield Bounds(1, setting)
        return
    there = available()
    yield from (Bounds(1, int(share * there)) for share in _SHARES)


def unpacked(batches: Sequence[LandingBatch]) -> int:
    """Bytes of the objects of a group, as they are without compression."""
    import pyarrow.parquet as pq

    total = 0
    for path in {found.file() for batch in batches for found in batch.objects}:
        footer = pq.read_metadata(path)
        total += sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    return total


def available() -> int:
    """Bytes of memory that this process can have: the machine's, or its container's if that has fewer."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_container_limits()])


def _container_limits(root: Path = _CGROUP, process: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Limits of the control groups that this process is in, and of those above them (versions 1 and 2)."""
    limits = []
    try:
        lines = process.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            places = [(root, "memory.max"), (root / "unified", "memory.max")]
        elif "memory" in controllers.split(","):
            places = [(root / "memory", "memory.limit_in_bytes")]
        else:
            continue
        for top, name in places:
            # Inside a container the path may be the host's; the container's own group is then the top.
            inside = top / path.lstrip("/")
            for group in {top, inside, *(up for up in inside.parents if up.is_relative_to(top))}:
                limits += _limit(group / name)
    return limits


def _limit(file: Path) -> list[int]:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return []
    return [int(text)] if text.isdecimal() else []  # "max" is none
