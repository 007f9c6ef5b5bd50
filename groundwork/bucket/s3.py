"""The bucket in S3, or in any server that speaks its protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from groundwork.bucket import StoredObject, changed
from groundwork.bucket.files import written
from groundwork.errors import BucketError, KeyMissing, KeyTaken

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client


def own_client() -> S3Client:
    """The client of this process: to make one takes longer than all else in a run that finds nothing new."""
    found = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return _client_in(tuple(sorted(found.items())))


@lru_cache(maxsize=4)
def _client_in(_environment: tuple[tuple[str, str], ...]) -> S3Client:
    """A client made while the environment was this: botocore reads it once."""
    return s3_client()


def s3_client(session: Session | None = None, **options: Any) -> S3Client:
    """An S3 client that retries what is safe to retry, and does not wait for ever.

    boto3 around it would add uploads in parts, which nobody here makes, and a tenth of a second.

    Args:
        session: finds the credentials, and renews those that expire; botocore's default session when None.
        options: go to botocore (``endpoint_url``, ``aws_access_key_id``, …); what is not given, it finds.
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
    client: Any = (session or get_session()).create_client("s3", config=config, **options)
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
        raise changed(self.url, key)

    def get(self, key: str) -> bytes:  # noqa: D102
        with self._told(key):
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
            return answer["Body"].read()

    def download(self, key: str, path: Path) -> None:  # noqa: D102
        with self._told(key):
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
            chunks = answer["Body"].iter_chunks(1 << 20)
            with written(path), path.open("wb") as file:
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

    def remove_unfinished(self) -> int:  # noqa: D102
        return 0  # a put is one request: S3 keeps all of it or nothing

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
            if status >= 500:
                raise BucketError(
                    where,
                    f"the S3 server failed ({status} {code})",
                    why="the fault is on its side",
                    fix="try again later; if the server is yours, see its log and the free space of its disk",
                ) from error
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
