"""The bucket: keys to bytes, in S3 or in a plain directory, by one small protocol.

The one promise everything else stands on is `Bucket.put_if_absent`: of two writers of a key exactly one
succeeds, whole. Listings are used only where their order and completeness do not matter.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from groundwork.errors import BucketError, KeyChanged, KeyMissing, KeyTaken

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
        return LocalBucket(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Bucket(parts.netloc, parts.path.strip("/"), client or _own_client())
    raise BucketError(
        f"bucket '{url}'",
        "is not a bucket URL",
        fix="set GROUNDWORK_BUCKET to s3://<bucket>/<prefix> or file:///<directory>",
    )


def _own_client() -> S3Client:
    """The client of this process: to make one takes longer than all else in a run that finds nothing new."""
    found = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return _client_in(tuple(sorted(found.items())))


@lru_cache(maxsize=4)
def _client_in(_environment: tuple[tuple[str, str], ...]) -> S3Client:
    """A client made while the environment was this: botocore reads it once."""
    return s3_client()


def s3_client(**options: Any) -> S3Client:
    """An S3 client that retries what is safe to retry, and does not wait for ever.

    ``options`` go to botocore (``endpoint_url``, ``aws_access_key_id``, …); what is not given, it finds.
    boto3 around it would add uploads in parts, which nobody here makes, and a tenth of a second.
    """
    from botocore.config import Config
    from botocore.session import get_session

    endpoint = options.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL_S3")
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 4},
        # The manifest holds a sha256 of each object: a second checksum would protect nothing more.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A server that is not AWS seldom has a host name per bucket.
        s3={"addressing_style": "path"} if endpoint else {},
    )
    client: Any = get_session().create_client("s3", config=config, **options)
    return cast("S3Client", client)


class S3Bucket:
    """A bucket in S3, or in a server that speaks its protocol."""

    def __init__(self, name: str, prefix: str, client: S3Client) -> None:
        """Hold a client; nothing is sent before the first call."""
        self.url = f"s3://{name}/{prefix}".rstrip("/")
        self._name, self._client = name, client
        self._prefix = f"{prefix}/" if prefix else ""
        self._found = False

    def put(self, key: str, body: bytes | Path) -> None:  # noqa: D102
        with self._told(key):
            if isinstance(body, Path):
                with body.open("rb") as file:
                    self._client.put_object(Bucket=self._name, Key=self._prefix + key, Body=file)
            else:
                self._client.put_object(Bucket=self._name, Key=self._prefix + key, Body=body)

    def put_if_absent(self, key: str, body: bytes) -> None:  # noqa: D102
        try:
            with self._told(key):
                self._client.put_object(Bucket=self._name, Key=self._prefix + key, Body=body, IfNoneMatch="*")
        except KeyTaken:
            # The answer to our own put may have been lost and the put repeated: then it is ours.
            if self.get(key) != body:
                raise

    def replace(self, key: str, body: bytes, old: bytes) -> None:  # noqa: D102
        with self._told(key):
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
            found = answer["Body"].read()
        if found == body:
            return
        try:
            if found == old:
                with self._told(key):
                    self._client.put_object(
                        Bucket=self._name, Key=self._prefix + key, Body=body, IfMatch=answer["ETag"]
                    )
                return
        except KeyTaken:
            # The answer to our own put may have been lost and the put repeated.
            if self.get(key) == body:
                return
        raise _changed(self.url, key)

    def get(self, key: str) -> bytes:  # noqa: D102
        with self._told(key):
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
            return answer["Body"].read()

    def download(self, key: str, path: Path) -> None:  # noqa: D102
        with self._told(key):
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
            chunks = answer["Body"].iter_chunks(1 << 20)
            with _disk(path), path.open("wb") as file:
                while chunk := self._next(key, chunks):
                    file.write(chunk)

    def _next(self, key: str, chunks: Iterator[bytes]) -> bytes:
        with self._told(key):
            return next(chunks, b"")

    def exists(self, key: str) -> bool:  # noqa: D102
        try:
            with self._told(key):
                self._client.head_object(Bucket=self._name, Key=self._prefix + key)
        except KeyMissing:
            self._check_bucket()
            return False
        self._found = True
        return True

    def _check_bucket(self) -> None:
        """Tell a missing key from a missing bucket, once: HEAD answers both in the same way."""
        if not self._found:
            with self._told(""):
                self._client.list_objects_v2(Bucket=self._name, Prefix=self._prefix, MaxKeys=1)
            self._found = True

    def list(self, prefix: str) -> Iterator[StoredObject]:  # noqa: D102
        with self._told(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._name, Prefix=self._prefix + prefix):
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    yield StoredObject(key, found["Size"], found["LastModified"].astimezone(UTC))

    def delete(self, key: str) -> None:  # noqa: D102
        with self._told(key):
            self._client.delete_object(Bucket=self._name, Key=self._prefix + key)

    def purge(self, key: str) -> None:  # noqa: D102
        place = self._prefix + key
        with self._told(key):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._name, Prefix=place):
                kept: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                for version in kept:
                    if version["Key"] == place:
                        self._client.delete_object(
                            Bucket=self._name, Key=place, VersionId=version["VersionId"]
                        )

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turn what botocore raises into our own words."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.url}/{key}"
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in ("NoSuchKey", "404", "NotFound"):
                raise KeyMissing(where, "is not in the bucket") from error
            if status == 412 or code == "ConditionalRequestConflict":
                raise KeyTaken(where, "is stored already") from error
            if code == "NoSuchBucket":
                fix = f"create the bucket '{self._name}', or correct GROUNDWORK_BUCKET"
                raise BucketError(where, "the bucket does not exist", fix=fix) from error
            raise BucketError(
                where,
                f"the S3 server refused ({status} {code})",
                fix="check the credentials and their rights to get, put and list below this prefix",
            ) from error
        except (BotoCoreError, OSError) as error:
            raise BucketError(
                where,
                "the S3 server cannot be reached",
                why=type(error).__name__,
                fix="check AWS_ENDPOINT_URL_S3, the network and the credentials",
            ) from error


def _changed(url: str, key: str) -> KeyChanged:
    return KeyChanged(
        f"{url}/{key}", "was changed by another run meanwhile",
        fix="nothing: what that run did counts; run this again if it is still wanted",
    )  # fmt: skip


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Tell trouble with a file of ours from trouble with the server."""
    try:
        yield
    except OSError as error:
        raise BucketError(
            str(path), f"cannot be written ({error.strerror or type(error).__name__})",
            fix="free space there, or set TMPDIR to a larger disk",
        ) from error  # fmt: skip


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
        import fcntl

        with self._told(key), self._path(key).with_name(".draft-replacing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._path(key).read_bytes()
            if found not in (old, body):
                raise _changed(self.url, key)
            with self._written(key, body) as draft:
                draft.rename(self._path(key))

    def get(self, key: str) -> bytes:  # noqa: D102
        with self._told(key):
            return self._path(key).read_bytes()

    def download(self, key: str, path: Path) -> None:  # noqa: D102
        import shutil

        with self._told(key):
            shutil.copyfile(self._path(key), path)

    def exists(self, key: str) -> bool:  # noqa: D102
        with self._told(key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[StoredObject]:  # noqa: D102
        with self._told(prefix):
            below = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._directory
            for path in below.rglob("*"):
                key = path.relative_to(self._directory).as_posix()
                if key.startswith(prefix) and path.is_file() and not path.name.startswith(".draft-"):
                    state = path.stat()
                    yield StoredObject(key, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC))

    def delete(self, key: str) -> None:  # noqa: D102
        with self._told(key):
            self._path(key).unlink(missing_ok=True)

    def purge(self, key: str) -> None:  # noqa: D102
        self.delete(key)

    def _path(self, key: str) -> Path:
        path = self._directory / key
        if ".." in Path(key).parts or key.startswith("/"):
            raise BucketError(f"{self.url}/{key}", "a key cannot lead out of the bucket")
        return path

    @contextmanager
    def _written(self, key: str, body: bytes | Path) -> Iterator[Path]:
        """A complete, durable draft beside the key's place."""
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".draft-{uuid.uuid4().hex}"
        try:
            with draft.open("wb") as file:
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
