"""Stages: where the files of a COPY are, outside in S3 or inside in the emulator's own directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fakesnow.transforms import stage as fakesnow_stage
from snowflake.connector import errors
from sqlglot import exp

from tests.snowflake.emulator import storage

Name = tuple[str, str, str]
_credentials: dict[Name, dict[str, str]] = {}


@dataclass
class Stage:
    """One stage, as a COPY uses it."""

    name: Name
    path: str
    """Below the stage, with a slash at its end unless empty."""
    bucket: str = ""
    """Of an external stage."""
    prefix: str = ""
    """Of an external stage's URL, without the bucket."""

    def read(self, file: str) -> Any:
        """A file as an Arrow table."""
        if self.bucket:
            place, files = f"{self.bucket}/{self.prefix}{self.path}{file}", storage.files()
            if not files.exists(place):
                raise errors.ProgrammingError(
                    msg=f"Remote file 's3://{place}' was not found. There are several potential causes.",
                    errno=91016, sqlstate="22000",
                )  # fmt: skip
            with files.open(place) as opened:
                return pq.read_table(opened)
        place = self._inside(file)
        if not place.is_file():
            raise errors.ProgrammingError(
                msg=f"Remote file '{self.told(file)}' was not found.", errno=91016, sqlstate="22000"
            )
        return pq.read_table(place, partitioning=None)

    def state(self, file: str) -> str:
        """What tells one version of a file from the next."""
        if self.bucket:
            found = storage.files().info(f"{self.bucket}/{self.prefix}{self.path}{file}")
            return f"{found.get('mtime')}/{found.get('size')}"
        found = self._inside(file).stat()
        return f"{found.st_mtime_ns}/{found.st_size}"

    def filename(self, file: str) -> str:
        """What METADATA$FILENAME says: the path within the bucket, or within an internal stage."""
        return f"{self.prefix}{self.path}{file}"

    def told(self, file: str) -> str:
        """How the answer of COPY names a file."""
        return (
            f"s3://{self.bucket}/{self.filename(file)}"
            if self.bucket
            else f"{self.name[2].lower()}/{self.path}{file}"
        )

    def purge(self, file: str) -> None:
        """Remove a file of an internal stage."""
        if self.bucket:
            raise errors.ProgrammingError(msg="PURGE is not emulated for S3", errno=9998, sqlstate="0A000")
        self._inside(file).unlink()

    def _inside(self, file: str) -> Path:
        return Path(fakesnow_stage.internal_dir(".".join(self.name), f"{self.path}{file}"))


def remember(cursor: Any, create: Any) -> None:
    """Keep the credentials of CREATE STAGE, which fakesnow drops."""
    table, session = create.find(exp.Table), cursor._conn
    name = table.name if table.this.quoted else table.name.upper()
    key = (
        (table.catalog or session.database or "").upper(),
        (table.db or session.schema or "").upper(),
        name,
    )
    properties = create.args.get("properties")
    for found in properties.expressions if properties else []:
        if isinstance(found, exp.CredentialsProperty):
            _credentials[key] = {
                entry.this.name.upper(): entry.args["value"].name for entry in found.expressions
            }


def resolve(cursor: Any, reference: str) -> Stage:
    """The stage that ``@stage/path`` names."""
    session, (stage, _, path) = cursor._conn, reference.removeprefix("@").partition("/")
    name = fakesnow_stage.parts_from_var(stage, session.database, session.schema)
    row = cursor._duck_conn.execute(
        "SELECT url FROM _fs_global._fs_information_schema._fs_stages"
        " WHERE database_name = ? AND schema_name = ? AND name = ?",
        name,
    ).fetchone()
    if not row:
        raise fakesnow_stage.not_found_error(".".join(name))
    path = f"{path.rstrip('/')}/" if path else ""
    if not row[0].startswith("s3://"):
        return Stage(name, path)
    bucket, _, prefix = row[0].removeprefix("s3://").partition("/")
    storage.check_credentials(_credentials.get(name, {}), bucket)
    return Stage(name, path, bucket, f"{prefix.rstrip('/')}/" if prefix else "")
