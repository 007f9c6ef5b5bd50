"""The demo's payment provider, read by the catalog's own entry into a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demo.platform import Platform
from demo.shop import DATABASE
from groundwork import manifest
from groundwork.bucket import open_bucket
from groundwork.catalog import RestSource, load_catalog
from groundwork.extract import extract, open_source
from groundwork.settings import Named

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    with Platform(home, parts=["payments"], durable=False, today=date(2026, 3, 1)) as it:
        yield it


def test_all_payments_and_refunds_arrive_as_sent_and_an_idle_run_adds_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    assert platform.payments is not None
    payments = platform.payments
    entry = load_catalog(PROJECT / "catalog")["payments"]
    assert isinstance(entry, RestSource)
    bucket = open_bucket(tmp_path.as_uri())

    def resolve(named: Named) -> str:
        return payments.token if named.secret else payments.url

    first = extract(entry, open_source(entry, resolve, bucket), bucket)
    for stream in ("payments", "refunds"):
        counted = platform.shop_server.sql(f"select count(*) from provider.{stream}", database=DATABASE)
        assert first.rows[stream] == counted[0][0]
    assert first.rows["payments"] >= 20_000

    newest = manifest.latest(bucket, "payments")
    assert newest is not None
    for batch in first.batches:
        committed = manifest.read(bucket, "payments", batch)
        assert committed is not None
        for stored_rows in committed.objects:
            path = tmp_path / "object.parquet"
            bucket.download(stored_rows.key, path)
            table = pq.read_table(path)
            record = json.loads(table["record"][0].as_py())
            assert record["id"].startswith(("pay_", "ref_"))
            assert table["_committed_at"].null_count == 0
            assert payments.token not in str(table["_request"][0])
    assert payments.token not in newest.model_dump_json()

    idle = extract(entry, open_source(entry, resolve, bucket), bucket)
    assert idle.batches == [] and not idle.rows
