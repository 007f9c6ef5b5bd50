"""The door for AWS Lambda, behind AWS's own runtime client: one event, one source, within the time limit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
import yaml
from aiohttp import web
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from demo.prefect_server import PrefectServer
from groundwork import manifest
from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import load_catalog
from groundwork.extract import extract, open_source
from tests.commands import PROJECT
from tests.integration.fault_api import Api, answer
from tests.lambda_runtime import Function, Invocation, LambdaRuntime
from tests.snowflake.account import Account
from tests.snowflake.fixtures import account, emulator, new_account, s3_server

__all__ = ["account", "emulator", "new_account", "s3_server"]  # fixtures

COMMAND = [sys.executable, "-m", "awslambdaric", "deployments.lambda_function.handler"]
TOKEN = "canary-0d1f"
BOOKS = 400
PAGE = 10


class Library:
    """Books by pages, each of which takes ``delay`` seconds; asked without the token it refuses."""

    def __init__(self) -> None:
        self.delay = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return answer({"error": "who are you"}, status=401)
        await asyncio.sleep(self.delay)
        after = int(request.query.get("after", -1))
        since = int(request.query.get("since", -1))
        ids = list(range(max(after + 1, since), BOOKS))[:PAGE]
        more = bool(ids) and ids[-1] < BOOKS - 1
        return answer({"items": [{"id": n, "at": n} for n in ids], "next": ids[-1] if more else None})


class Place:
    """A catalog with one source, a bucket, and a function that reads the one into the other."""

    def __init__(self, directory: Path, url: str, library: Library) -> None:
        self.library = library
        self.catalog = directory / "catalog"
        self.catalog.mkdir()
        self.bucket: Bucket = open_bucket((directory / "bucket").as_uri())
        entry = {
            "source": "books", "kind": "rest", "priority": 1, "questions": ["What is read?"],
            "requested_by": ["tests"], "owner": {"name": "n", "email": "a@example.com"}, "format": "JSON",
            "history": "all", "update_every": "1 hour", "description": "Books.",
            "connection": {
                "base_url": url, "requests_per_second": 10_000, "max_wait_seconds": 20,
                "auth": {"kind": "bearer", "token": {"secret": "books-token"}},
            },
            "streams": {
                "books": {
                    "endpoint": "/books", "description": "Books.", "replication": "incremental",
                    "primary_key": ["id"], "records": "items",
                    "paging": {"kind": "cursor", "parameter": "after", "next": "next"},
                    "cursor": {"field": "at", "parameter": "since"},
                    "columns": {
                        "id": {"type": "integer", "description": "Number"},
                        "at": {"type": "integer", "description": "When"},
                    },
                }
            },
        }  # fmt: skip
        (self.catalog / "books.yml").write_text(yaml.safe_dump(entry), encoding="utf-8")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PYTHONPATH": str(PROJECT),
            "GROUNDWORK_CATALOG": str(self.catalog),
            "GROUNDWORK_BUCKET": self.bucket.url,
            "GROUNDWORK_WAREHOUSE": "duckdb",
            "BOOKS_TOKEN": TOKEN,
        }

    def ids(self) -> Counter[int]:
        """How often each book stands in committed objects."""
        found: Counter[int] = Counter()
        for batch in manifest.since(self.bucket, "books", 0):
            for stored in batch.objects:
                file = self.catalog.parent / "object.parquet"
                self.bucket.download(stored.key, file)
                found.update(json.loads(text)["id"] for text in pq.read_table(file)["record"].to_pylist())
        return found


@pytest.fixture
def place(serve: Callable[..., Api], tmp_path: Path) -> Place:
    library = Library()
    return Place(tmp_path, serve(library.handle).url, library)


@pytest.fixture
def runtime() -> Iterator[LambdaRuntime]:
    with LambdaRuntime() as running:
        yield running


def one_event(
    runtime: LambdaRuntime, place: Place, event: Any, *, seconds: float = 60, **environment: str
) -> tuple[Invocation, str]:
    """What became of one event, and what the function wrote."""
    log = place.catalog.parent / "function.log"
    settings = {**place.environment, **environment}
    with Function(runtime, COMMAND, environment=settings, log=log, cwd=PROJECT) as function:
        return runtime.invoke(function, event, seconds=seconds), function.output


def test_an_event_ingests_one_source_and_the_next_one_goes_on_in_the_same_process(
    runtime: LambdaRuntime, place: Place
) -> None:
    log = place.catalog.parent / "function.log"
    with Function(runtime, COMMAND, environment=place.environment, log=log, cwd=PROJECT) as function:
        first = runtime.invoke(function, {"source": "books"}, seconds=60)
        second = runtime.invoke(function, {"source": "books"}, seconds=60)
        assert function.is_running and runtime.refused == []
    assert (first.kind, second.kind) == ("response", "response"), function.output
    assert first.body == {
        "source": "books", "complete": True, "extracted": {"batches": [1], "rows": {"books": BOOKS}}
    }  # fmt: skip
    assert second.body["complete"] and second.body["extracted"]["batches"] == []
    assert place.ids() == Counter(range(BOOKS))
    newest = manifest.latest(place.bucket, "books")
    assert newest is not None and newest.run_id == first.request_id, "rows lead back to the invocation"
    assert "committed source=books batch=0000000001 rows=400" in function.output


def test_near_its_time_limit_it_commits_what_is_done_and_the_next_event_goes_on(
    runtime: LambdaRuntime, place: Place
) -> None:
    place.library.delay = 1.0  # 40 pages: 40 seconds, which is more than the function has
    stopped, output = one_event(runtime, place, {"source": "books"}, seconds=12)
    assert stopped.kind == "response", output
    assert stopped.body["complete"] is False and stopped.seconds < 12
    done = place.ids()
    assert 0 < len(done) < BOOKS and set(done.values()) == {1}
    assert "time is up source=books the next run goes on" in output

    place.library.delay = 0.0
    rest, output = one_event(runtime, place, {"source": "books"})
    assert rest.kind == "response" and rest.body["complete"] is True, output
    assert rest.body["extracted"]["rows"] == {"books": BOOKS - len(done)}, "nothing is read twice"
    assert place.ids() == Counter(range(BOOKS))


def test_a_function_that_is_killed_at_its_limit_loses_and_doubles_nothing(
    runtime: LambdaRuntime, place: Place
) -> None:
    place.library.delay = 30.0  # the first page does not even come
    killed, _ = one_event(runtime, place, {"source": "books"}, seconds=2)
    assert killed.kind == "killed" and place.ids() == Counter()
    place.library.delay = 0.0
    answered, output = one_event(runtime, place, {"source": "books"})
    assert answered.kind == "response", output
    assert place.ids() == Counter(range(BOOKS))


def test_an_ordinary_run_goes_on_where_the_function_stopped(runtime: LambdaRuntime, place: Place) -> None:
    answered, output = one_event(runtime, place, {"source": "books"})
    assert answered.kind == "response", output
    entry = load_catalog(place.catalog)["books"]
    again = extract(entry, open_source(entry, lambda _: TOKEN, place.bucket), place.bucket)
    assert (again.batches, again.complete) == ([], True), "one state for all doors: the manifest"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({}, "event: is not an order to ingest: source: Field required"),
        ({"source": "books", "sorce": "x"}, "event: is not an order to ingest: sorce"),
        ({"source": "boks"}, "there is no source 'boks' (books). Did you mean 'books'?"),
    ],
)
def test_a_wrong_event_is_answered_with_what_is_wrong_and_what_to_send(
    runtime: LambdaRuntime, place: Place, event: dict[str, str], told: str
) -> None:
    refused, output = one_event(runtime, place, event)
    assert refused.kind == "error", output
    assert told in refused.body["errorMessage"]
    assert place.ids() == Counter()


def test_a_source_that_refuses_is_an_error_that_tells_no_secret(runtime: LambdaRuntime, place: Place) -> None:
    refused, output = one_event(runtime, place, {"source": "books"}, BOOKS_TOKEN="wrong-canary-77")
    assert (refused.kind, refused.body["errorType"]) == ("error", "Refused"), output
    assert "wrong-canary-77" not in output + json.dumps(refused.body)


def test_it_starts_without_loading_prefect(place: Place) -> None:
    code = "import sys, deployments.lambda_function; sys.exit('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=place.environment, check=False)
    assert done.returncode == 0


def test_with_prefect_a_duckdb_file_is_refused_before_anything_is_read(
    runtime: LambdaRuntime, place: Place
) -> None:
    refused, output = one_event(runtime, place, {"source": "books"}, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert refused.kind == "error", output
    assert "a DuckDB file would not outlive the event" in refused.body["errorMessage"]
    assert place.ids() == Counter()


@pytest.mark.slow
def test_with_prefect_and_snowflake_an_event_is_a_run_of_the_flow(
    runtime: LambdaRuntime, place: Place, account: Account, prefect_server: PrefectServer, prefect_api: str
) -> None:
    settings = {**place.environment, **account.environment(), "PREFECT_API_URL": prefect_api,
                "PREFECT_API_AUTH_STRING": prefect_server.login,
                "PREFECT_HOME": str(place.catalog.parent / "prefect")}  # fmt: skip
    answered, output = one_event(runtime, place, {"source": "books"}, seconds=240, **settings)
    assert answered.kind == "response", output
    assert answered.body == {"source": "books", "complete": True}
    newest = manifest.latest(account.bucket(), "books")
    assert newest is not None
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(newest.run_id))
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        lines = [line.message for line in client.read_logs(of_run, limit=200)]
    assert (run.state_name, run.parameters["source"]) == ("Completed", "books")
    assert any(line.startswith("loaded source=books") for line in lines), "sent before Lambda freezes us"
