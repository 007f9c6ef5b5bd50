"""Where a warehouse of each kind is, and where it finds the objects of a test's batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from groundwork.bucket import Bucket
from groundwork.manifest import StoredRows
from groundwork.warehouses import LandingObject, Warehouse
from groundwork.warehouses.duckdb import open_duckdb
from groundwork.warehouses.snowflake import open_snowflake
from tests.snowflake.account import Account


@dataclass
class Place:
    """One empty warehouse, and a way to hand it objects."""

    open: Callable[[], AbstractContextManager[Warehouse]]
    directory: Path
    bucket_url: str
    bucket: Bucket | None = None

    def object(self, stored: StoredRows, path: Path) -> LandingObject:
        """An object whose bytes are those of a file: in the bucket, if there is one, and at hand."""
        url = f"{self.bucket_url}/{stored.key}"
        if self.bucket:
            self.bucket.put(stored.key, path)
        return LandingObject(stored, url, lambda: path)


def duckdb_file(directory: Path, _request: pytest.FixtureRequest) -> Place:
    file = directory / "warehouse.duckdb"
    return Place(lambda: open_duckdb(file, who="a test"), directory, directory.as_uri())


def snowflake_reads_the_bucket(directory: Path, request: pytest.FixtureRequest) -> Place:
    return _snowflake(directory, request.getfixturevalue("new_account")())


def snowflake_is_sent_files(directory: Path, request: pytest.FixtureRequest) -> Place:
    account = request.getfixturevalue("new_account")(staging="internal", stage="landing.groundwork_files")
    return _snowflake(directory, account)


def _snowflake(directory: Path, account: Account) -> Place:
    reads = account.login.staging == "external"
    return Place(
        lambda: open_snowflake(account.login, who="a test", run_id="test-run"),
        directory,
        account.bucket_url if reads else directory.as_uri(),
        account.bucket() if reads else None,
    )


PLACES = (duckdb_file, snowflake_reads_the_bucket, snowflake_is_sent_files)
