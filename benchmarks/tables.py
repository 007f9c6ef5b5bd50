"""Many tables: extract and load of one changed row in 2,000 tables, and of none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.check import same
from benchmarks.ground import SETTINGS, Ground
from benchmarks.load import ours
from benchmarks.measure import Contender, Measured, Rounds, interleave, measure
from benchmarks.notes import OURS, QUIET
from benchmarks.workloads import PUBLICATION
from demo.postgres import Postgres

TABLES = 2_000
NAME = "many"
VARIABLE = "MANY_DATABASE_URL"
_MADE = """
do $$ begin
    for n in {first}..{last} loop
        execute format('create table t%s (id bigint primary key, name text, amount numeric(12,2),'
            ' changed_at timestamptz not null default now())', n);
        execute format('insert into t%s values (1, ''a'', 1.5)', n);
    end loop;
end $$
"""


@dataclass(frozen=True)
class _Many:
    """The tables, and everything that was copied of them before."""

    server: Postgres
    asked: dict[str, Any]
    environment: dict[str, str]

    def run(self, rows: int) -> Measured:
        """One run, and whether it brought so many rows."""
        measured = measure(ours(self.asked), self.environment, self.server.pid)
        said = measured.said
        same("rows of the run", [rows, rows], [said["extract_rows"], said["load_rows"]])
        for spent in ("cpu", "wall"):
            said[f"work_{spent}"] = said.pop(f"extract_{spent}") + said.pop(f"load_{spent}")
        return measured

    def changed(self) -> Measured:
        """One row of one table changes, and is landed."""
        self.server.sql("update t1 set amount = amount + 1", database=NAME)
        return self.run(1)


def run(ground: Ground, rounds: Rounds, only: str) -> list[dict[str, Any]]:
    """Copy all tables once, then measure runs that find one row, and runs that find none."""
    with _many(ground) as many:
        everything = [Contender(OURS, many.changed), Contender(QUIET, lambda: many.run(0))]
        chosen = [contender for contender in everything if only in contender.name]
        return interleave(f"{TABLES:,} tables", chosen, rounds, ground.tell)


@contextmanager
def _many(ground: Ground) -> Iterator[_Many]:
    tables = max(2, int(TABLES * ground.scale))
    with (
        ground.prefix() as bucket,
        ground.directory() as directory,
        Postgres(directory / "postgres", settings=SETTINGS) as server,
    ):
        server.create_database(NAME)
        for first in range(1, tables + 1, 500):  # a transaction's locks are limited
            last = min(first + 499, tables)
            server.sql(_MADE.format(first=first, last=last), database=NAME)
        server.sql(f"create publication {PUBLICATION} for all tables", database=NAME)
        asked = {
            "catalog": str(ground.catalog(directory, _draft(server), NAME)),
            "source": NAME,
            "bucket": bucket,
            "duckdb": str(directory / "groundwork.duckdb"),
            "steps": ["catalog", "extract", "load"],
            "beyond_imports": True,
        }
        given = ground.environment() | {VARIABLE: server.url(NAME)}
        many = _Many(server, asked, given)
        measure(ours(asked), given)  # copies all tables
        many.run(0)  # what the copy's own message left
        yield many


def _draft(server: Postgres) -> str:
    """The catalog's file, as people get it."""
    from groundwork.discovery.tables import discover_postgres

    return discover_postgres(server.url(NAME), NAME, "many-database-url")
