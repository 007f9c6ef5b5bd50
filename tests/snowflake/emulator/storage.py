"""S3 for DuckDB 2.0, which has no httpfs wheel: pyarrow's client as a file system of fsspec."""

from __future__ import annotations

from typing import Any

import pyarrow.fs as arrow
from fsspec.implementations.arrow import ArrowFSWrapper
from snowflake.connector import errors

REGION = "us-east-1"
_server: dict[str, Any] = {}


class _S3(ArrowFSWrapper):
    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("s3://")

    def glob(self, path: str, **named: Any) -> list[str]:
        named.pop("detail", None)
        return [
            key for key, found in super().glob(path, detail=True, **named).items() if found["type"] == "file"
        ]

    def modified(self, path: str) -> Any:
        return self.info(path)["mtime"]


def connect(connection: Any, endpoint: str, key: str, secret: str) -> None:
    """Let DuckDB read ``s3://`` of this server: what a storage integration allows."""
    _server.update(endpoint=endpoint, files=_S3(_client(endpoint, key, secret)))
    connection.register_filesystem(_server["files"])


def files() -> Any:
    """The file system of the S3 server."""
    return _server["files"]


def check_credentials(credentials: dict[str, str], bucket: str) -> None:
    """Refuse the credentials of a stage or statement that the S3 server refuses."""
    if not credentials:
        return
    client = _client(_server["endpoint"], credentials.get("AWS_KEY_ID"), credentials.get("AWS_SECRET_KEY"))
    try:
        client.get_file_info(arrow.FileSelector(bucket, recursive=False))
    except OSError as error:
        raise errors.ProgrammingError(
            msg=f"Failure using stage area. Cause: [{str(error)[:200]}]", errno=91003, sqlstate="55000"
        ) from error


def _client(endpoint: str, key: str | None, secret: str | None) -> Any:
    return arrow.S3FileSystem(
        access_key=key, secret_key=secret, endpoint_override=endpoint, scheme="http", region=REGION
    )
