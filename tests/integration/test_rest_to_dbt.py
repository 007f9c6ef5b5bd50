"""From an API's answer to a base model: CSV, and children that are known by their parent's key too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from groundwork.bucket import open_bucket
from groundwork.catalog import Catalog, load_catalog
from groundwork.extract import extract, open_source
from groundwork.load import load
from groundwork.render import render
from groundwork.warehouses.duckdb import open_duckdb
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import entry, resolve
from tests.integration.test_dbt_base_models import make_project
from tests.landing import Dbt, Landing

LEDGER = 'Account;Amount;Booked;Note\n007;1.50;2026-01-31;"a;b ""c"""\n008;x;2026-02-30;\n'


class Office:
    """A ledger as CSV, and issues whose comments are numbered anew for each of them."""

    def __init__(self) -> None:
        self.issues = {1: "2026-01-01T00:00:00Z", 2: "2026-01-01T00:00:01Z"}
        self.comments = {1: ["a", "b"], 2: ["c"]}

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/ledger.csv":
            return web.Response(body=LEDGER.encode("cp1252"), content_type="text/csv")
        parts = request.path.split("/")
        if len(parts) == 2:
            since = request.query.get("since", "")
            found = [{"number": n, "at": at} for n, at in self.issues.items() if at >= since]
            return answer(found)
        number = int(parts[2])
        if number not in self.issues:
            return answer({}, 404)
        return answer([{"id": n, "text": text} for n, text in enumerate(self.comments[number], 1)])


def catalog(url: str, directory: Path) -> Catalog:
    comments = {
        "endpoint": "/issues/{parent.number}/comments", "replication": "incremental",
        "parent": {"stream": "issues", "may_be_gone": True}, "primary_key": ["issue", "id"],
        "columns": {"issue": {"type": "integer", "parent": "number"}, "id": {"type": "integer"},
                    "text": {"type": "text"}},
    }  # fmt: skip
    issues = {
        "endpoint": "/issues", "replication": "incremental", "primary_key": ["number"],
        "cursor": {"field": "at", "parameter": "since"},
        "columns": {"number": {"type": "integer"}, "at": {"type": "timestamp"}},
    }  # fmt: skip
    ledger = {
        "endpoint": "/ledger.csv", "format": "csv", "delimiter": ";", "encoding": "windows-1252",
        "replication": "full_table", "primary_key": ["Account"],
        "columns": {"Account": {"type": "text"}, "Amount": {"type": "decimal(6,2)"},
                    "Booked": {"type": "date"}, "Note": {"type": "text"}},
    }  # fmt: skip
    page = entry(url, {}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    page |= {"update_every": "1 hour", "streams": {"issues": issues, "comments": comments, "ledger": ledger}}
    directory.mkdir()
    (directory / "books.yml").write_text(yaml.safe_dump(page, sort_keys=False), encoding="utf-8")
    return load_catalog(directory)


def test_a_csv_and_children_with_their_parents_key_arrive_in_their_base_models(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    office = Office()
    pages = catalog(serve(office).url, tmp_path / "catalog")
    make_project(tmp_path)
    render(pages, tmp_path)
    landing, bucket = Landing(tmp_path / "w.duckdb", pages), open_bucket((tmp_path / "bucket").as_uri())
    dbt = Dbt(landing.file, tmp_path / "target", tmp_path / "dbt")

    def run() -> None:
        source = pages["books"]
        extract(source, open_source(source, resolve, bucket), bucket)
        with open_duckdb(landing.file, who="test") as warehouse:
            load(source, bucket, warehouse)
        dbt("run")

    def comments(where: str = "true") -> list[tuple[Any, ...]]:
        of = "staging.base_books__comments as comment"
        return landing.query(f"select issue, id, text from {of} where {where} order by issue, id")

    run()
    rows = landing.query(
        'select "Account", "Amount", "Booked", "Note", _cast_failures from staging.base_books__ledger'
        ' order by "Account"'
    )
    assert [str(value) for value in rows[0]] == ["007", "1.50", "2026-01-31", 'a;b "c"', "None"]
    assert rows[1][:4] == ("008", None, None, "") and json.loads(rows[1][4]) == ["Amount", "Booked"]
    assert comments() == [(1, 1, "a"), (1, 2, "b"), (2, 1, "c")]

    # a comment is changed, and a parent vanishes just when its children are asked for
    office.issues = {1: "2026-01-02T00:00:00Z", 3: "2026-01-02T00:00:01Z"}
    office.comments = {1: ["a", "new"], 3: ["d"]}
    run()
    assert comments() == [(1, 1, "a"), (1, 2, "new"), (2, 1, "c"), (3, 1, "d")]


ODD = r"""[{"id": "1", "v": "cut \ud83d", "deep": {"k\ude00": [1.5, "\ud83d\ude00"]}}, {"id": "2", "v": "ok"},
{"id": "3", "v": "\\ud83d \ud83d\ude00 \uD83D\uD83D\uDE00", "n": 12345678901234567890.10}]"""


def test_half_an_emoji_is_landed_letter_for_letter_and_hides_no_value(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    async def books(request: web.Request) -> web.Response:
        return answer(ODD.encode())

    columns = {"id": "text", "v": "text", "deep": "json", "n": "text"}
    page = entry(serve(books).url, {}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    page |= {"update_every": "1 hour"}
    page["streams"]["books"] |= {
        "primary_key": ["id"], "columns": {name: {"type": kind} for name, kind in columns.items()},
    }  # fmt: skip
    directory = tmp_path / "catalog"
    directory.mkdir()
    (directory / "books.yml").write_text(yaml.safe_dump(page, sort_keys=False), encoding="utf-8")
    pages = load_catalog(directory)
    make_project(tmp_path)
    render(pages, tmp_path)
    landing, bucket = Landing(tmp_path / "w.duckdb", pages), open_bucket((tmp_path / "bucket").as_uri())
    source = pages["books"]
    extract(source, open_source(source, resolve, bucket), bucket)
    with open_duckdb(landing.file, who="test") as warehouse:
        load(source, bucket, warehouse)
    Dbt(landing.file, tmp_path / "target", tmp_path / "dbt")("run")
    records = [
        row[0] for row in landing.query("select record from landing.books__books where record is not null")
    ]
    assert "[" + ", ".join(sorted(records)).replace('}, {"id": "3"', '},\n{"id": "3"') + "]" == ODD
    found = landing.query("select id, v, deep, n from staging.base_books__books order by id")
    assert found == [
        ("1", "cut \ufffd", '{"k\ufffd":[1.5,"😀"]}', None),
        ("2", "ok", None, None),
        ("3", "\\ud83d 😀 \ufffd😀", None, "12345678901234567890.10"),
    ]
