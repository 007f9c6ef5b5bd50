"""What landing amounts to against the source's tables: by the naive judge, and by real base models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from groundwork import catalog
from groundwork.catalog import Catalog
from groundwork.render import render
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from groundwork.warehouses.duckdb_text import quoted
from tests.capture import Database, entry, reduced
from tests.chaos.verdict import Streams, Verdict, difference
from tests.chaos.workload import TABLES
from tests.chaos.workload import quoted as quoted_table
from tests.landing import ROOT, Dbt

PARTS = [
    "dbt_project.yml", "profiles.yml", "macros", "models/staging/_groups.yml",
    "models/staging/_columns.md", "models/staging/ledger/_ledger__sources.yml",
]  # fmt: skip


def compare_rows(database: Database, warehouse: DuckDB, streams: Streams, verdict: Verdict) -> None:
    """Apply landing row by row, from the last row on that ends all others, and compare with the source."""
    for stream, (table, key) in streams.items():
        source = database.rows(quoted_table(table))
        names = list(source[0]) if source else []
        there = reduced(_since_it_was_emptied(warehouse, stream), key)
        copies = (tuple(row.get(n) for n in names) for row in there)
        many, missing = difference(copies, (tuple(row.values()) for row in source))
        verdict.rows += len(source)
        verdict.different += many + missing
        if many or missing:
            verdict.tell(f"{stream}: landing amounts to {missing} rows too few and {many} too many")


def _since_it_was_emptied(warehouse: DuckDB, stream: str) -> list[dict[str, Any]]:
    table = quoted(f"shop__{stream}")
    columns = warehouse.columns("landing", f"shop__{stream}")
    found = warehouse.query(
        f"select * from landing.{table} where _sequence >= coalesce((select max(_sequence) from"
        f" landing.{table} where _operation = 'truncate'), '')"
        " order by _sequence, _operation <> 'truncate', _batch_id, _file, _row"
    )
    return [dict(zip(columns, row, strict=True)) for row in found]


def described(streams: Streams) -> catalog.PostgresSource:
    """The catalog's entry with the columns that no change of a table ever takes away, all as text."""
    plain = entry(streams)
    told = {
        name: stream.model_copy(update={"columns": {c: catalog.Column(type="text") for c in _columns(name)}})
        for name, stream in plain.streams.items()
    }
    return plain.model_copy(update={"streams": told})


def _columns(stream: str) -> list[str]:
    return TABLES[stream][2] if stream in TABLES else ["id", "t"]


class Base:
    """dbt's base models of all streams, in a project of their own."""

    def __init__(self, directory: Path, file: Path, streams: Streams) -> None:
        self._file, self._streams = file, streams
        for part in PARTS:
            target = directory / "dbt" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / "dbt" / part).is_dir() else shutil.copy
            copy(ROOT / "dbt" / part, target)
        (directory / "catalog").mkdir()
        render(Catalog([described(streams)]), directory)
        self._dbt = Dbt(file, directory / "target", directory / "dbt")

    def build(self) -> None:
        """Run the models: all of landing the first time, what is new after that."""
        self._dbt("run", "--select", "path:models/staging/shop")

    def compare(self, database: Database, verdict: Verdict) -> None:
        """The live rows of each model, against the source."""
        with open_duckdb(self._file, who="chaos") as warehouse:
            (schema,) = warehouse.query(
                "select distinct schema_name from duckdb_tables() where table_name = 'base_shop__orders'"
            )[0]
            for stream, (table, _) in self._streams.items():
                columns = _columns(stream)
                source = database.rows(quoted_table(table))
                there = warehouse.query(
                    f"select {', '.join(map(quoted, columns))} from {schema}.base_shop__{stream}"
                    " where _operation not in ('delete', 'truncate')"
                )
                many, missing = difference(there, (tuple(row[n] for n in columns) for row in source))
                verdict.staged += len(source)
                verdict.different += many + missing
                if many or missing:
                    verdict.tell(f"base_shop__{stream}: {missing} rows too few and {many} too many")
