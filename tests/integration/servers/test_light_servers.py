"""Servers that others wrote, read by a page of the catalog and nothing else: those that start in no time."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import Postgres
from demo.prefect_server import PrefectServer, create_prefect_database
from demo.s3 import S3Server
from demo.service import LOOPBACK
from groundwork.__main__ import main
from groundwork.catalog import load_source
from groundwork.errors import CatalogError
from tests.integration.servers.asking import call
from tests.integration.servers.pipe import Pipe
from tests.integration.servers.programs import Datasette

BOOKS = [(n, f'Book {n}: "ä", 漢, \U0001f4d5, a,b;c\nand a line', f"{n / 8:.3f}") for n in range(257)]


@pytest.fixture(scope="module")
def datasette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Datasette]:
    server = Datasette(tmp_path_factory.mktemp("datasette"))
    with sqlite3.connect(server.database) as database:
        database.execute("create table books (id integer primary key, title text, price text)")
        database.executemany("insert into books values (?, ?, ?)", BOOKS)
    with server:
        yield server


def test_datasette_is_read_in_all_its_ways_of_paging_and_writing(
    datasette: Datasette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASETTE_URL", datasette.url)
    pipe = Pipe("datasette", tmp_path)
    pipe.run()
    for stream in pipe.entry.streams:
        read = [json.loads(row["record"]) for row in pipe.rows(stream) if row["record"]]
        assert [(int(one["id"]), one["title"], one["price"]) for one in read] == BOOKS, stream
    assert pipe.run().batches == []  # nothing changed, in none of them

    with sqlite3.connect(datasette.database) as database:
        database.execute("delete from books where id = 256")
        database.execute("update books set price = '0.001' where id = 7")
    pipe.run()
    for stream in pipe.entry.streams:
        alive = {int(one["id"]): one for one in pipe.alive(stream).values()}
        assert len(alive) == 256 and Decimal(alive[7]["price"]) == Decimal("0.001"), stream


class Filer(S3Server):
    """The demo's S3 server with the door that the demo keeps closed: its filer, by HTTP."""

    def command(self) -> list[str]:
        return [word.replace("-disableHttp=true", "-disableHttp=false") for word in super().command()]

    def program_environment(self) -> dict[str, str]:
        return self.environment()


@pytest.fixture(scope="module")
def filer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Filer(tmp_path_factory.mktemp("filer")) as server:
        yield f"http://{LOOPBACK}:{server.ports['filer']}"


def test_a_filer_lists_its_files_in_pages_and_each_is_read_once(
    filer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, *ids: str) -> None:
        lines = "".join(json.dumps({"id": identity}) + "\n" for identity in ids)
        call("PUT", f"{filer}/exports/{name}", lines.encode())

    monkeypatch.setenv("FILER_URL", filer)
    for number in range(23):
        write(f"{number:02d}.ndjson", f"{number}-a", f"{number}-b")
    pipe = Pipe("filer", tmp_path)
    pipe.run()
    assert len(pipe.alive("listed")) == 23
    assert sorted(pipe.alive("lines")) == sorted(f"{n}-{part}" for n in range(23) for part in "ab")
    assert pipe.run().batches == []

    write("07.ndjson", "7-a", "7-b", "7-c")
    write("23.ndjson", "23-a")
    assert pipe.run().rows["lines"] == 4
    assert len(pipe.alive("listed")) == 24 and len(pipe.alive("lines")) == 48


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[PrefectServer]:
    """Prefect's server without a password."""
    with (
        Postgres(tmp_path / "postgres", durable=False) as postgres,
        PrefectServer(tmp_path / "prefect", create_prefect_database(postgres), protected=False) as server,
    ):
        yield server


def test_prefects_own_api_is_read_by_filters_in_the_body_of_a_post(
    open_server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = open_server.api_url
    monkeypatch.setenv("PREFECT_URL", api)
    flow = call("POST", f"{api}/flows/", {"name": "written-by-a-test"})["id"]
    written: dict[str, Any] = {}
    for number in range(37):
        run = {"flow_id": flow, "name": f"run {number}", "tags": ["written-by-a-test"]}
        written |= {made["id"]: made["name"] for made in [call("POST", f"{api}/flow_runs/", run)]}
    pipe = Pipe("prefect", tmp_path)
    pipe.run()
    for stream in pipe.entry.streams:
        assert {key: one["name"] for key, one in pipe.alive(stream).items()} == written, stream


def test_a_large_document_that_others_wrote_becomes_a_draft_that_is_valid_once_decided(
    prefect_server: PrefectServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prefect's own OpenAPI document: half a megabyte, some 150 paths, references within references."""
    assert main(["discover", "prefect", "--openapi", f"{prefect_server.url}/openapi.json"]) == 0
    draft = capsys.readouterr().out
    (tmp_path / "prefect.yml").write_text(draft, encoding="utf-8")
    with pytest.raises(CatalogError, match=r"connection\.auth: is not decided"):
        load_source(tmp_path / "prefect.yml")
    decided = re.sub(r"^( *)auth: .*TODO.*$", r"\1auth: {kind: none}", draft, flags=re.MULTILINE)
    decided = re.sub(r"^( *)paging: .*TODO.*$", r"\1paging: {kind: single_page}", decided, flags=re.MULTILINE)
    (tmp_path / "prefect.yml").write_text(decided, encoding="utf-8")
    entry = load_source(tmp_path / "prefect.yml")
    states = entry.streams["flow_run_states"]
    assert states.primary_key == ["id"] and states.columns["timestamp"].type == "timestamp"
