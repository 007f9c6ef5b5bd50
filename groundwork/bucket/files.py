"""Files of ours that objects are written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groundwork.errors import BucketError


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Tell trouble with a file of ours from trouble with the bucket."""
    try:
        yield
    except OSError as error:
        raise BucketError(
            str(path),
            f"cannot be written ({error.strerror or type(error).__name__})",
            fix="free space there, or set TMPDIR to a larger disk",
        ) from error
