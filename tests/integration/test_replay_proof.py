"""The proof: a warehouse that is destroyed and rebuilt from the bucket alone is the same, table by table.

Every source and stream of the catalog takes part, with values that do not fit their types among the others,
late rows, updates, deletes and truncates; landing and the models grew in several runs before, and are rebuilt
in one. `make test-replay` does it ten times in a row (``GROUNDWORK_TEST_REPLAYS``).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from groundwork import digests
from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import AnySource, Catalog, PostgresSource, load_catalog
from groundwork.dbt_turn import let_go
from groundwork.extract import extract
from groundwork.load import load
from groundwork.replay import replay
from groundwork.settings import Settings
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses.duckdb import open_duckdb
from tests.landing import ROOT, Dbt

TIMES = int(os.environ.get("GROUNDWORK_TEST_REPLAYS", "1"))
KEYS, ROUNDS = 40, 2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600 + 400 * TIMES),
    pytest.mark.skipif("GROUNDWORK_TEST_REPLAYS" not in os.environ, reason="takes minutes: make test-replay"),
]


class Random:
    """Rows of any stream of the catalog, always the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.dice, self.place = random.Random(seed), 0

    def value(self, name: str, type_: str, key: int | None) -> str | None:
        """A text as the source would send it, now and then one that does not fit."""
        if key is not None:
            return str(key)
        if self.dice.random() < 0.1:
            return None
        if type_ != "text" and self.dice.random() < 0.02:
            return "does not fit"
        number = self.dice.randrange(1, 1000)
        texts = {
            "integer": str(number % KEYS),
            "float": self.dice.choice(["0.1", "1e300", "-12.5", "0", f"{number / 7}"]),
            "boolean": self.dice.choice(["t", "f", "true"]),
            "date": f"2026-0{1 + number % 9}-1{number % 10}",
            "timestamp": f"2026-0{1 + number % 9}-1{number % 10} 10:{number % 60:02}:00.{number:06}+02",
            "json": json.dumps({"n": number, "text": "grüße 'and' \"more\" 💥"}),
        }
        if type_.startswith("decimal"):
            return f"{number}.{number % 100:02}"
        return texts.get(type_) or self.dice.choice(["EUR", "paid", "", "ünï\ncode; a=1:b", f"text {number}"])

    def rows(self, entry: AnySource, stream: str) -> Rows:
        """Some changes of one stream."""
        described = entry.streams[stream]
        columns, keys = described.columns, list(getattr(described, "primary_key", []) or [])
        changes: list[dict[str, Any]] = []
        for _ in range(self.dice.randrange(5, 30)):
            self.place += 1
            key = self.dice.randrange(1, KEYS)
            values = {
                name: self.value(name, column.type, key if name in keys else None)
                for name, column in columns.items()
            }
            operation = self.dice.choices(["insert", "update", "delete", "truncate"], [50, 40, 9, 1])[0]
            if not keys and operation == "update":
                operation = "insert"
            changes.append(values | {"_operation": operation})
        if isinstance(entry, PostgresSource):
            sequences = [f"{self.place:016x}/{number:08x}" for number in range(len(changes))]
            frame = pl.DataFrame(changes, schema=dict.fromkeys([*columns, "_operation"], pl.String))
            return Rows(stream, frame.with_columns(pl.Series("_sequence", sequences)))
        records = [
            json.dumps(_nested(change, columns)) for change in changes if change["_operation"] == "insert"
        ]
        return Rows(stream, pl.DataFrame({"record": records, "_request": ["GET /"] * len(records)}))


def _nested(values: dict[str, Any], columns: Any) -> dict[str, Any]:
    """A record that has its values where the catalog says they are."""
    record: dict[str, Any] = {}
    for name, column in columns.items():
        *above, last = (getattr(column, "path", None) or name).split(".")
        place = record
        for step in above:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                break
        else:
            place[last] = values[name]
    return record


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(ROOT / "catalog")


def commit(entry: AnySource, bucket: Bucket, dice: Random) -> None:
    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            for stream in entry.streams:
                if dice.dice.random() < 0.8:
                    yield dice.rows(entry, stream)
            yield Checkpoint({}, heartbeat=True)

    extract(entry, Source(), bucket)


def taken(file: Path) -> digests.Digests:
    with open_duckdb(file, who="a test", read_only=True) as warehouse:
        return digests.take(warehouse, file.stem)


def test_a_warehouse_that_was_destroyed_is_rebuilt_to_the_letter(catalog: Catalog, tmp_path: Path) -> None:
    bucket, dice = open_bucket((tmp_path / "bucket").as_uri()), Random(20261123)
    file = tmp_path / "warehouse.duckdb"
    dbt = Dbt(file, tmp_path / "target")

    def built(*more: str) -> digests.Digests:
        dbt("run", "--quiet", *more)
        let_go(Settings())  # dbt keeps the file open else, and would go on with one that is deleted
        return taken(file)

    for _ in range(ROUNDS):
        for entry in catalog.values():
            for _ in range(3):
                commit(entry, bucket, dice)
            with open_duckdb(file, who="a test") as warehouse:
                load(entry, bucket, warehouse)
        before = built()
    _covers_everything(catalog, dbt.target, before)
    for _ in range(TIMES):
        file.unlink()
        for entry in catalog.values():
            replay(entry, bucket, lambda: open_duckdb(file, who="a test"))
        assert digests.differing(built("--full-refresh"), before) == {}
    # and it can tell: one letter of one row is a difference in every layer
    with open_duckdb(file, who="a test") as warehouse:
        warehouse.query("update landing.shop__orders set currency = currency || 'x' where _row = 0")
        warehouse.query("update staging.base_shop__orders set status = coalesce(status, '') || 'x'")
    told = digests.differing(taken(file), before)
    assert {"landing.shop__orders", "staging.base_shop__orders", "staging.stg_shop__orders"} <= told.keys()
    assert "landing.shop__customers" not in told


def _covers_everything(catalog: Catalog, target: Path, found: digests.Digests) -> None:
    """Every table of every layer has a digest, and hardly any is empty."""
    assert [name for name, digest in found.tables.items() if digest.why] == []
    streams = {f"landing.{e.source}__{s}" for e in catalog.values() for s in e.streams}
    assert streams | {"landing._batches"} == {n for n in found.tables if n.startswith("landing.")}
    nodes = json.loads((target / "manifest.json").read_bytes())["nodes"].values()
    models = {node["name"] for node in nodes if node["resource_type"] == "model"}  # those of this warehouse
    assert models == {name.partition(".")[2] for name in found.tables if not name.startswith("landing.")}
    empty = [name for name, digest in found.tables.items() if digest.rows == 0]
    assert len(empty) <= 3, empty
