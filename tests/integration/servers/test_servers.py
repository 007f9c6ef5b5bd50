"""Servers that others wrote, read by a page of the catalog and nothing else: `make test-servers`.

What was written by a server's own API is compared with what stands in the bucket, record by record.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.integration.servers.asking import call
from tests.integration.servers.installed import program
from tests.integration.servers.pipe import Pipe
from tests.integration.servers.programs import (
    Dagster,
    JsonServer,
    Kinto,
    MLflow,
    PocketBase,
    PouchDB,
    Server,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("GROUNDWORK_TEST_SERVERS"), reason="make test-servers runs it"),
]
S = TypeVar("S", bound=Server)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[S]], S]]:
    """``start(Kinto)``: the server, running, and its address where its page of the catalog looks for it."""
    with ExitStack() as stack:

        def begin(kind: type[S]) -> S:
            server = stack.enter_context(kind(tmp_path / kind.name))
            monkeypatch.setenv(f"{kind.name.upper().replace('-', '_')}_URL", server.url)
            return server

        yield begin


def test_kintos_changes_and_tombstones_follow_the_link_in_its_own_header(
    start: Callable[[type[S]], S], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINTO_PASSWORD", "s3cret")
    server, who = start(Kinto), "reader:s3cret"
    records = f"{server.url}/v1/buckets/library/collections/books/records"
    call("PUT", f"{server.url}/v1/buckets/library", {}, who)
    call("PUT", f"{server.url}/v1/buckets/library/collections/books", {}, who)

    def write(title: str, identity: str = "") -> dict[str, Any]:
        method, place = ("PUT", f"{records}/{identity}") if identity else ("POST", records)
        made: dict[str, Any] = call(method, place, {"data": {"title": title}}, who)["data"]
        return made

    written = {one["id"]: one for one in (write(f"Book {n}, 漢") for n in range(37))}
    pipe = Pipe("kinto", tmp_path)
    pipe.run_until_killed(commits=2, batch_rows=10)
    assert len(pipe.alive("books")) == 20
    pipe.run()
    assert pipe.alive("books") == written and len(list(pipe.rows("books"))) == 37
    assert pipe.run().batches == []

    first, second, *_ = written
    written[first] = write("Book of another name", first)
    call("DELETE", f"{records}/{second}", None, who)
    del written[second]
    assert pipe.run().operations == {"insert": 1, "delete": 1}
    assert pipe.alive("books") == written


def test_mlflows_runs_come_with_a_token_in_the_body_of_a_post_for_each_experiment(
    start: Callable[[type[S]], S], tmp_path: Path
) -> None:
    api = f"{start(MLflow).url}/api/2.0/mlflow"
    experiments: dict[str, str] = {"0": "Default"}
    runs: dict[str, tuple[str, dict[str, float]]] = {}
    for number in range(7):
        made = call("POST", f"{api}/experiments/create", {"name": f"experiment {number}"})["experiment_id"]
        experiments[made] = f"experiment {number}"
        for count in range(number * 2):  # the first has none, the last twelve
            run = call("POST", f"{api}/runs/create", {"experiment_id": made})["run"]["info"]["run_id"]
            metric = {"run_id": run, "key": "loss", "value": 1 / (count + 3), "timestamp": 1}
            call("POST", f"{api}/runs/log-metric", metric)
            runs[run] = made, {"loss": 1 / (count + 3)}
    pipe = Pipe("mlflow", tmp_path)
    pipe.run()
    assert {key: one["name"] for key, one in pipe.alive("experiments").items()} == experiments
    found: dict[str, Any] = {}
    for row in pipe.rows("runs"):
        if row["record"]:
            one = json.loads(row["record"])
            metrics = {metric["key"]: metric["value"] for metric in one["data"]["metrics"]}
            parent = json.loads(row["_request"])["parent"]["experiment_id"]
            assert parent == one["info"]["experiment_id"]
            found[one["info"]["run_id"]] = parent, metrics
    assert found == runs and len(list(pipe.rows("runs"))) == len(runs) + 1


def test_json_servers_pages_are_counted_by_a_header(start: Callable[[type[S]], S], tmp_path: Path) -> None:
    server = start(JsonServer)
    written = {
        n: {"id": n, "title": f"Book {n} 漢", "price": n / 7, "tags": [{"n": n}]} for n in range(1, 48)
    }
    for one in written.values():
        call("POST", f"{server.url}/books", one)
    pipe = Pipe("json_server", tmp_path)
    pipe.run()
    assert pipe.alive("by_number") == pipe.alive("by_link") == written
    assert pipe.run().batches == []

    call("DELETE", f"{server.url}/books/11")
    call("PATCH", f"{server.url}/books/12", {"title": "another"})
    del written[11]
    written[12]["title"] = "another"
    pipe.run()
    assert pipe.alive("by_number") == pipe.alive("by_link") == written


def test_pocketbase_is_logged_in_to_and_asked_by_a_filter_for_what_changed(
    start: Callable[[type[S]], S], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETBASE_PASSWORD", "s3cret-enough")
    server = start(PocketBase)
    data = str(server.directory / "data")
    command = [program("pocketbase"), "superuser", "upsert", "reader@example.com", "s3cret-enough"]
    subprocess.run([*command, "--dir", data], check=True, capture_output=True, timeout=60)
    login = {"identity": "reader@example.com", "password": "s3cret-enough"}
    who = call("POST", f"{server.url}/api/collections/_superusers/auth-with-password", login)["token"]
    updated = [
        {"name": name, "type": "autodate", "onCreate": True, "onUpdate": name == "updated"}
        for name in ("created", "updated")
    ]
    fields = [{"name": "title", "type": "text"}, {"name": "price", "type": "number"}, *updated]
    books = {"name": "books", "type": "base", "fields": fields}
    call("POST", f"{server.url}/api/collections", books, Authorization=who)
    records = f"{server.url}/api/collections/books/records"
    written: dict[str, Any] = {}
    for number in range(37):
        book = {"title": f"Book {number} 漢", "price": number / 4}
        made = call("POST", records, book, Authorization=who)
        written[made["id"]] = made
    pipe = Pipe("pocketbase", tmp_path)
    pipe.run_until_killed(commits=2, batch_rows=10)
    pipe.run()
    assert pipe.alive("books") == written and len(list(pipe.rows("books"))) == 37
    assert pipe.run().batches == []

    first = next(iter(written))
    written[first] = call("PATCH", f"{records}/{first}", {"title": "another"}, Authorization=who)
    made = call("POST", records, {"title": "new"}, Authorization=who)
    written[made["id"]] = made
    assert pipe.run().operations == {"insert": 2}
    assert pipe.alive("books") == written


def test_dagsters_graphql_is_read_to_its_end(start: Callable[[type[S]], S], tmp_path: Path) -> None:
    server = start(Dagster)
    report = (
        "mutation ($path: [String!]!, $said: String) { reportRunlessAssetEvents(eventParams:"
        " {eventType: ASSET_MATERIALIZATION, assetKey: {path: $path}, description: $said}) { __typename } }"
    )
    written: dict[str, str] = {}
    for number in range(37):
        path, said = ["books", f"n{number:03d}"], f"Book {number} 漢"
        body = {"query": report, "variables": {"path": path, "said": said}}
        done = call("POST", f"{server.url}/graphql", body)["data"]["reportRunlessAssetEvents"]
        assert done["__typename"] == "ReportRunlessAssetEventsSuccess"
        written[json.dumps(path)] = said
    pipe = Pipe("dagster", tmp_path)
    pipe.run()
    found = {key: one["assetMaterializations"][0]["description"] for key, one in pipe.alive("assets").items()}
    assert found == written
    assert pipe.run().batches == []


def test_pouchdbs_feed_of_changes_goes_on_where_it_stood(
    start: Callable[[type[S]], S], tmp_path: Path
) -> None:
    server = start(PouchDB)
    database = f"{server.url}/books"
    call("PUT", database)
    written = {f"b{n:02d}": {"title": f"Book {n} 漢", "price": n / 7} for n in range(37)}
    versions = {key: call("PUT", f"{database}/{key}", one)["rev"] for key, one in written.items()}
    pipe = Pipe("pouchdb", tmp_path)

    def alive() -> dict[str, Any]:
        found = {key: one["doc"] for key, one in pipe.alive("books").items()}
        return {key: {"title": doc["title"], "price": doc["price"]} for key, doc in found.items()}

    pipe.run_until_killed(commits=2, batch_rows=10)
    pipe.run()
    assert alive() == written and len(list(pipe.rows("books"))) == 37
    assert pipe.run().batches == []

    call("DELETE", f"{database}/b03?rev={versions['b03']}")
    changed = written["b04"] | {"title": "another"}
    call("PUT", f"{database}/b04", changed | {"_rev": versions["b04"]})
    del written["b03"]
    written["b04"] = changed
    assert pipe.run().operations == {"insert": 1, "delete": 1}
    assert alive() == written
