# ruff: noqa: E501 (statements and messages read better in one line)
"""What the tests of the capture engine share: a database of their own, a source on it, and the judge.

The judge is deliberately naive: it reads landing row by row in the order of `_sequence` and keeps what is
there at the end, with plain dictionaries; and it reads the source by COPY with a parser of its own.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pg8000.native
import pytest

from demo.postgres import Postgres
from groundwork import catalog
from groundwork.bucket import Bucket, open_bucket
from groundwork.doctor import examine
from groundwork.extract import Extracted, extract, open_source
from groundwork.findings import Finding
from groundwork.landing import Loaded
from groundwork.load import load
from groundwork.manifest import Manifest, since
from groundwork.settings import Resolve, Settings
from groundwork.warehouses.duckdb import DuckDB, open_duckdb

ROLE, PASSWORD = "groundwork", "geheim-3f7a"
UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
PRINTED = (
    "set client_encoding = 'UTF8'; set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';"
    "set extra_float_digits = 3; set bytea_output = 'hex'; set lc_monetary = 'C'; set search_path = pg_catalog"
)


def needs(server: Postgres, version: int, what: str) -> None:
    """Leave a test out where PostgreSQL itself has not what it is about."""
    if server.major_version < version:
        pytest.skip(f"PostgreSQL has {what} from {version} on")


class Database:
    """One test's database in the session's server."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server, self.name = server, name

    def sql(self, statements: str, **values: Any) -> list[list[Any]]:
        return self.server.sql(statements, database=self.name, **values)

    def url(self, user: str = ROLE, password: str = PASSWORD) -> str:
        return self.server.url(self.name, user=user, password=password)

    def connection(self) -> Any:
        return self.server.connection(self.name)

    @property
    def publishes_generated(self) -> bool:
        """Whether generated columns can be published: never before 18, neither in the log nor in our copy."""
        return self.server.major_version >= 18

    def publish(self, *tables: str, options: str = "publish_via_partition_root") -> None:
        """Make the publication, and let the platform's role read."""
        if self.publishes_generated:
            options += ", publish_generated_columns = stored"
        self.sql(f"create publication groundwork for table {', '.join(tables)} with ({options})")
        self.let_read()

    def let_read(self) -> None:
        for (schema,) in self.sql("select nspname from pg_namespace where nspname !~ '^(pg_|information)'"):
            self.sql(
                f'grant usage on schema "{schema}" to {ROLE};'
                f'grant select on all tables in schema "{schema}" to {ROLE}'
            )

    def rows(self, table: str) -> list[dict[str, str | None]]:
        """A table as PostgreSQL prints it, by COPY and a naive parser."""
        answer = io.BytesIO()
        with self.connection() as connection:
            for statement in PRINTED.split(";"):
                connection.run(statement)
            found = connection.run(
                "select attname from pg_attribute where attrelid = cast(:table as regclass)"
                " and attnum > 0 and not attisdropped and (attgenerated = '' or :shown) order by attnum",
                table=table,
                shown=self.publishes_generated,
            )
            columns = [name for (name,) in found]
            listed = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
            connection.run(f"copy (select {listed} from {table}) to stdout", stream=answer)
        lines = answer.getvalue().decode().split("\n")[:-1]
        return [dict(zip(columns, map(unescaped, line.split("\t")), strict=True)) for line in lines]

    def drop(self) -> None:
        self.server.sql(
            "select pg_terminate_backend(active_pid) from pg_replication_slots"
            " where active and database = :name",
            name=self.name,
        )
        for _ in range(100):
            try:
                self.server.sql(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = :name",
                    name=self.name,
                )
                break
            except pg8000.native.DatabaseError:  # its reader is about to end
                continue
        self.server.sql(f'drop database "{self.name}" with (force)')


def unescaped(field: str) -> str | None:
    if field == "\\N":
        return None
    letters: list[str] = []
    following = iter(field)
    for letter in following:
        letters += UNESCAPED[next(following)] if letter == "\\" else letter
    return "".join(letters)


def entry(streams: Mapping[str, tuple[str, Sequence[str]]], **changes: Any) -> catalog.PostgresSource:
    """A catalog entry: stream → (``schema.table``, key)."""
    described = {
        name: {
            "table": table,
            "replication": changes.get("replication", "log_based"),
            "primary_key": list(key),
            "columns": {column: {"type": "text"} for column in key},
        }
        for name, (table, key) in streams.items()
    }
    return catalog.PostgresSource.model_validate(
        {
            "source": changes.get("source", "shop"),
            "kind": "postgres",
            "priority": 1,
            "questions": ["Is it all there?"],
            "requested_by": ["tests"],
            "owner": {"name": "Tests", "email": "tests@example.com"},
            "format": "tables",
            "history": "all",
            "update_every": "1 hour",
            "connection": {"url": {"secret": "shop-database-url"}, "snapshot_connections": 2},
            "streams": described,
        }
    )


class Capture:
    """A source on a database, its bucket and its warehouse."""

    def __init__(self, database: Database, directory: Path, **streams: tuple[str, Sequence[str]]) -> None:
        self.database, self.directory = database, directory
        self.url = database.url()
        self.bucket: Bucket = open_bucket((directory / "bucket").as_uri())
        self.file = directory / "warehouse.duckdb"
        self.streams = dict(streams)

    @property
    def entry(self) -> catalog.PostgresSource:
        return entry(self.streams)

    @property
    def resolve(self) -> Resolve:
        return lambda _: self.url

    def extract(self, **options: Any) -> Extracted:
        return extract(self.entry, open_source(self.entry, self.resolve, self.bucket), self.bucket, **options)

    def load(self) -> Loaded:
        with self.warehouse() as warehouse:
            loaded = load(self.entry, self.bucket, warehouse)
        loaded.insist()
        return loaded

    def run(self, **options: Any) -> Extracted:
        """Extract, load, and hold the ledger against the manifests."""
        report = self.extract(**options)
        self.load()
        return report

    @contextmanager
    def warehouse(self) -> Iterator[DuckDB]:
        with open_duckdb(self.file, who="a test") as warehouse:
            yield warehouse

    def looked_at(self) -> list[Finding]:
        """What the doctor finds at the source."""
        settings = Settings(home=self.directory)
        found = examine(settings, {"shop": self.entry}, lambda: self.bucket, self.resolve)
        return [finding for finding in found if finding.what.startswith("source")]

    def troubles(self) -> str:
        """What is wrong there, one line each."""
        return "\n".join(f"{f.what}: {f.problem}" for f in self.looked_at() if f.problem)

    @property
    def manifests(self) -> list[Manifest]:
        return list(since(self.bucket, "shop", 0))

    def slot(self) -> str:
        return str(self.manifests[-1].cursors["_log"]["slot"])

    def landed(self, stream: str) -> list[dict[str, Any]]:
        """All rows of a landing table, in the order in which things happened at the source."""
        with self.warehouse() as warehouse:
            names = warehouse.columns("landing", f"shop__{stream}")
            found = warehouse.query(f'select * from landing."shop__{stream}"')
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return sorted(
            rows,
            key=lambda r: (
                r["_sequence"],
                r["_operation"] != "truncate",
                r["_batch_id"],
                r["_file"],
                r["_row"],
            ),
        )

    def reconstructed(self, stream: str) -> list[dict[str, Any]]:
        """What is there when all that landed has happened."""
        return reduced(self.landed(stream), self.streams[stream][1])

    def assert_equal_to_the_source(self) -> None:
        """Row for row and letter for letter; and each batch is in the ledger exactly once."""
        for stream, (table, _) in self.streams.items():
            ((quoted,),) = self.database.sql(
                "select format('%I.%I', n.nspname, c.relname) from pg_class c"
                " join pg_namespace n on n.oid = c.relnamespace where n.nspname || '.' || c.relname = :table",
                table=table,
            )
            source = self.database.rows(quoted)
            names = list(source[0]) if source else []
            copies = Counter(tuple(row.get(n) for n in names) for row in self.reconstructed(stream))
            truth = Counter(tuple(row.values()) for row in source)
            missing, many = truth - copies, copies - truth
            if missing or many:
                pytest.fail(
                    f"{stream} lacks {missing.total()} rows {shown(missing)}, has {many.total()} {shown(many)}"
                )
        self.assert_ledger_is_whole()

    def assert_ledger_is_whole(self) -> None:
        with self.warehouse() as warehouse:
            ledger = warehouse.query("select batch_id, rows from landing._batches order by batch_id")
            assert ledger == [(m.name, m.rows) for m in self.manifests]
            for stream in self.streams:
                twice = warehouse.query(
                    f'select _batch_id, _file, _row from landing."shop__{stream}" group by all having count(*) > 1'
                )
                assert not twice
                (there,) = warehouse.query(f'select count(*) from landing."shop__{stream}"')[0]
                assert there == sum(o.rows for m in self.manifests for o in m.objects if o.stream == stream)


def shown(rows: Counter[tuple[Any, ...]]) -> list[str]:
    """Some rows, shortened: a failing test shall be readable."""
    return [str(tuple(str(value)[:20] for value in row)) for row in list(rows)[:3]]


def reduced(rows: Sequence[dict[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """The naive reference: apply rows one after another, from the last one that ends all others."""
    ends = [number for number, row in enumerate(rows) if row["_operation"] == "truncate"]
    rows = rows[ends[-1] :] if ends else rows
    if not key:
        return _reduced_without_key(rows)
    state: dict[tuple[Any, ...], dict[str, Any]] = {}
    moved: dict[str, dict[str, Any]] = {}  # by the place of the update that goes on with the record
    for row in rows:
        if row["_operation"] == "truncate":
            state.clear()
            continue
        identity = tuple(row[name] for name in key)
        assert None not in identity, "a record without its key"
        if row["_operation"] == "delete":
            gone, (commit, place) = state.pop(identity, None), row["_sequence"].split("/")
            if gone:
                moved[f"{commit}/{int(place, 16) + 1:08x}"] = gone
            continue
        record = {name: value for name, value in row.items() if not name.startswith("_")}
        for name in json.loads(row["_unchanged"] or "[]"):
            record[name] = moved.get(row["_sequence"], state.get(identity))[name]
        state[identity] = record
    return list(state.values())


def _reduced_without_key(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    there: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for row in rows:
        record = tuple((name, value) for name, value in row.items() if not name.startswith("_"))
        assert not row["_unchanged"]
        if row["_operation"] == "truncate":
            there.clear()
        elif row["_operation"] == "delete":
            assert there[record] > 0, "a record that was never there went away"
            there[record] -= 1
        else:
            there[record] += 1
    return [dict(record) for record in there.elements()]


def process(
    capture: Capture, prelude: str, what: str, timeout: float = 200
) -> subprocess.CompletedProcess[str]:
    """Run extract or load in a process of its own, after ``prelude`` (Python; see `run_and_die`)."""
    environment = {
        **os.environ,
        "STREAMS": json.dumps(capture.streams),
        "BUCKET": capture.bucket.url,
        "URL": capture.url,
        "FILE": str(capture.file),
        "WHAT": what,
        "PRELUDE": textwrap.dedent(prelude),
    }
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=Path(__file__).parents[1],
    )


def run_and_die(capture: Capture, prelude: str, *, what: str = "extract") -> None:
    """Run extract or load in a process that kills itself where ``prelude`` says.

    ``prelude`` is Python that patches a method with ``dying(owner, name, call, after=…)``: SIGKILL at the
    n-th call, before or after it is done.
    """
    done = process(capture, prelude, what)
    assert done.returncode == -signal.SIGKILL, (done.returncode, done.stderr)


SCRIPT = """
    import json, os, re, resource, signal, sys
    from pathlib import Path

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(owner, name, call=1, after=False):
        original, seen = getattr(owner, name), []
        def patched(*arguments, **options):
            seen.append(1)
            if len(seen) == call and not after:
                die()
            result = original(*arguments, **options)
            if len(seen) == call:
                die()
            return result
        setattr(owner, name, patched)

    from groundwork import bucket, extract, fetching, load, manifest
    from groundwork.bucket import local
    from groundwork.errors import GroundworkError
    from groundwork.sources import changes, copying, copytext, pgoutput, postgres, reading, slot, snapshot, wire
    from groundwork.warehouses import duckdb
    from tests.capture import entry as entry_of
    entry = entry_of(json.loads(os.environ["STREAMS"]))
    place = bucket.open_bucket(os.environ["BUCKET"])
    exec(os.environ["PRELUDE"])
    try:
        if os.environ["WHAT"] == "extract":
            source = extract.open_source(entry, lambda _: os.environ["URL"], place)
            extract.extract(entry, source, place)
        else:
            with duckdb.open_duckdb(Path(os.environ["FILE"]), who="a test") as warehouse:
                load.load(entry, place, warehouse)
    except GroundworkError as error:
        print(type(error).__name__, error, file=sys.stderr)
        sys.exit(3)
    # Not getrusage: a child's ru_maxrss begins with the size of the process that made it.
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024)
"""
