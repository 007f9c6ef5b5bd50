# ruff: noqa: E501 (statements and values read better in one line)
"""From a real PostgreSQL through extract, load and dbt to the base models, and back to the source, row by row.

Values: what fits its catalog type is typed, what does not is null and named in `_cast_failures`. Which is which
is said by a plain reading of the rules in Python. Records: incremental runs give what a full refresh gives, and
both are the source, with values that the log did not repeat and keys that changed.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from groundwork.bucket import open_bucket
from groundwork.catalog import PostgresSource, load_catalog
from groundwork.extract import extract, open_source
from groundwork.load import load
from groundwork.render import render
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import Database
from tests.integration.test_dbt_base_models import base, described, make_project
from tests.landing import Dbt, Landing

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("GROUNDWORK_SEED", "20251122"))
AMOUNT = "decimal(6,2)"

# catalog type → PostgreSQL type → values that are hard for it
HARD: dict[str, dict[str, list[str]]] = {
    "integer": {
        "bigint": ["9223372036854775807", "-9223372036854775808", "0"],
        "numeric": ["9223372036854775808", "NaN", "Infinity", "12.5", "12.000", "-0", "1e30", "1e-5"],
        "text": ["", " ", " 12", "12 ", "12\n", "٣", "0x10", "+5", "--5", "1_000", "1e3", "12e-1", "abc", "\\N", "0012", "🙂"],
    },
    "decimal(10,2)": {
        "numeric": ["12.34", "12.3400", "12.345", "NaN", "-Infinity", "99999999.99", "100000000", "-0.00", "1e-20", "9" * 400],
        "text": ["", " ", "1,50", "1.5.0", ".5", "5.", "1e2", "1.5e1", "1e-3", "+7", "€5", "1 000"],
    },
    "float": {
        "double precision": ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1"],
        "text": ["", " ", "1e400", "-1e400", "inf", "abc", "1,5", "1e5"],
    },
    "boolean": {"boolean": ["true", "false"], "text": ["", " ", "t", "f", "T", "yes", "1", "true ", "false"]},
    "date": {
        "date": ["2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "5874897-12-31", "0001-01-01", "9999-12-31"],
        "text": ["", " ", "2024-02-30", "2024-1-1", "2024-01-01 00:00:00", " 2024-01-01", "20240101", "today"],
    },
    "timestamp": {
        "timestamptz": ["2024-03-31 02:30:00+02", "infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00"],
        "timestamp": ["2024-03-31 02:30:00.5", "294276-12-31 23:59:59", "4713-01-01 00:00:00 BC"],
        "time": ["24:00:00", "12:00:00"],
        "text": ["", " ", "2024-01-01", "2024-13-01 00:00:00", "2024-01-01 25:00:00", "yesterday", "2024-01-01T10:00:00Z"],
    },
    "text": {
        "time": ["24:00:00"],
        "interval": ["178000000 years", "-1 day"],
        "uuid": ["00000000-0000-0000-0000-000000000000"],
        "text": ["", " ", "tab\tnew\nline\\", "é💥\u200f", "not-a-uuid", "NULL"],
        "int[]": ["[0:1]={1,NULL}"],
        "bytea": ["\\x00ff"],
    },
    "json": {
        "jsonb": ['{"a": 100000000000000000000000000000000000001, "b": 1.10}', "null", '"\\u00e9"'],
        "json": ['{"a":1.0,  "a":2e400}', "[]"],
    },
}  # fmt: skip


@dataclass
class Chain:
    """A source, its bucket, its warehouse, and a dbt project with the base models of this source."""

    database: Database
    directory: Path
    tables: dict[str, Any]

    def __post_init__(self) -> None:
        """Write the catalog, render the models, make the tables of landing."""
        entry = {
            "source": "lab", "kind": "postgres", "priority": 1, "questions": ["?"], "requested_by": ["tests"],
            "owner": {"name": "tests", "email": "tests@example.com"}, "format": "rows", "history": "all",
            "update_every": "1 hour", "connection": {"url": {"secret": "lab"}}, "streams": self.tables,
        }  # fmt: skip
        catalog = self.directory / "catalog"
        catalog.mkdir()
        (catalog / "lab.yml").write_text(yaml.safe_dump(entry), encoding="utf-8")
        self.catalog = load_catalog(catalog)
        make_project(self.directory)
        render(self.catalog, self.directory)
        self.bucket = open_bucket((self.directory / "bucket").as_uri())
        self.landing = Landing(self.directory / "warehouse.duckdb", self.catalog)
        self.dbt = Dbt(self.landing.file, self.directory / "target", self.directory / "dbt")

    def run(self) -> None:
        entry = self.catalog["lab"]
        assert isinstance(entry, PostgresSource)
        extract(entry, open_source(entry, lambda _: self.database.url(), self.bucket), self.bucket)
        with open_duckdb(self.landing.file, who="test") as warehouse:
            load(entry, self.bucket, warehouse)
        self.dbt("run", "--quiet")


def stream(table: str, **columns: str) -> dict[str, Any]:
    return {
        "table": f"public.{table}", "replication": "log_based", "primary_key": ["id"],
        "columns": described(id="integer", **columns),
    }  # fmt: skip


def meant(text: str | None, kind: str) -> Any:
    """The value of a text, None when it is none of this type: the rules, read plainly."""
    if text is None or kind in ("text", "json"):
        return text
    try:
        if kind == "boolean":
            return {"t": True, "true": True, "f": False, "false": False}.get(text)
        if kind == "date":
            return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
        if kind == "timestamp":
            if not re.match(r"\d{4}-\d\d-\d\d($|[ T])", text, re.ASCII) or text.endswith("BC"):
                return None
            moment = datetime.fromisoformat(text)
            return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None)
        if kind == "float":
            number = float(text) if re.fullmatch(r"[-+0-9.eE]+|NaN|-?Infinity", text, re.ASCII) else None
            return None if number is not None and math.isinf(number) and "Infinity" not in text else number
        if not re.fullmatch(r"[-+]?[0-9]+([.][0-9]*)?|[-+]?[0-9.]+[eE][-+]?[0-9]+", text, re.ASCII):
            return None
        number = Decimal(text)
        if kind == "integer":
            whole = number == number.to_integral_value()
            return int(number) if whole and -(2**63) <= number < 2**63 else None
        precision, scale = map(int, re.findall(r"\d+", kind))
        return number if abs(number) < 10 ** (precision - scale) and number == round(number, scale) else None
    except (ValueError, InvalidOperation):
        return None


def test_what_fits_its_type_is_typed_and_what_does_not_is_null_and_named(
    database: Database, tmp_path: Path
) -> None:
    columns = {
        f"c{number}": (kind, source, values)
        for number, (kind, source, values) in enumerate(
            (kind, source, values) for kind, sources in HARD.items() for source, values in sources.items()
        )
    }
    described_ = ", ".join(f"{name} {source}" for name, (_, source, _) in columns.items())
    database.sql(f"create table hard (id int primary key, {described_})")
    database.publish("hard")
    deepest = max(len(values) for _, _, values in columns.values())
    chain = Chain(
        database, tmp_path, {"hard": stream("hard", **{n: kind for n, (kind, _, _) in columns.items()})}
    )
    for first in (0, 1000):  # in the snapshot, and in the log
        for number in range(deepest + 1):
            given = {n: values[number] for n, (_, _, values) in columns.items() if number < len(values)}
            listed = "".join(f", {name}" for name in given)
            literals = "".join(
                ", cast('" + value.replace("'", "''") + f"' as {columns[name][1]})"
                for name, value in given.items()
            )
            database.sql(f"insert into hard (id{listed}) values ({first + number}{literals})")
        chain.run()
    wrong, seen = [], 0
    source = {row["id"]: row for row in database.rows("public.hard")}
    names = ", ".join(["id", "_cast_failures", *columns])
    for identity, failures, *values in chain.landing.query(f"select {names} from staging.base_lab__hard"):
        row, failed = source[str(identity)], json.loads(failures or "[]")
        for (name, (kind, _, _)), value in zip(columns.items(), values, strict=True):
            right = meant(row[name], kind)
            same = value == right or (value != value and right != right)
            if not same or (name in failed) != (row[name] is not None and right is None):
                wrong.append((kind, row[name], value, right, name in failed))
            seen += row[name] is not None
    assert not wrong
    assert seen == 2 * sum(len(values) for _, _, values in columns.values())


def change(chance: Random, table: str, keys: set[int]) -> str:
    """One statement, and what it does to the keys."""
    free = [key for key in range(40) if key not in keys]
    doing = (
        chance.choice(["insert", "update", "update", "move", "move", "long", "delete", "again"])
        if len(keys) > 6
        else "insert"
    )
    doing = "update" if not free and doing in ("insert", "move") else doing
    if doing == "insert":
        keys.add(key := chance.choice(free))
        return f"insert into {table} values ({key}, repeat(md5('{chance.random()}'), 200), 'n{chance.random()}', {chance.choice(['1.50', 'null', '99999', '1.239'])})"
    key = chance.choice(sorted(keys))
    where = f"where id = {key}"
    if doing == "move":
        keys.remove(key)
        keys.add(now := chance.choice(free))
        more = chance.choice(["", ", name = null", f", name = 'm{now}'"])
        return f"update {table} set id = {now}{more} {where}"
    if doing == "long":
        return (
            f"update {table} set long = {chance.choice(['null', 'repeat(md5(name), 150)', '$$$$'])} {where}"
        )
    if doing == "delete":
        keys.remove(key)
        return f"delete from {table} {where}"
    if doing == "again":  # within one transaction: away, and back with other values
        return f"begin; delete from {table} {where}; insert into {table} values ({key}, repeat(md5('{chance.random()}'), 180), 'again', 3); commit"
    return f"update {table} set name = 'u{chance.random()}' {where}"


def test_unchanged_values_and_moved_keys_are_the_sources_incrementally_and_in_full(
    database: Database, tmp_path: Path
) -> None:
    print(f"GROUNDWORK_SEED={SEED}")
    tables = ["identity_default", "identity_full"]
    for table in tables:
        database.sql(
            f"create table {table} (id int primary key, long text, name text, amount numeric);"
            f"alter table {table} alter long set storage external;"
            f"alter table {table} replica identity {table.removeprefix('identity_')}"
        )
    database.publish(*tables)
    shape = {"long": "text", "name": "text", "amount": AMOUNT}
    chain = Chain(database, tmp_path, {table: stream(table, **shape) for table in tables})
    chance = Random(SEED)
    keys: dict[str, set[int]] = {table: set() for table in tables}
    recovered = 0
    for batch in range(4):
        with database.connection() as connection:
            for _ in range(60):
                table = chance.choice(tables)
                for statement in change(chance, table, keys[table]).split("; "):
                    connection.run(statement)
            if batch == 2:
                keys[tables[0]].clear()
                connection.run(f"truncate {tables[0]}")
                connection.run(f"insert into {tables[0]} values (1, repeat('after', 900), 'x', 1)")
                keys[tables[0]].add(1)
        chain.run()
        for table in tables:
            found = chain.landing.query(
                f"select id::varchar, long, name, amount, _cast_failures from staging.base_lab__{table}"
                " where _operation not in ('delete', 'truncate')"
            )
            truth = {
                (
                    row["id"],
                    row["long"],
                    row["name"],
                    meant(row["amount"], AMOUNT),
                    failed(row["amount"]),
                )
                for row in database.rows(f"public.{table}")
            }
            assert len(found) == len(truth) == len(keys[table])
            assert set(found) == truth, f"{table}, batch {batch}, {len(set(found) ^ truth)} rows differ"
        recovered = chain.landing.query(
            "select count(*) from landing.lab__identity_default where contains(_unchanged, 'long')"
        )[0][0]
    assert recovered > 20
    streams = [f"lab__{table}" for table in tables]
    incremental = {name: base(chain.landing, name) for name in streams}
    chain.dbt("run", "--quiet", "--full-refresh")
    assert incremental == {name: base(chain.landing, name) for name in streams}


def failed(amount: str | None) -> str | None:
    return None if amount is None or meant(amount, AMOUNT) is not None else '["amount"]'


def test_a_record_whose_key_goes_to_and_fro_has_one_past(database: Database, tmp_path: Path) -> None:
    """What no change repeats is found under the key before; each move has one way back, not two."""
    database.sql(
        "create table walker (id int primary key, long text, name text);"
        "alter table walker alter long set storage external;"
        "insert into walker values (1, repeat('far', 1000), 'a'), (7, repeat('home', 1000), 'b')"
    )
    database.publish("walker")
    chain = Chain(database, tmp_path, {"walker": stream("walker", long="text", name="text")})
    chain.run()
    for trip in range(14):  # 2^28 ways back, if each trip left one out or not
        database.sql(f"update walker set id = 2, name = 'there {trip}' where id = 1")
        database.sql(f"update walker set id = 1, name = 'back {trip}' where id = 2")
        if trip == 6:
            chain.run()
    chain.run()
    found = chain.landing.query(
        "select id, long, name from staging.base_lab__walker where _operation <> 'delete' order by id"
    )
    assert found == [(1, "far" * 1000, "back 13"), (7, "home" * 1000, "b")]
    chain.dbt("run", "--quiet", "--full-refresh")
    assert found == chain.landing.query(
        "select id, long, name from staging.base_lab__walker where _operation <> 'delete' order by id"
    )
