"""DuckDB's errors as ours: a full disk, a damaged file, too little memory, a statement that is refused.

DuckDB is asked for its errors as JSON (`errors_as_json`), because only there it says the number of an error
of the operating system. A commit that fails has lost that number, see `of_commit`.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from groundwork.errors import LackOfMemory, WarehouseError, WarehouseUnusable

_FULL = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
REPLAY = (
    "the bucket has everything: move the file away, then: python -m groundwork replay"
    " (docs/runbooks.md); and look at the disk it was on"
)


@contextmanager
def told(file: Path, *, objects: bool = False) -> Iterator[None]:
    """Raise DuckDB's errors as ours.

    Args:
        file: the warehouse.
        objects: whether files of objects are read too, which may be what cannot be read.

    Raises:
        WarehouseUnusable: when the disk is full, or the file is damaged.
        LackOfMemory: when memory does not suffice.
        WarehouseError: when a statement is refused.
    """
    try:
        yield
    except duckdb.Error as error:
        raise translated(error, file, objects=objects) from error


def translated(error: duckdb.Error, file: Path, *, objects: bool = False) -> WarehouseError:
    """What a person is told of an error of DuckDB."""
    said = _said(error)
    why, number = str(said.get("exception_message", error)).splitlines()[0][:300], int(said.get("errno", 0))
    if number in _FULL:
        return full(file, why)
    if number:
        return WarehouseUnusable(
            str(file),
            f"cannot be read or written ({os.strerror(number)})",
            why=why,
            fix="check the disk and the rights; nothing was written by the statement",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return LackOfMemory(
            str(file),
            "needs more memory than it may use",
            why=why,
            fix="give the process more, or set GROUNDWORK_DUCKDB_MEMORY (for example '4 GB')",
        )
    damaged = (duckdb.FatalException, duckdb.InternalException)
    cannot_be_read = isinstance(error, duckdb.IOException) and not objects
    if type(error) is duckdb.Error or isinstance(error, damaged) or cannot_be_read:
        return WarehouseUnusable(str(file), "is damaged, or cannot be read", why=why, fix=REPLAY)
    return WarehouseError(
        str(file), f"a statement failed ({type(error).__name__})", why=why, fix="nothing was written by it"
    )


def full(file: Path, why: str) -> WarehouseUnusable:
    """What a person is told of a full disk."""
    return WarehouseUnusable(
        str(file),
        "cannot be written, because a disk is full",
        why=why,
        fix="free space there; nothing was written by the statement, and the next run goes on",
    )


def of_commit(error: duckdb.Error, file: Path, size: int) -> WarehouseError:
    """What a person is told of a commit that failed.

    DuckDB names neither kind nor number of its cause, so it is looked whether the disk had room: a file of
    the size of what was to be written is reserved beside the warehouse.

    Args:
        error: DuckDB's.
        file: the warehouse.
        size: bytes that were to be written, about.
    """
    if not isinstance(error, duckdb.TransactionException):
        return translated(error, file)
    why = str(_said(error).get("exception_message", error)).splitlines()[0][:300]
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".room-for-{file.name}-") as probe:
            os.posix_fallocate(probe.fileno(), 0, max(size, 1 << 20))
    except OSError as cause:
        if cause.errno in _FULL:
            return full(file, why)
    return LackOfMemory(
        str(file),
        "needs more memory than it may use",
        why=why,
        fix="give the process more, or set GROUNDWORK_DUCKDB_MEMORY (for example '4 GB')",
    )


def _said(error: duckdb.Error) -> dict[str, str]:
    """The error as JSON; empty for one that came before DuckDB was asked for that."""
    text = str(error)
    try:
        said: dict[str, str] = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
