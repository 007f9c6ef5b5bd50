"""The bucket in a plain directory."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO

from groundwork.bucket import StoredObject, changed
from groundwork.bucket.files import written
from groundwork.errors import BucketError, KeyMissing, KeyTaken

_DRAFT = ".draft-"
"""What the names of unfinished files begin with; listings leave them out."""
_REPLACING = f"{_DRAFT}replacing"
_YOUNG = 60.0
"""Seconds in which a draft may not be locked yet."""


class LocalBucket:
    """A bucket in a plain directory of one machine."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; it is made at the first write."""
        self.url = directory.absolute().as_uri()
        self._directory = directory.absolute()

    def put(self, key: str, body: bytes | Path) -> None:  # noqa: D102
        with self._told(key), self._written(key, body) as draft:
            draft.rename(self._path(key))

    def put_if_absent(self, key: str, body: bytes) -> None:  # noqa: D102
        with self._told(key), self._written(key, body) as draft:
            try:
                # A hard link is all or nothing and fails when the name is taken; open(…, "x") could
                # leave a half-written file under the key.
                os.link(draft, self._path(key))
            except FileExistsError as error:
                if self._path(key).read_bytes() != body:
                    raise KeyTaken(f"{self.url}/{key}", "is stored already") from error

    def replace(self, key: str, body: bytes, old: bytes) -> None:  # noqa: D102
        with self._told(key), self._path(key).with_name(_REPLACING).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._path(key).read_bytes()
            if found not in (old, body):
                raise changed(self.url, key)
            with self._written(key, body) as draft:
                draft.rename(self._path(key))

    def get(self, key: str) -> bytes:  # noqa: D102
        with self._told(key):
            return self._path(key).read_bytes()

    def download(self, key: str, path: Path) -> None:  # noqa: D102
        with self._told(key):
            stored = self._path(key).open("rb")
        with stored, written(path), path.open("wb") as file:
            while chunk := self._next(key, stored):
                file.write(chunk)

    def _next(self, key: str, stored: IO[bytes]) -> bytes:
        with self._told(key):
            return stored.read(1 << 20)

    def exists(self, key: str) -> bool:  # noqa: D102
        with self._told(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[StoredObject]:  # noqa: D102
        with self._told(prefix):
            below = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._directory
            for path in _files(below):
                key = path.relative_to(self._directory).as_posix()
                if key.startswith(prefix) and not path.name.startswith(_DRAFT):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        state = path.stat()
                        yield StoredObject(key, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC))

    def delete(self, key: str) -> None:  # noqa: D102
        with self._told(key):
            place = self._path(key)
            place.unlink(missing_ok=True)
            for above in place.parents:  # a batch that was compacted leaves no empty directory
                if above == self._directory:
                    break
                try:
                    above.rmdir()
                except OSError:
                    break

    def purge(self, key: str) -> None:  # noqa: D102
        self.delete(key)

    def remove_unfinished(self) -> int:  # noqa: D102
        removed = 0
        with self._told(""):
            for draft in _files(self._directory):
                # The lock of `replace` holds no rows, and who waits for it must not lock another file.
                ours = draft.name.startswith(_DRAFT) and draft.name != _REPLACING
                removed += ours and _removed_if_dead(draft)
        return removed

    def _path(self, key: str) -> Path:
        path = self._directory / key
        if ".." in Path(key).parts or key.startswith("/"):
            raise BucketError(f"{self.url}/{key}", "a key cannot lead out of the bucket")
        return path

    @contextmanager
    def _written(self, key: str, body: bytes | Path) -> Iterator[Path]:
        """A complete, durable draft beside the key's place."""
        target = self._path(key)
        draft = target.parent / f"{_DRAFT}{uuid.uuid4().hex}"
        try:
            with _opened(draft) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # what nobody locks was left by a killed process
                file.write(body.read_bytes() if isinstance(body, Path) else body)
                file.flush()
                os.fsync(file.fileno())
                yield draft
            directory = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        where = f"{self.url}/{key}"
        try:
            yield
        except (FileNotFoundError, IsADirectoryError) as error:
            raise KeyMissing(where, "is not in the bucket") from error
        except OSError as error:
            raise BucketError(
                where,
                f"the directory refused ({error.strerror or type(error).__name__})",
                fix="check free space and rights of the bucket's directory",
            ) from error


def _files(below: Path) -> Iterator[Path]:
    """All files below a directory; directories may be deleted meanwhile."""

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for place, _, names in os.walk(below, onerror=refused):
        yield from (Path(place, name) for name in names)


def _opened(draft: Path) -> BinaryIO:
    """A new file; `delete` may take its empty directory away until it is there."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            draft.parent.mkdir(parents=True, exist_ok=True)
            return draft.open("wb")
    draft.parent.mkdir(parents=True, exist_ok=True)
    return draft.open("wb")


def _removed_if_dead(draft: Path) -> bool:
    """Remove a draft whose writer is gone; whether it was."""
    try:
        if time.time() - draft.stat().st_mtime < _YOUNG:
            return False
        with draft.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()
    except (FileNotFoundError, BlockingIOError):
        return False
    return True
