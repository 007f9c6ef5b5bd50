"""Incremental equals full refresh, and both equal a plain reading of the rules in Python.

One dbt run costs seconds, so a scenario is a key, not a run: hypothesis draws a history for each of many
keys and streams, lands them all in the same few batches, and dbt runs once per batch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from groundwork.catalog import Catalog, load_catalog
from groundwork.load import prepare
from groundwork.render import render
from groundwork.warehouses.duckdb import open_duckdb
from tests.landing import ROOT, Dbt, Landing, sequence

BATCHES = 4
WIDENED = 2  # batch that brings one more column
KEYS = 100
NUMBERS = {  # text in landing → value in base; what maps to None does not fit decimal(6,2)
    "1.00": Decimal("1.00"),
    "-2.5": Decimal("-2.50"),
    "1E+2": Decimal("100.00"),
    "3.1400": Decimal("3.14"),
    "abc": None,
    "1.239": None,
    "99999": None,
    "NaN": None,
    "0x10": None,
    "": None,
}
TEXTS = ["a", "", "-", "=", "=b", "null", 'it\'s "x"', "é\n"]
ODD = "Odd, näme's"


def described(**columns: str) -> dict[str, Any]:
    return {name: {"type": kind} for name, kind in columns.items()}


def write_catalog(directory: Path, *, widened: bool) -> Catalog:
    """A source of tables and one of records; `widened` adds a column to each stream."""
    directory.mkdir(exist_ok=True)
    extra = described(late="text") if widened else {}
    about = {
        "priority": 1,
        "questions": ["?"],
        "requested_by": ["tests"],
        "owner": {"name": "tests", "email": "tests@example.com"},
        "format": "rows",
        "history": "all",
        "update_every": "1 hour",
    }
    values = described(amount="decimal(6,2)", **{ODD: "text"})
    tables = {
        name: {
            "table": f"public.{name}",
            "replication": "log_based",
            "primary_key": key,
            "columns": described(**keys) | values | extra,
        }
        for name, key, keys in [
            ("single", ["id"], {"id": "integer"}),
            ("truncated", ["id"], {"id": "integer"}),
            ("composite", ["Left", "order"], {"Left": "text", "order": "integer"}),
            ("moving", ["id"], {"id": "integer"}),
            ("keyless", [], {}),
            ("keyless_truncated", [], {}),
        ]
    }
    lab = about | {
        "source": "lab",
        "kind": "postgres",
        "streams": tables,
        "connection": {"url": {"secret": "lab"}},
    }
    record = (
        described(id="integer")
        | {
            "amount": {"type": "decimal(6,2)", "path": "sum.value"},
            ODD: {"type": "text", "path": f"deep.{ODD}"},
        }
        | ({"late": {"type": "text", "path": "late"}} if widened else {})
    )
    api = about | {
        "source": "api",
        "kind": "pushed",
        "streams": {
            "records": {"replication": "full_table", "primary_key": ["id"], "columns": record},
        },
    }
    for entry in (lab, api):
        (directory / f"{entry['source']}.yml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return load_catalog(directory)


def make_project(directory: Path) -> None:
    """Our dbt project without its models: only what base models stand on."""
    for part in (
        "dbt_project.yml",
        "profiles.yml",
        "macros",
        "models/staging/_groups.yml",
        "models/staging/_columns.md",
        "models/staging/ledger/_ledger__sources.yml",
    ):
        target = directory / "dbt" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / "dbt" / part).is_dir() else shutil.copy
        copy(ROOT / "dbt" / part, target)


class Rows(dict[str, list[dict[str, Any]]]):
    """Rows of every stream, each with the batch it comes in."""

    def __repr__(self) -> str:
        """Short: thousands of rows tell a reader nothing."""
        return f"Rows({ {stream: len(rows) for stream, rows in self.items()} })"


def version(chance: Random, *, log: bool) -> dict[str, Any]:
    """One landing row of a key: what happened, where in the source's order, in which batch it came."""
    operation = chance.choice(["insert", "update", "update", "snapshot", "delete"] if log else ["insert"])
    row: dict[str, Any] = {
        "_operation": operation,
        "_sequence": sequence(chance.randint(1, 30)),
        "batch": chance.randint(1, BATCHES),
        "amount": chance.choice([*NUMBERS, None]),
        ODD: chance.choice([*TEXTS, None]),
        "late": chance.choice(["l1", "l2", None]),
    }
    if operation == "delete":
        row |= {"amount": None, ODD: None, "late": None}
    elif operation == "update" and log and chance.random() < 0.5:
        missing = chance.choice([["amount"], [ODD], [ODD, "amount"]])
        row |= dict.fromkeys(missing)
        row["_unchanged"] = json.dumps(missing, ensure_ascii=chance.random() < 0.5)
    return row


def draw_rows(chance: Random) -> Rows:
    """A history for each of many keys."""
    rows = Rows()
    for stream in ("single", "truncated", "composite", "records"):
        rows[stream] = [
            key | version(chance, log=stream != "records")
            for number in range(KEYS)
            for key in [
                {"Left": f"l{number % 7}", "order": str(number)}
                if stream == "composite"
                else {"id": str(number)}
            ]
            for _ in range(chance.randint(1, 6))
        ]
    for stream in ("keyless", "keyless_truncated"):
        rows[stream] = [
            {
                "_operation": chance.choice(["insert", "insert", "snapshot", "delete"]),
                "_sequence": sequence(chance.randint(1, 30)),
                "batch": chance.randint(1, BATCHES),
                "amount": chance.choice(["1.00", "abc", None]),
                ODD: chance.choice(["a", "b", None]),
                "late": None,
            }
            for _ in range(chance.randint(20, 60))
        ]
    for stream in ("truncated", "keyless_truncated", "records"):
        rows[stream] += [
            {
                "_operation": "truncate",
                "_sequence": sequence(chance.randint(3, 28)),
                "batch": chance.randint(1, BATCHES),
            }
            for _ in range(chance.randint(1, 3))
        ]
    for stream in rows:  # some changes land twice, in another batch
        again = chance.sample(rows[stream], 6) if "keyless" not in stream else []
        rows[stream] += [row | {"batch": 1 + row["batch"] % BATCHES} for row in again]
    return rows


def draw_log(chance: Random) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The log of a table whose records change their keys, and the table as it stands in the end.

    Places are counted as groundwork/sources/tuples.py does: two for each change, of which the first is the
    delete of the old key.
    """
    table: dict[str, dict[str, Any]] = {}
    log: list[dict[str, Any]] = []

    def change(operation: str, ordinal: int, key: str, values: dict[str, Any], first: bool = False) -> None:
        place = f"{5 + ordinal // 40:016x}/{ordinal % 40 * 2 + (1 if first else 2):08x}"
        batch = 1 + ordinal * BATCHES // 240
        log.append({"_operation": operation, "_sequence": place, "id": key, "batch": batch} | values)

    for ordinal in range(240):
        free = [str(key) for key in range(25) if str(key) not in table]
        doing = chance.choice(["insert", "update", "move", "move", "delete"]) if len(table) > 8 else "insert"
        doing = "update" if doing in ("insert", "move") and not free else doing
        if doing == "insert":
            key = chance.choice(free)
            table[key] = {
                "amount": chance.choice([*NUMBERS]),
                ODD: chance.choice([*TEXTS, None]),
                "late": None,
            }
            change("insert", ordinal, key, table[key])
            continue
        key = chance.choice([*table])
        if doing == "delete":
            del table[key]
            change("delete", ordinal, key, dict.fromkeys(["amount", ODD, "late"]))
            continue
        now = chance.choice(free) if doing == "move" else key
        table[now] = dict(table.pop(key))
        kept = chance.choice([["amount"], [ODD], [ODD, "amount"], []])
        table[now] |= {"amount": chance.choice([*NUMBERS])} if "amount" not in kept else {}
        table[now] |= {ODD: chance.choice([*TEXTS, None])} if ODD not in kept else {}
        if now != key:
            change("delete", ordinal, key, dict.fromkeys(["amount", ODD, "late"]), first=True)
        unchanged = {"_unchanged": json.dumps(kept)} if kept else {}
        change("update", ordinal, now, table[now] | dict.fromkeys(kept) | unchanged)
    return log, table


def as_record(row: dict[str, Any]) -> dict[str, Any]:
    """The same row as an API would send it."""
    if row["_operation"] == "truncate":
        return row
    number = row["amount"]
    is_number = number is not None and NUMBERS[number] is not None
    value = number if is_number else json.dumps(number)
    record = (
        f'{{"id": {row["id"]}, "sum": {{"value": {value}}}, "late": {json.dumps(row["late"])},'
        f' "deep": {{{json.dumps(ODD)}: {json.dumps(row[ODD])}}}}}'
    )
    return {name: row[name] for name in ("_operation", "_sequence", "batch")} | {"record": record}


def place(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["_sequence"], row["batch"], row["_row"]


def expected(rows: list[dict[str, Any]], key: list[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The base table by the rules: key → (operation, amount, odd column, late, sequence, failures)."""
    gone = max((row["_sequence"] for row in rows if row["_operation"] == "truncate"), default="")
    records: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted((row for row in rows if row["_operation"] != "truncate"), key=place):
        records[tuple(row[name] for name in key)].append(row)
    table = {}
    for name, history in records.items():
        newest = dict(history[-1])
        for column in json.loads(newest.get("_unchanged") or "[]"):
            known = [r for r in history if column not in json.loads(r.get("_unchanged") or "[]")]
            newest[column] = known[-1][column] if known else None
        if newest["_operation"] != "delete" and newest["_sequence"] < gone:
            newest["_operation"] = "truncate"
        table[name] = seen(newest)
    return table


def expected_without_key(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows of a table without a key: a delete takes away the oldest row that is equal."""
    gone = max((row["_sequence"] for row in rows if row["_operation"] == "truncate"), default="")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted((row for row in rows if row["_operation"] != "truncate"), key=place):
        groups[row["amount"], row[ODD]].append(row)
    table = []
    for group in groups.values():
        deletes = sum(r["_operation"] == "delete" and r["_sequence"] >= gone for r in group)
        inserts = [r for r in group if r["_operation"] != "delete"]
        inserts.sort(key=lambda r: r["_sequence"] < gone)
        for age, row in enumerate(inserts):
            fate = "delete" if age < deletes else "truncate" if row["_sequence"] < gone else row["_operation"]
            table.append((row["batch"], row["_row"], *seen(row | {"_operation": fate})))
    return sorted(table, key=repr)


def seen(row: dict[str, Any]) -> tuple[Any, ...]:
    failures = None if row["amount"] is None or NUMBERS[row["amount"]] is not None else '["amount"]'
    amount = NUMBERS.get(row["amount"] or "")
    return row["_operation"], amount, row[ODD], row["late"], row["_sequence"], failures


def base(landing: Landing, stream: str) -> list[tuple[Any, ...]]:
    """Everything in a base table but when it was built; columns by name, for added ones stand last."""
    described = landing.query(f"select column_name from (describe staging.base_{stream})")
    names = ", ".join(f'"{name}"' for (name,) in sorted(described) if name != "_built_at")
    return landing.query(f"select {names} from staging.base_{stream} order by all")


SEEN = f'_operation, amount, "{ODD}", late, _sequence, _cast_failures'
STREAMS = [
    "lab__moving",
    "lab__single",
    "lab__truncated",
    "lab__composite",
    "lab__keyless",
    "lab__keyless_truncated",
    "api__records",
]
_EXAMPLES = int(os.environ.get("GROUNDWORK_EXAMPLES", "1"))


@settings(
    max_examples=_EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=_EXAMPLES == 1,
    database=None,
)
@given(seed=st.integers(0, 2**32), replayed=st.integers(1, BATCHES - 1))
def test_incremental_runs_give_the_table_that_a_full_refresh_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, replayed: int
) -> None:
    rows = draw_rows(
        Random(seed)
    )  # drawing each value by hypothesis took a minute, and no shrinking is wanted
    rows["moving"], table = draw_log(Random(seed))
    directory = tmp_path_factory.mktemp("lab")
    make_project(directory)
    catalog = write_catalog(directory / "catalog", widened=False)
    render(catalog, directory)
    landing = Landing(directory / "warehouse.duckdb", catalog)
    dbt = Dbt(landing.file, directory / "target", directory / "dbt")
    batches: dict[int, dict[str, list[dict[str, Any]]]] = {
        number: {stream: [row for row in rows[stream] if row["batch"] == number] for stream in rows}
        for number in range(1, BATCHES + 1)
    }
    for streams in batches.values():
        for found in streams.values():
            for number, row in enumerate(found):
                row["_row"] = number

    def land(number: int) -> None:
        narrow = {"batch"} if number >= WIDENED else {"batch", "late"}
        for source, of in (("lab", rows.keys() - {"records"}), ("api", {"records"})):
            landing.land(
                source,
                number,
                {
                    stream: [
                        {
                            k: v
                            for k, v in (as_record(row) if stream == "records" else row).items()
                            if k not in narrow
                        }
                        for row in batches[number][stream]
                    ]
                    for stream in of
                },
            )

    for number in batches:
        if number == WIDENED:  # a column is added; what was landed before does not have it
            widened = write_catalog(directory / "catalog", widened=True)
            render(widened, directory)
            landing.catalog = widened
            with open_duckdb(landing.file, who="test") as warehouse:
                prepare(widened.values(), warehouse)
        land(number)
        dbt("run", "--quiet")
    land(replayed)
    dbt("run", "--quiet")
    incremental = {stream: base(landing, stream) for stream in STREAMS}
    dbt("run", "--quiet", "--full-refresh")
    for stream in STREAMS:
        assert incremental[stream] == base(landing, stream), stream

    for row in (r for stream in rows if stream != "records" for r in rows[stream] if r["batch"] < WIDENED):
        row["late"] = None
    for stream, key in (("single", ["id"]), ("truncated", ["id"]), ("composite", ["Left", "order"])):
        quoted = ", ".join(f'"{name}"::varchar' for name in key)
        found = landing.query(f"select {quoted}, {SEEN} from staging.base_lab__{stream}")
        assert {row[: len(key)]: row[len(key) :] for row in found} == expected(rows[stream], key), stream
    found = landing.query(
        f"select id::varchar, {SEEN} from staging.base_lab__moving where _operation <> 'delete'"
    )
    live = {row[0]: row[2:4] for row in found}
    assert live == {key: (NUMBERS[row["amount"]], row[ODD]) for key, row in table.items()}
    found = landing.query(f"select id::varchar, {SEEN} from staging.base_api__records")
    assert {row[:1]: row[1:] for row in found} == expected(rows["records"], ["id"])
    for stream in ("keyless", "keyless_truncated"):
        found = landing.query(f"select _batch_id::int, _row, {SEEN} from staging.base_lab__{stream}")
        assert sorted(found, key=repr) == expected_without_key(rows[stream]), stream
