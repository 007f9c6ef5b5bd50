"""A directory for temporary files that outlives no process for long.

A process that was killed leaves its directory behind, and killed runs must not fill the disk: whoever needs
a directory next removes those of the dead. The living are known by a lock on a file in theirs, which the
kernel takes from whoever dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groundwork.errors import GroundworkError

_PREFIX = "groundwork-"
_LOCK = "in-use"


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory of this process's own, gone afterwards.

    Raises:
        GroundworkError: when none can be made.
    """
    place = Path(tempfile.gettempdir())
    with told(place / "groundwork"):
        _sweep(place)
        directory = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True)
    with directory as name:
        with told(Path(name) / _LOCK):
            lock = _locked(Path(name) / _LOCK)
        try:
            yield Path(name)
        finally:
            os.close(lock)


def _locked(path: Path) -> int:
    soon = path.with_suffix(".soon")
    lock = os.open(soon, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Under this name only once it is locked: else somebody could take it for a dead one's.
    soon.rename(path)
    return lock


def _sweep(place: Path) -> None:
    """Remove the directories of processes that died; those of other users are theirs to remove."""
    for left in place.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            lock = os.open(left, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell a full disk as one.

    Raises:
        GroundworkError: when a file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise GroundworkError(
            str(path.parent),
            f"a temporary file cannot be written ({os.strerror(error.errno) if error.errno else error})",
            why="nothing was committed",
            fix="free space there, or set TMPDIR to a larger disk",
        ) from error
