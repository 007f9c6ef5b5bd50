"""The replay flow: all sources or one, into this warehouse or another, its progress on the run's page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.replay import replay
from groundwork import digests
from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import load_catalog
from groundwork.extract import extract
from groundwork.load import load
from groundwork.settings import Settings
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses.duckdb import open_duckdb
from tests.landing import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(
    platform: dict[str, str], prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    """A platform of its own whose catalog has two sources, with four batches of each."""
    for name, value in platform.items():
        if name.startswith("GROUNDWORK_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("GROUNDWORK_HOME", str(tmp_path))
    monkeypatch.setenv("GROUNDWORK_BUCKET", (tmp_path / "bucket").as_uri())
    monkeypatch.setenv("GROUNDWORK_CATALOG", str(tmp_path / "catalog"))
    (tmp_path / "catalog").mkdir()
    for name in ("ops.yml", "payments.yml"):
        (tmp_path / "catalog" / name).write_bytes((ROOT / "catalog" / name).read_bytes())
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    for entry in load_catalog(tmp_path / "catalog").values():
        stream = next(iter(entry.streams))

        class Source:
            def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
                yield Rows(stream, pl.DataFrame({"record": ["{}", "{}"], "_request": ["GET /"] * 2}))  # noqa: B023
                yield Checkpoint({}, heartbeat=True)

        for _ in range(4):
            extract(entry, Source(), bucket)
        with open_duckdb(Settings().duckdb_file, who="a test") as warehouse:
            load(entry, bucket, warehouse)
    return bucket


def taken(file: Path) -> digests.Digests:
    with open_duckdb(file, who="a test") as warehouse:
        return digests.take(warehouse, file.stem)


async def progress_of(source: str) -> list[tuple[float, str]]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[f"replay-{source}"]))
        )
    return [(float(str(artifact.data)), artifact.description or "") for artifact in found]


def test_all_sources_are_replayed_and_their_progress_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundwork.fetching.GROUP_ROWS", 1)
    file = Settings().duckdb_file
    before = taken(file)
    file.unlink()
    replay(transform=False)
    assert digests.differing(taken(file), before) == {}
    for source in ("ops", "payments"):
        ((done, text),) = asyncio.run(progress_of(source))
        assert done == 100
        assert text == f"Replay of {source}: 4 of 4 batches, 8 rows"


def test_a_part_of_one_source_goes_into_another_warehouse(bucket: Bucket, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    replay(source="ops", since="2", until="3", into=str(other), transform=False)
    with open_duckdb(other, who="a test") as warehouse:
        assert warehouse.query("select source, batch_id from landing._batches order by 2") == [
            ("ops", "0000000002"), ("ops", "0000000003"),
        ]  # fmt: skip
