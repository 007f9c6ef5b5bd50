# ruff: noqa: E501 (statements read better in one line)
"""Incremental equals from scratch equals the source, for random histories with changes of key and of shape.

A dbt run costs seconds, so a history is a table, not a database: many tables go through the same few runs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from groundwork.catalog import PostgresSource, load_catalog
from groundwork.extract import extract, open_source
from groundwork.load import load
from groundwork.render import render
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import Database
from tests.integration.capture.test_dbt_from_postgres import Chain
from tests.integration.test_dbt_base_models import base, described

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
HISTORIES = int(os.environ.get("GROUNDWORK_TEST_HISTORIES", "8"))
SEED = int(os.environ.get("GROUNDWORK_SEED", "20261128"))
TOGETHER, ROUNDS = 40, 4
KEYS: list[list[str]] = [["id"], ["id", "part"], []]
COLUMNS = ["id", "part", "mood", "n", "note"]


class History:
    """One table, and the statements that happen to it."""

    def __init__(self, name: str, chance: Random) -> None:
        self.name, self.chance = name, chance
        self.key = chance.choice(KEYS)
        self.labels = ["low", "high"]
        self.named = 0
        self.rekeyed = False
        self.gone: set[str] = set()

    def begin(self) -> list[str]:
        return [
            f"create type {self.name}_mood as enum ('low', 'high')",
            f"create table {self.name} (id int not null, part int not null, mood {self.name}_mood, n int, note text)",
            f"alter table {self.name} alter note set storage external",
            *self._identify(),
            *(self._insert() for _ in range(6)),
        ]

    def round(self) -> list[str]:
        """The statements between two runs."""
        self.rekeyed = False
        return [one for _ in range(self.chance.randint(0, 9)) for one in self._step()]

    def stream(self) -> dict[str, Any]:
        columns = described(id="integer", part="integer", mood="text", n="text", note="text")
        return {
            "table": f"public.{self.name}",
            "replication": "log_based",
            "primary_key": self.key,
            "columns": columns,
        }

    def _step(self) -> list[str]:
        doing = self.chance.choice(["row"] * 7 + ["shape", "shape", "key"])
        if doing == "shape":
            return self._shape()
        if doing == "key" and not self.rekeyed:
            self.rekeyed, self.key = True, self.chance.choice([key for key in KEYS if key != self.key])
            return self._identify()
        return [self._row()]

    def _identify(self) -> list[str]:
        table, listed = self.name, ", ".join(self.key)
        done = [
            f"alter table {table} drop constraint if exists {table}_pkey",
            f"alter table {table} replica identity full",
        ]
        if not self.key:
            return done
        same = " and ".join(f"a.{name} = b.{name}" for name in self.key)
        return [
            *done,
            f"delete from {table} a using {table} b where {same} and a.ctid > b.ctid",
            f"alter table {table} add constraint {table}_pkey primary key ({listed})",
            *([f"alter table {table} replica identity default"] if self.chance.random() < 0.7 else []),
        ]

    def _value(self, column: str) -> str:
        if column == "mood":
            return f"'{self.chance.choice(self.labels)}'"
        if column == "n":
            return self.chance.choice(["1", "2", "null"])
        return self.chance.choice(["'a'", "'b'", "null", "repeat('long', 900)"])

    def _insert(self) -> str:
        columns = [name for name in COLUMNS[2:] if name not in self.gone]
        values = [str(self.chance.randint(1, 8)), str(self.chance.randint(1, 2)), *map(self._value, columns)]
        return f"insert into {self.name} ({', '.join(['id', 'part', *columns])}) values ({', '.join(values)}) on conflict do nothing"

    def _row(self) -> str:
        one, other = self.chance.randint(1, 8), self.chance.randint(1, 8)
        column = self.chance.choice([name for name in COLUMNS[2:] if name not in self.gone])
        single = f"ctid = (select ctid from {self.name} where id = {one} limit 1)"
        return self.chance.choice(
            [
                self._insert(),
                self._insert(),
                f"update {self.name} set {column} = {self._value(column)} where id = {one}",
                f"update {self.name} set {column} = {self._value(column)} where {single}",
                f"update {self.name} set id = {other} where {single} and not exists (select from {self.name} where id = {other})",
                f"update {self.name} set part = 3 - part where {single} and not exists (select from {self.name} where id = {one} offset 1)",
                f"delete from {self.name} where {single}",
                f"delete from {self.name} where id = {one}",
                *([f"truncate {self.name}"] if self.chance.random() < 0.2 else []),
            ]
        )

    def _shape(self) -> list[str]:
        table, doing = (
            self.name,
            self.chance.choice(
                [
                    "label",
                    "to and fro",
                    "rewrite",
                    "retype",
                    "drop",
                    "extra",
                    "default",
                    "vacuum",
                    "new label",
                ]
            ),
        )
        label = self.chance.randrange(len(self.labels))
        if doing in ("label", "to and fro"):
            old, new = self.labels[label], self._new_name()
            there = f"alter type {table}_mood rename value '{old}' to '{new}'"
            if doing == "to and fro":
                return [
                    there,
                    f"delete from {table} where id = 1",
                    f"alter type {table}_mood rename value '{new}' to '{old}'",
                ]
            self.labels[label] = new
            return [there]
        if doing == "new label":
            self.labels.append(self._new_name())
            return [f"alter type {table}_mood add value '{self.labels[-1]}'"]
        if doing in ("rewrite", "retype") and "n" not in self.gone:
            return [
                f"alter table {table} alter n type {'int using n::int + 1' if doing == 'rewrite' else 'text'}",
                *([f"alter table {table} alter n type int using n::int"] if doing == "retype" else []),
            ]
        if doing == "drop":
            column = self.chance.choice(["n", "note"])
            if column in self.gone:
                self.gone.remove(column)
                default = self.chance.choice(["", " default 7" if column == "n" else " default 'd'"])
                return [
                    f"alter table {table} add column {column} {'int' if column == 'n' else 'text'}{default}"
                ]
            self.gone.add(column)
            return [f"alter table {table} drop column {column}"]
        if doing in ("extra", "default"):
            return [
                f"alter table {table} add column {self._new_name()} text{' default 1' if doing == 'default' else ''}"
            ]
        return [f"vacuum full {table}"]

    def _new_name(self) -> str:
        self.named += 1
        return f"x{self.named}"


def run(chain: Chain, histories: list[History], *, changed: bool) -> None:
    """One run of the platform, with the catalog as it is now."""
    if changed:
        file = chain.directory / "catalog" / "lab.yml"
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
        written["streams"] = {history.name: history.stream() for history in histories}
        file.write_text(yaml.safe_dump(written), encoding="utf-8")
        chain.catalog = load_catalog(chain.directory / "catalog")
        render(chain.catalog, chain.directory)
    entry = chain.catalog["lab"]
    assert isinstance(entry, PostgresSource)
    extract(entry, open_source(entry, lambda _: chain.database.url(), chain.bucket), chain.bucket).insist()
    with open_duckdb(chain.landing.file, who="test") as warehouse:
        load(entry, chain.bucket, warehouse).insist()
    chain.dbt("run", "--quiet")


def differing(chain: Chain, history: History) -> str:
    """How a base model differs from its table, "" when it does not."""
    there = [name for name in COLUMNS if name not in history.gone]  # base keeps what a dropped column held
    listed = ", ".join(f"cast({name} as varchar)" for name in there)
    live = Counter(
        chain.landing.query(
            f"select {listed} from staging.base_lab__{history.name} where _operation not in ('delete', 'truncate')"
        )
    )
    source = Counter(
        tuple(row[name] for name in there) for row in chain.database.rows(f"public.{history.name}")
    )
    return "" if live == source else f"{history.name}: lacks {source - live}, has {live - source}"


@pytest.mark.parametrize("part", range(-(-HISTORIES // TOGETHER)))
def test_random_histories_are_the_source_incrementally_and_from_scratch(
    database: Database, tmp_path: Path, part: int
) -> None:
    chance = Random(SEED + part)
    print(f"GROUNDWORK_SEED={SEED} part {part}")
    histories = [
        History(f"t{number}", chance) for number in range(min(TOGETHER, HISTORIES - part * TOGETHER))
    ]
    said: dict[str, list[str]] = {history.name: [] for history in histories}

    def happen(history: History, statements: list[str], connection: Any) -> None:
        for statement in statements:
            said[history.name].append(statement)
            connection.run(statement)

    with database.connection() as connection:
        for history in histories:
            happen(history, history.begin(), connection)
    database.publish(*[history.name for history in histories])
    chain = Chain(database, tmp_path, {history.name: history.stream() for history in histories})
    run(chain, histories, changed=False)
    for _ in range(ROUNDS):
        with database.connection() as connection:
            for history in histories:
                happen(history, history.round(), connection)
                said[history.name].append("-- run")
        run(chain, histories, changed=any(history.rekeyed for history in histories))
        wrong = [(found, "; ".join(said[h.name])) for h in histories if (found := differing(chain, h))]
        assert not wrong, wrong[:2]
    incremental = {history.name: base(chain.landing, f"lab__{history.name}") for history in histories}
    chain.dbt("run", "--quiet", "--full-refresh")
    for history in histories:
        scratch = base(chain.landing, f"lab__{history.name}")
        assert incremental[history.name] == scratch, "; ".join(said[history.name])
