"""What the benches stand on: an S3 server, and PostgreSQL servers with the tables and their million changes.

All of it is kept in one directory and made once per scale; the changes wait behind a slot, and each run
reads them through a copy of it. Each workload has a server of its own: a slot reads all of its server's log.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from benchmarks.measure import BenchError
from benchmarks.workloads import PUBLICATION, WORKLOADS, Workload, catalog_entry
from demo.postgres import Postgres
from demo.s3 import S3Server
from demo.service import LOOPBACK

SETTINGS = {
    "synchronous_commit": "off",
    "autovacuum": "off",  # nothing of the server's own may run in the middle of a measurement
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1d",
    "full_page_writes": "off",
}
SNAPSHOT_ROWS = 2_000_000
CHANGED_ROWS = 1_000_000
"""Rows before the changes; changes are as many."""
BASE_SLOT = "base"


@dataclass(frozen=True)
class Database:
    """A running server with a workload's table in it."""

    server: Postgres
    workload: Workload
    directory: Path
    """Where its server and everything made for it is kept."""

    @property
    def url(self) -> str:
        """Its address, as superuser."""
        return self.server.url(self.workload.name)

    @property
    def pid(self) -> int | None:
        """The server's process, see `benchmarks.measure`."""
        return self.server.pid

    def sql(self, statement: str, **values: Any) -> list[list[Any]]:
        """Run SQL."""
        return self.server.sql(statement, database=self.workload.name, **values)

    def copy_of_slot(self) -> str:
        """A slot from which all changes can be read, for one run."""
        name = f"run_{uuid.uuid4().hex[:12]}"
        self.sql("select pg_copy_logical_replication_slot(:base, :name, false)", base=BASE_SLOT, name=name)
        return name

    def drop_slots(self) -> None:
        """Remove the slots of runs."""
        self.sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
            f" where slot_name <> '{BASE_SLOT}' and not active"
        )

    def digest(self) -> list[Any]:
        """Rows and a sum over every value's text; the same as `benchmarks.check.digest_sql`."""
        columns = list(self.workload.columns)
        form = "|".join("%s" for _ in columns)
        text = f"format('{form}', {', '.join(columns)})"
        found = self.sql(
            "select count(*), coalesce(sum(cast(cast('x' || left(md5("
            f"{text} || '|' || num_nulls({', '.join(columns)})), 15) as bit(60)) as bigint)), 0)"
            f" from {self.workload.table}"
        )
        return [int(found[0][0]), int(found[0][1])]


class Ground:
    """The directory ``home`` and the services in it, while they are needed."""

    def __init__(self, home: Path, scale: float, tell: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self.home, self.scale, self.tell = home.absolute(), scale, tell
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the S3 server; what earlier runs left behind is removed."""
        self.home.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="runs-", dir=self.home)
        self.scratch = Path(self._stack.enter_context(scratch))
        self.s3 = self._stack.enter_context(S3Server(self.home / "s3"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what runs."""
        self._stack.close()

    def environment(self, database: Database | None = None) -> dict[str, str]:
        """What a contender needs to know, beside its arguments."""
        given = self.s3.environment() | {"GROUNDWORK_HOME": str(self.scratch)}
        if database:
            given["BENCH_DATABASE_URL"] = database.url
        return given

    # -- places for one run ------------------------------------------------------------------------

    @contextmanager
    def prefix(self) -> Iterator[str]:
        """A bucket URL that nobody used, emptied afterwards."""
        prefix = f"runs/{uuid.uuid4().hex[:12]}"
        try:
            yield f"s3://{self.s3.bucket}/{prefix}"
        finally:
            client = self.s3.client()
            for key in self.keys(prefix):
                client.delete_object(Bucket=self.s3.bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix."""
        pages = self.s3.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.s3.bucket, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", [])]

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory of its own, removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            yield Path(name)

    def catalog(self, directory: Path, text: str, source: str) -> Path:
        """Write a catalog of one file."""
        place = directory / "catalog"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{source}.yml").write_text(text, encoding="utf-8")
        return place

    # -- databases ---------------------------------------------------------------------------------

    @contextmanager
    def snapshot_database(self, workload: Workload, times: int = 1) -> Iterator[Database]:
        """The table with ``times`` `SNAPSHOT_ROWS` rows and nothing else."""
        rows = int(SNAPSHOT_ROWS * self.scale) * times

        def make(database: Database) -> dict[str, Any]:
            database.sql(workload.create())
            database.sql(workload.fill(1, rows))
            database.sql(f"vacuum (freeze, analyze) {workload.table}")
            return {"rows": rows, "digest": database.digest() if times == 1 else None}

        name = f"snapshot-{workload.name}" + (f"-{times}" if times > 1 else "")
        with self._database(name, workload, make) as database:
            yield database

    @contextmanager
    def changed_database(self, workload: Workload) -> Iterator[Database]:
        """The table with its changes behind slot `BASE_SLOT`, and our bucket as it was before them.

        The bucket (snapshot and manifests) lies in the database's directory, see `initial_bucket`.
        """
        rows = int(CHANGED_ROWS * self.scale) // 100 * 100

        def make(database: Database) -> dict[str, Any]:
            self.tell(f"making {workload.name}: {rows} rows, then as many changes")
            database.sql(workload.create())
            database.sql(workload.fill(1, rows))
            database.sql(f"vacuum (freeze, analyze) {workload.table}")
            self._first_snapshot(database)
            database.sql(workload.procedure())
            database.sql(f"call small_transactions({rows // 20}, {rows})")
            database.sql(workload.one_large_transaction(rows))
            database.sql(f"vacuum (freeze, analyze) {workload.table}")
            return {"changes": rows, "digest": database.digest()}

        with self._database(f"changed-{workload.name}", workload, make) as database:
            yield database

    @contextmanager
    def _database(
        self, name: str, workload: Workload, make: Callable[[Database], dict[str, Any]]
    ) -> Iterator[Database]:
        directory = self.home / f"{name}-{self.scale:g}"
        ready = directory / "ready.json"
        if not ready.exists():
            shutil.rmtree(directory, ignore_errors=True)
        with Postgres(directory / "postgres", settings=SETTINGS) as server:
            database = Database(server, workload, directory)
            if not ready.exists():
                server.create_database(workload.name)
                facts = make(database)
                server.sql("checkpoint")
                ready.write_text(json.dumps(facts))
            database.drop_slots()
            yield database

    def facts(self, database: Database) -> dict[str, Any]:
        """What is known of a database since it was made."""
        known: dict[str, Any] = json.loads((database.directory / "ready.json").read_text())
        return known

    def initial_bucket(self, database: Database) -> Path:
        """Directory of the bucket as it was after the first snapshot."""
        return database.directory / "bucket"

    def _first_snapshot(self, database: Database) -> None:
        """Let Groundwork copy the table; its slot stands where the changes begin."""
        from groundwork.bucket import open_bucket
        from groundwork.catalog import load_catalog
        from groundwork.extract import extract, open_source

        name = database.workload.name
        place = self.catalog(database.directory, catalog_entry(database.workload, slot=BASE_SLOT), name)
        entry = load_catalog(place)[name]
        bucket = open_bucket(self.initial_bucket(database).as_uri())
        extract(entry, open_source(entry, lambda _: database.url, bucket), bucket)

    def begin_after_snapshot(self, database: Database, bucket_url: str, slot: str) -> None:
        """Put the manifests of the first snapshot into a run's bucket, so that it reads the changes.

        The newest manifest names the slot to go on with: here the run's own copy of it.
        """
        from groundwork.bucket import open_bucket
        from groundwork.bucket.s3 import s3_client

        source = database.workload.name
        before = open_bucket(self.initial_bucket(database).as_uri())
        bucket = open_bucket(bucket_url, client=s3_client(**self.s3_options()))
        for found in before.list(f"{source}/manifests/"):
            bucket.put(
                found.key, before.get(found.key).replace(f'"{BASE_SLOT}"'.encode(), f'"{slot}"'.encode())
            )

    def s3_options(self) -> dict[str, str]:
        """Options for boto3."""
        return {
            "endpoint_url": self.s3.endpoint_url,
            "aws_access_key_id": self.s3.access_key_id,
            "aws_secret_access_key": self.s3.secret_access_key,
            "region_name": "us-east-1",
        }


def other_url(database: Database, scheme: str) -> str:
    """The database's address in another library's words."""
    server, name = database.server, database.workload.name
    return f"{scheme}://postgres:{quote(server.password, safe='')}@{LOOPBACK}:{server.port}/{name}"


def address_parts(database: Database) -> dict[str, Any]:
    """The database's address for those who want it in parts."""
    server = database.server
    return {
        "hostname": LOOPBACK,
        "port": server.port,
        "user": "postgres",
        "password": server.password,
        "dbname": database.workload.name,
    }


def workload_of(name: str) -> Workload:
    """A workload by name."""
    if name not in WORKLOADS:
        raise BenchError(f"there is no workload '{name}' ({', '.join(WORKLOADS)})")
    return WORKLOADS[name]


__all__ = ["BASE_SLOT", "PUBLICATION", "Database", "Ground", "address_parts", "other_url", "workload_of"]
