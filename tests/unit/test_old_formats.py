"""What was committed once is read for ever: buckets that were written by former versions of the code.

The digests are written down here, so neither an old object nor the canonical text may change its meaning.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from groundwork import digests
from groundwork.bucket import open_bucket
from groundwork.manifest import FORMAT_VERSION
from groundwork.replay import replay
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import entry

FORMATS = Path(__file__).parents[1] / "formats"
ENTRY = entry({"orders": ("public.orders", ["id"]), "notes": ("public.notes", ["id"])})
DIGESTS = {
    "1": {
        "landing._batches": "668ebc51058fdcec29657ac960aa21",
        "landing.shop__notes": "df953b053df11dee7916d048629396",
        "landing.shop__orders": "b805b8d0b08d505982ac240326425b",
    },
}


def test_a_bucket_of_every_former_format_is_kept() -> None:
    kept = {path.name for path in FORMATS.iterdir() if path.is_dir()}
    assert kept == DIGESTS.keys()
    assert set(map(str, range(1, FORMAT_VERSION))) <= kept


@pytest.mark.parametrize("format_", DIGESTS)
def test_an_old_format_is_replayed_to_the_same_digests(format_: str, tmp_path: Path) -> None:
    shutil.copytree(FORMATS / format_, tmp_path / "bucket")  # a load writes the bucket's identity
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    report = replay(ENTRY, bucket, lambda: open_duckdb(tmp_path / "w.duckdb", who="a test"))
    assert (report.batches, report.rows) == ([1, 2, 3, 4], {"orders": 5, "notes": 1})
    with open_duckdb(tmp_path / "w.duckdb", who="a test") as warehouse:
        columns = "id, total, _operation, _unchanged, _row"
        orders = f"select {columns} from landing.shop__orders order by _sequence, id"
        assert warehouse.query(orders) == [
            ("1", "10.00", "snapshot", None, 0),
            ("2", None, "snapshot", None, 1),
            ("1", "12.50", "update", '["note"]', 0),
            ("3", "7", "insert", None, 1),
            ("2", None, "delete", None, 0),
        ]
        assert warehouse.query("select text from landing.shop__notes") == [("grüße 💥",)]
        taken = digests.take(warehouse, "w", layers=["landing"])
    assert {name: digest.text for name, digest in taken.tables.items()} == DIGESTS[format_]
