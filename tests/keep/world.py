"""A bucket of made-up batches whose every row is known to be of somebody, and ways to look at what is left.

The judge knows whose each row is because it made it, not by looking at keys.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from groundwork.bucket import Bucket
from groundwork.catalog import Catalog, load_source
from groundwork.extract import extract
from groundwork.load import load
from groundwork.manifest import batch_name, latest_id, span
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses.duckdb import DuckDB, open_duckdb

SHOP = """
source: shop
kind: postgres
priority: 1
questions: ["Is it all there?"]
requested_by: [tests]
owner: {name: Tests, email: tests@example.com}
format: tables
history: all
update_every: 1 hour
connection: {url: {secret: shop-database-url}}
streams:
  customers:
    table: public.customers
    replication: log_based
    primary_key: [id]
    columns:
      id: {type: integer, subject: customer}
      name: {type: text, pii: true}
  orders:
    table: public.orders
    replication: log_based
    primary_key: [id]
    columns:
      id: {type: integer, subject: order}
      customer_id: {type: integer, subject: customer}
  items:
    table: public.items
    replication: log_based
    primary_key: [order_id, line]
    columns:
      order_id: {type: integer, subject: order}
      line: {type: integer}
      note: {type: text}
  visits:
    table: public.visits
    replication: log_based
    columns:
      customer_id: {type: integer, subject: customer}
      path: {type: text}
"""
PAYMENTS = """
source: payments
kind: rest
priority: 2
questions: ["Is it all there?"]
requested_by: [tests]
owner: {name: Tests, email: tests@example.com}
format: JSON
history: all
update_every: 1 hour
connection: {base_url: {variable: payments-url}}
streams:
  payments:
    endpoint: /payments
    paging: {kind: single_page}
    replication: full_table
    primary_key: [id]
    columns:
      id: {type: text}
      order_id: {type: integer, path: order.reference, subject: order}
"""
PUBLIC = -1
"""Whose the rows of nobody are."""


def make_catalog(directory: Path) -> Catalog:
    directory.mkdir(parents=True, exist_ok=True)
    sources = []
    for name, text in (("shop", SHOP), ("payments", PAYMENTS)):
        (directory / f"{name}.yml").write_text(text)
        assert yaml.safe_load(text)["source"] == name
        sources.append(load_source(directory / f"{name}.yml"))
    return Catalog(sources, directory)


def commit(catalog: Catalog, bucket: Bucket, source: str, frames: dict[str, list[dict[str, Any]]]) -> int:
    """Commit one batch; the rows lie in its objects in this order."""

    class Handed:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            for stream, rows in frames.items():
                if rows:
                    names = dict.fromkeys(name for row in rows for name in row)
                    columns = {name: [row.get(name) for row in rows] for name in names}
                    yield Rows(stream, pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String)))
            yield Checkpoint({**cursors, "at": cursors.get("at", 0) + 1}, heartbeat=True)

    return extract(catalog[source], Handed(), bucket, run_id="a run").batches[-1]


@dataclass
class Person:
    number: int
    key: int
    there: bool = True
    keys: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)


@dataclass
class World:
    """A shop and its payments, changing batch by batch."""

    catalog: Catalog
    bucket: Bucket
    chance: random.Random
    people: list[Person] = field(default_factory=list)
    owners: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    """Whose a row is, by source, stream, batch and number."""
    _lsn: int = 0
    _next_key: int = 100
    _next_order: int = 1000

    def live(self, batches: int) -> None:
        for _ in range(batches):
            self._batch()

    def _batch(self) -> None:
        rows: dict[str, list[tuple[int, dict[str, Any]]]] = {
            stream: [] for stream in ("customers", "orders", "items", "visits", "payments")
        }
        self._lsn += 16
        ordinals = iter(range(100_000))

        def place(ordinal: int | None = None, removal: bool = False) -> str:
            # as groundwork/sources/tuples.py counts: a change has two places, the removal's comes first
            at = next(ordinals) if ordinal is None else ordinal
            return f"{self._lsn:016x}/{at * 2 + (1 if removal else 2):08x}"

        for _ in range(self.chance.randint(1, 12)):
            happening = self.chance.random()
            alive = [person for person in self.people if person.there]
            if happening < 0.3 or not alive:
                self._next_key += self.chance.randint(1, 3)
                person = Person(len(self.people), self._next_key, keys=[self._next_key])
                self.people.append(person)
                rows["customers"].append(
                    (person.number, self._customer(person) | {"_operation": "insert", "_sequence": place()})
                )
                continue
            person = self.chance.choice(alive)
            if happening < 0.45:
                rows["customers"].append(
                    (person.number, self._customer(person) | {"_operation": "update", "_sequence": place()})
                )
            elif happening < 0.55:
                old = person.key
                self._next_key += 1
                person.key = self._next_key
                person.keys.append(person.key)
                at = next(ordinals)
                rows["customers"].append((person.number, {
                    "id": str(old), "_operation": "delete", "_sequence": place(at, removal=True),
                }))  # fmt: skip
                moved = self._customer(person) | {"name": None, "_unchanged": '["name"]'}
                rows["customers"].append((person.number, moved | {
                    "_operation": "update", "_sequence": place(at),
                }))  # fmt: skip
            elif happening < 0.62:
                person.there = False
                rows["customers"].append((person.number, {
                    "id": str(person.key), "_operation": "delete", "_sequence": place(),
                }))  # fmt: skip
            elif happening < 0.8:
                self._order(person, rows, place)
            elif happening < 0.9 and person.orders:
                gone = person.orders.pop(self.chance.randrange(len(person.orders)))
                rows["orders"].append((person.number, {
                    "id": str(gone), "_operation": "delete", "_sequence": place(),
                }))  # fmt: skip
            else:
                rows["visits"].append((person.number, {
                    "customer_id": str(person.key), "path": "/", "_operation": "insert", "_sequence": place(),
                }))  # fmt: skip
                rows["visits"].append((PUBLIC, {
                    "customer_id": None, "path": "/", "_operation": "insert", "_sequence": place(),
                }))  # fmt: skip
        if self.chance.random() < 0.05:
            rows["visits"].append((PUBLIC, {"_operation": "truncate", "_sequence": place()}))
        self._commit("shop", {stream: rows[stream] for stream in ("customers", "orders", "items", "visits")})
        self._commit("payments", {"payments": rows["payments"]})

    def _customer(self, person: Person) -> dict[str, Any]:
        row = {"id": str(person.key), "name": f"Person {person.number:04d} 💙"}
        if self.chance.random() < 0.3:
            row["nickname"] = f"P{person.number:04d}"  # a column that not every batch has
        return row

    def _order(self, person: Person, rows: dict[str, list[tuple[int, dict[str, Any]]]], place: Any) -> None:
        self._next_order += 1
        number = self._next_order
        person.orders.append(number)
        order = {"id": str(number), "customer_id": str(person.key)}
        rows["orders"].append((person.number, order | {"_operation": "insert", "_sequence": place()}))
        for line in range(self.chance.randint(0, 2)):
            item = {"order_id": str(number), "line": str(line), "note": f"for {person.number:04d}"}
            rows["items"].append((person.number, item | {"_operation": "insert", "_sequence": place()}))
        if self.chance.random() < 0.7:
            reference = self.chance.choice([f"{number}", f'"{number}"', f"{number}.0"])
            record = f'{{"id":"pay_{number}","order":{{"reference":{reference}}},"of":"{person.number:04d}"}}'
            rows["payments"].append((person.number, {"record": record, "_request": "GET /payments"}))

    def _commit(self, source: str, rows: dict[str, list[tuple[int, dict[str, Any]]]]) -> None:
        frames = {stream: [row for _, row in made] for stream, made in rows.items()}
        if not any(frames.values()):
            return
        batch = commit(self.catalog, self.bucket, source, frames)
        for stream, made in rows.items():
            for number, (owner, _) in enumerate(made):
                self.owners[source, stream, batch_name(batch), number] = owner


Row = tuple[Any, ...]


def landed(warehouse: DuckDB, source: str, stream: str) -> list[Row]:
    """Every landed row, all columns but when it was loaded, columns by name."""
    names = sorted(set(warehouse.columns("landing", f"{source}__{stream}")) - {"_loaded_at"})
    listed = ", ".join(f'"{name}"' for name in names)
    return [
        tuple(zip(names, row, strict=True))
        for row in warehouse.query(f"select {listed} from landing.{source}__{stream} order by all")
    ]


def ledger(warehouse: DuckDB) -> list[Row]:
    return warehouse.query(
        "select source, batch_id, rows, objects, operations, events, stored_at, extract_run_id, commit_id"
        " from landing._batches order by all"
    )


def everything(warehouse: DuckDB, catalog: Catalog) -> dict[str, list[Row]]:
    tables = {
        f"{source}.{stream}": landed(warehouse, source, stream)
        for source, entry in catalog.items()
        for stream in entry.streams
    }
    return tables | {"ledger": ledger(warehouse)}


def replayed(catalog: Catalog, bucket: Bucket, file: Path) -> dict[str, list[Row]]:
    """What a new warehouse holds, filled from the bucket alone."""
    with open_duckdb(file, who="a test") as warehouse:
        for entry in catalog.values():
            load(entry, bucket, warehouse)
        return everything(warehouse, catalog)


def whose(row: Row, source: str, stream: str, owners: dict[tuple[str, str, str, int], int]) -> int:
    named = dict(row)
    return owners[source, stream, named["_batch_id"], named["_row"]]


def without(tables: dict[str, list[Row]], world: World, person: Person) -> dict[str, list[Row]]:
    """What must be left when one person is gone, the ledger aside."""
    left = {}
    for table, rows in tables.items():
        if table != "ledger":
            source, stream = table.split(".")
            left[table] = [row for row in rows if whose(row, source, stream, world.owners) != person.number]
    return left


def listed_keys(bucket: Bucket, catalog: Catalog) -> set[str]:
    """Objects that manifests list."""
    return {
        stored.key
        for source in catalog
        for batch in span(bucket, source, 1, latest_id(bucket, source))
        for stored in batch.objects
    }
