"""The bucket: keys to bytes, in S3 or in a plain directory, by one small protocol.

The one promise everything else stands on is `Bucket.put_if_absent`: of two writers of a key exactly one
succeeds, whole. Listings are used only where their order and completeness do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from groundwork.errors import BucketError, KeyChanged

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class StoredObject:
    """One line of a listing: key below the bucket's URL, bytes, time of the last write (UTC)."""

    key: str
    size: int
    modified: datetime


class Bucket(Protocol):
    """Keys to bytes. Every method raises `BucketError` when the bucket cannot be reached."""

    url: str

    def put(self, key: str, body: bytes | Path) -> None:
        """Store bytes, or a file's, under a key; a reader sees all of it or nothing."""

    def put_if_absent(self, key: str, body: bytes) -> None:
        """Store bytes unless the key is taken. Safe to repeat with the same bytes.

        Raises:
            KeyTaken: when other bytes are stored there.
        """

    def replace(self, key: str, body: bytes, old: bytes) -> None:
        """Store bytes in place of others, unless somebody was faster. Safe to repeat with the same bytes.

        Raises:
            KeyChanged: when neither ``old`` nor ``body`` is stored there.
        """

    def get(self, key: str) -> bytes:
        """The bytes under a key.

        Raises:
            KeyMissing: when there are none.
        """

    def download(self, key: str, path: Path) -> None:
        """Copy the bytes under a key to a file.

        Raises:
            KeyMissing: when there are none.
        """

    def exists(self, key: str) -> bool:
        """Whether the key holds bytes."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose key starts with ``prefix``, in no order."""

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens when it is absent."""

    def remove_unfinished(self) -> int:
        """Remove what killed writers left of puts that never ended; how many there were."""

    def purge(self, key: str) -> None:
        """Remove a key and whatever versions the bucket keeps of it: nobody can get it back."""


def open_bucket(url: str, client: S3Client | None = None) -> Bucket:
    """Open ``s3://bucket/prefix`` or ``file:///directory``.

    Args:
        url: where the bucket is.
        client: an S3 client to use; by default botocore finds credentials, region and endpoint itself.

    Raises:
        BucketError: for another kind of URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path:
        from groundwork.bucket.local import LocalBucket

        return LocalBucket(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from groundwork.bucket.s3 import S3Bucket, own_client

        return S3Bucket(parts.netloc, parts.path.strip("/"), client or own_client())
    raise BucketError(
        f"bucket '{url}'",
        "is not a bucket URL",
        fix="set GROUNDWORK_BUCKET to s3://<bucket>/<prefix> or file:///<directory>",
    )


def changed(url: str, key: str) -> KeyChanged:
    """What `Bucket.replace` raises."""
    return KeyChanged(
        f"{url}/{key}", "was changed by another run meanwhile",
        fix="nothing: what that run did counts; run this again if it is still wanted",
    )  # fmt: skip
