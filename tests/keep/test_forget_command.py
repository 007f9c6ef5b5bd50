"""The command, over a versioned S3 bucket, a DuckDB file and dbt: killed, finished, nothing left anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from demo.s3 import S3Server
from groundwork import dbt_turn, drafts, manifest
from groundwork.__main__ import main
from groundwork.bucket import Bucket
from groundwork.bucket.s3 import S3Bucket
from groundwork.digests import newest
from groundwork.drafts import Draft
from groundwork.manifest import StoredRows
from groundwork.settings import Settings
from tests.commands import PROJECT
from tests.keep.dbt_project import FILES, Project
from tests.keep.world import World, commit, listed_keys, make_catalog

NAME = "Zenobia Quackenbush-Przybylski"
DBT = {
    "dbt_project.yml": FILES["dbt_project.yml"].replace("+contract: {enforced: true}", "+tags: [x]"),
    "profiles.yml": FILES["profiles.yml"],
    "macros/generate_schema_name.sql": FILES["macros/generate_schema_name.sql"],
    "models/staging/base_shop__customers.sql": (
        "{{ config(materialized='incremental') }}"
        " select id, name, _file, _row from landing.shop__customers where _operation <> 'truncate'"
        "{% if is_incremental() %} and false{% endif %}"
    ),
    "models/staging/stg_customers.sql": "select id, name from {{ ref('base_shop__customers') }}",
    "models/visualization/customers.sql": "select id, name from {{ ref('stg_customers') }}",
}


@dataclass
class Platform:
    world: World
    home: Path
    client: Any
    monkeypatch: pytest.MonkeyPatch

    def run(self, *command: str, stdin: str = "", fails: bool = False) -> str:
        """A command, in this process; what it printed."""
        printed = io.StringIO()
        self.monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(command)
        assert (code != 0) == fails, printed.getvalue()
        return printed.getvalue()

    def warehouse(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def every_version(self) -> list[bytes]:
        """All that the bucket can still give back."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket="lake")
        return [
            self.client.get_object(Bucket="lake", Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            for page in pages
            for one in page.get("Versions", [])
        ]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with S3Server(tmp_path / "s3", bucket="lake") as server:
        client = server.client()
        client.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
        bucket: Bucket = S3Bucket("lake", "platform", client)
        world = World(make_catalog(tmp_path / "catalog"), bucket, random.Random(1))
        world.live(4)
        rows = [{"id": "7", "name": NAME, "_operation": "insert", "_sequence": "f/2"},
                {"id": "8", "name": "Somebody else", "_operation": "insert", "_sequence": "f/4"}]  # fmt: skip
        commit(world.catalog, bucket, "shop", {"customers": rows, "orders": [
            {"id": "1", "customer_id": "7", "_operation": "insert", "_sequence": "f/6"},
        ]})  # fmt: skip
        record = f'{{"id": "p", "order": {{"reference": 1}}, "payer": "{NAME}"}}'
        commit(world.catalog, bucket, "payments", {"payments": [{"record": record, "_request": "GET"}]})
        project = Project(tmp_path / "dbt")
        for name in FILES:
            (project.directory / name).unlink()
        for name, text in DBT.items():
            project.write(name, text)
        for name, value in {
            **server.environment(),
            "GROUNDWORK_HOME": str(tmp_path / "home"),
            "GROUNDWORK_BUCKET": "s3://lake/platform",
            "GROUNDWORK_CATALOG": str(tmp_path / "catalog"),
            "GROUNDWORK_DBT": str(project.directory),
            "ERASURE_KEY": "a key that nobody guesses",
        }.items():
            monkeypatch.setenv(name, value)
        yield Platform(world, tmp_path / "home", client, monkeypatch)


def names_in(bodies: list[bytes]) -> int:
    return sum(NAME.encode() in unpacked(body) for body in bodies)


def unpacked(body: bytes) -> bytes:
    """An object as text."""
    return pl.read_parquet(io.BytesIO(body)).write_ndjson().encode() if body[:4] == b"PAR1" else body


def leave_draft(bucket: Bucket) -> None:
    """What a pull that was cut short has of the subject."""
    key, body = "payments/data/payments/0000000002/part-00000-abandoned.parquet", NAME.encode()
    bucket.put(key, body)
    digest = hashlib.sha256(body).hexdigest()
    stored = StoredRows(
        stream="payments", key=key, rows=1, bytes=len(body), sha256=digest, columns=[], operations={}
    )
    begun = Draft(
        source="payments", batch_id=2, after="", cursors={}, objects=[stored], events=[],
        started_at=manifest.now(), run_id="",
    )  # fmt: skip
    drafts.save(bucket, begun)


def test_a_killed_command_is_finished_without_the_name_and_nothing_is_left(platform: Platform) -> None:
    for source in ("shop", "payments"):
        platform.run("load", source)
    dbt_turn.build(Settings(), ["run", "--quiet"])
    everybody = platform.warehouse("select count(*) from visualization.customers")[0][0]
    leave_draft(platform.world.bucket)
    assert names_in(platform.every_version()) == 3
    assert NAME.encode() in (platform.home / "warehouse.duckdb").read_bytes()

    dry = platform.run("forget", "--subject", "customer", stdin="7\n")
    assert "shop: 2 rows in 2 objects of 1 batches" in dry
    assert "payments: 1 rows in 1 objects of 1 batches" in dry
    assert "nothing was changed" in dry
    assert names_in(platform.every_version()) == 3

    command = [sys.executable, "-m", "groundwork", "forget", "shop.customers.id", "--value", "7", "--yes"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    announced = "payments/rewrites/0000000001.json", "shop/rewrites/0000000001.json"
    while not all(platform.world.bucket.exists(key) for key in announced):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(60)

    assert "not finished" in platform.run("forget", "--verify", fails=True)
    told = platform.run("forget", "--resume")
    assert "erased 2 rows: s3://lake/platform/shop/rewrites/0000000001.json" in told
    assert NAME not in told

    assert names_in(platform.every_version()) == 0
    assert NAME.encode() not in (platform.home / "warehouse.duckdb").read_bytes()
    data = {stored.key for stored in platform.world.bucket.list("") if "/data/" in stored.key}
    assert listed_keys(platform.world.bucket, platform.world.catalog) <= data
    assert platform.warehouse("select count(*) from visualization.customers")[0][0] == everybody - 1
    assert platform.warehouse("select count(*) from staging.stg_customers where id = '7'") == [(0,)]
    assert platform.warehouse("select name from visualization.customers where id = '8'") == [
        ("Somebody else",)
    ]
    assert "all records are there, as they were signed" in platform.run("forget", "--verify")
    assert "nothing in the bucket is of this subject" in platform.run(
        "forget", "shop.customers.id", "--value", "7"
    )
    for source in ("shop", "payments"):
        record = json.loads(platform.world.bucket.get(f"{source}/rewrites/0000000001.json"))
        assert record["state"] == "done"
        assert all(one["before"][0]["sha256"] for one in record["replacements"])

    # the digests that were stored are those of a warehouse that is filled from the bucket alone
    there = newest(platform.world.bucket, Settings().warehouse_name)
    assert there is not None
    before = platform.warehouse("select id, name, _file, _row from landing.shop__customers order by all")
    platform.run("replay", "--landing-only")
    assert (
        platform.warehouse("select id, name, _file, _row from landing.shop__customers order by all") == before
    )
    assert "differ" not in platform.run("digest", "--stored")


def test_without_a_key_or_a_name_nothing_is_begun(platform: Platform) -> None:
    platform.monkeypatch.delenv("ERASURE_KEY")
    told = platform.run("forget", "shop.customers.id", "--value", "7", "--yes", fails=True)
    assert "secret 'erasure-key': has no value" in told
    platform.monkeypatch.setenv("ERASURE_KEY", "a key that nobody guesses")
    assert "name a column" in platform.run("forget", "--yes", stdin="7\n", fails=True).lower()
    assert "needs the subject's value" in platform.run("forget", "shop.customers.id", fails=True)
    assert not [found for found in platform.world.bucket.list("") if "/rewrites/" in found.key]


def test_resume_says_when_nothing_was_announced(platform: Platform) -> None:
    said = platform.run("forget", "--resume")
    assert "no erasure was cut short after it was announced" in said
    assert "erased nothing" in said


KILLS = int(os.environ.get("GROUNDWORK_TEST_KILLS", "3"))


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_an_erasure_killed_at_any_moment_is_finished_by_resume(platform: Platform) -> None:
    """Each round erases another customer; GROUNDWORK_TEST_KILLS says how many (50 for the whole proof)."""
    chance = random.Random(int(os.environ.get("GROUNDWORK_TEST_SEED", "12")))
    names = {number: f"Quintilian Featherstonehaugh {number}" for number in range(100, 101 + KILLS)}
    for number, name in names.items():
        row = {"id": str(number), "name": name, "_operation": "insert", "_sequence": f"f/{number:04x}"}
        commit(platform.world.catalog, platform.world.bucket, "shop", {"customers": [row]})
    platform.run("load", "shop")
    dbt_turn.build(Settings(), ["run", "--quiet"])

    def command(number: int) -> list[str]:
        words = [sys.executable, "-m", "groundwork", "forget", "shop.customers.id"]
        return [*words, "--value", str(number), "--yes"]

    quiet = {"cwd": PROJECT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first, *others = names
    started = time.monotonic()
    subprocess.run(command(first), check=True, timeout=600, **quiet)  # type: ignore[call-overload]
    takes = time.monotonic() - started
    for number in others:
        process = subprocess.Popen(command(number), **quiet)  # type: ignore[call-overload]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.2, takes))
        process.kill()
        process.wait(60)
        said = platform.run("forget", "--resume")
        if "no erasure was cut short" in said or "withdrawn" in said:
            process = subprocess.Popen(command(number), **quiet)  # type: ignore[call-overload]
            assert process.wait(600) == 0
        erased = names[number].encode()
        assert not any(erased in body for body in map(unpacked, platform.every_version())), number
        assert erased not in (platform.home / "warehouse.duckdb").read_bytes(), number
        assert platform.warehouse(f"select count(*) from visualization.customers where id = '{number}'") == [
            (0,)
        ]
        assert not list(platform.home.glob(".*copy*")), "a copy was left behind"
    text = "\n".join(names.values())
    assert "0 hold one of the texts" in platform.run("forget", "--verify", "--search", stdin=text)
