"""One DuckDB file, many processes at once: they queue, say for whom, and go on; readers have a copy."""

from __future__ import annotations

import os
import pickle
import queue
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest

from groundwork.bucket import open_bucket
from groundwork.errors import WarehouseError
from groundwork.extract import extract
from groundwork.serving.publishing import publish
from groundwork.settings import Settings
from groundwork.sources import Checkpoint, Cursors, Rows
from groundwork.warehouses.duckdb import open_duckdb
from groundwork.warehouses.writer import writer_lock
from tests.landing import ROOT
from tests.unit.test_replay import ENTRY, rows

LOADS, DIGESTS, BUILDS = 14, 4, 2
BEGIN = """
    import logging, sys
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sys.stdout.reconfigure(line_buffering=True)
    from groundwork import digests
    from groundwork.bucket import open_bucket
    from groundwork.dbt_turn import build, writers_turn
    from groundwork.idle import load_if_new
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse
    import pickle
    settings = Settings()
    bucket = open_bucket(settings.bucket_url)
"""
LOAD = """
    entry = pickle.loads(bytes.fromhex(sys.argv[1])).model_copy(update={"source": "SOURCE"})
    report = load_if_new(entry, bucket, settings, lambda: open_warehouse(settings, who="load SOURCE"))
    assert report.batches == [1], report
"""
DIGEST = """
    with open_warehouse(settings, who="digest", read_only=True) as warehouse:
        assert digests.take(warehouse, "w").at
"""
BUILD = """
    build(settings, ["--quiet", "--no-use-colors", "run"])
"""
PROJECT = {
    "dbt_project.yml": "{name: groundwork, version: '1.0', profile: groundwork}",
    "profiles.yml": """
groundwork:
  target: duckdb
  outputs: {duckdb: {type: duckdb, path: "{{ env_var('GROUNDWORK_DUCKDB_PATH') }}", threads: 1}}
""",
    "models/counted.sql": "select count(*) as batches from landing._batches",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A platform with a batch of each of many sources, and a warehouse file."""
    bucket = open_bucket((tmp_path / "bucket").as_uri())

    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield rows("a", "1", "2")
            yield Checkpoint({}, heartbeat=True)

    for number in range(LOADS):
        extract(ENTRY.model_copy(update={"source": f"s{number}"}), Source(), bucket)
    for name, text in PROJECT.items():
        (tmp_path / "dbt" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dbt" / name).write_text(text)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "ops.yml").write_bytes((ROOT / "catalog" / "ops.yml").read_bytes())
    with open_duckdb(tmp_path / "warehouse.duckdb", who="a test") as warehouse:
        warehouse.query("create table t (a int)")
    return tmp_path


@contextmanager
def running(home: Path, scripts: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    environment = os.environ | {
        "GROUNDWORK_HOME": str(home), "GROUNDWORK_DBT": str(home / "dbt"),
        "GROUNDWORK_CATALOG": str(home / "catalog"), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(BEGIN + script), pickle.dumps(ENTRY).hex()],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for script in scripts
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait(60)


def told(processes: list[subprocess.Popen[str]]) -> tuple[queue.Queue[int], list[list[str]]]:
    """Lines of each process as they come, and the numbers of those that said that they wait."""
    waiting: queue.Queue[int] = queue.Queue()
    lines: list[list[str]] = [[] for _ in processes]

    def listen(number: int) -> None:
        out = processes[number].stdout
        assert out is not None
        for line in out:
            lines[number].append(line)
            if line.startswith("waiting for warehouse=") and len(lines[number]) == 1:
                waiting.put(number)

    for number in range(len(processes)):
        threading.Thread(target=listen, args=[number], daemon=True).start()
    return waiting, lines


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_runs_at_once_queue_and_all_succeed(home: Path) -> None:
    scripts = [LOAD.replace("SOURCE", f"s{n}") for n in range(LOADS)] + [DIGEST] * DIGESTS + [BUILD] * BUILDS
    file = home / "warehouse.duckdb"
    with ExitStack() as everything:
        with writer_lock(file, "a long run"):
            processes = everything.enter_context(running(home, scripts))
            waiting, lines = told(processes)
            began = time.monotonic()
            for _ in processes:  # nobody goes on before all of them wait
                waiting.get(timeout=max(1, 400 - (time.monotonic() - began)))
        first = "".join(own[0] for own in lines)
        held = f"waiting for warehouse=warehouse.duckdb held_by=a long run (process {os.getpid()})"
        assert first.count(held) == len(scripts), first
        for process in processes:
            process.wait(400)
    printed = "".join(line for own in lines for line in own)
    assert [process.returncode for process in processes] == [0] * len(scripts), printed
    assert not re.search("Traceback|Conflicting lock|lock on file", printed), printed
    with open_duckdb(file, who="a test") as warehouse:
        assert warehouse.query("select count(*), count(distinct source) from landing._batches") == [(14, 14)]
        assert warehouse.query("select batches <= 14 from main.counted") == [(True,)]


def test_a_reader_of_the_copy_never_waits_and_never_sees_half_of_it(home: Path, tmp_path: Path) -> None:
    settings, copy = Settings(home=home), tmp_path / "readers.duckdb"
    with pytest.raises(WarehouseError, match=r"holds no table in visualization. Run transform first"):
        publish(settings, copy)
    for version in (1, 2):
        with open_duckdb(settings.duckdb_file, who="a test") as warehouse:
            warehouse.query("create schema if not exists visualization")
            warehouse.query(f"create or replace table visualization.orders as select {version} as version")
        if version == 2:
            before = duckdb.connect(str(copy), read_only=True)
        assert publish(settings, copy) == 1
    assert before.execute("select version from visualization.orders").fetchall() == [(1,)]
    before.close()
    with (
        open_duckdb(settings.duckdb_file, who="a long run"),  # nobody else can open the warehouse now
        duckdb.connect(str(copy), read_only=True) as reader,
    ):
        assert reader.execute("select version from visualization.orders").fetchall() == [(2,)]
    assert [path.name for path in tmp_path.glob(".readers*")] == []


def test_a_copy_without_a_place_is_told(home: Path) -> None:
    with open_duckdb(home / "warehouse.duckdb", who="a test") as warehouse:
        warehouse.query("create schema visualization")
        warehouse.query("create table visualization.orders as select 1 as n")
    with pytest.raises(WarehouseError, match=r"readers.duckdb: cannot be written"):
        publish(Settings(home=home), home / "nowhere" / "readers.duckdb")


def test_who_watches_does_not_wait_until_a_build_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else slots and disks would be looked at an hour late; the sources are, the next time."""
    from tasks import watch

    settings = {
        "HOME": str(tmp_path), "CATALOG": str(ROOT / "catalog"), "WAREHOUSE": "duckdb",
        "BUCKET": (tmp_path / "bucket").as_uri(),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"GROUNDWORK_{name}", value)
    monkeypatch.setattr(watch, "AT_WORK_SECONDS", 0.0)
    with writer_lock(tmp_path / "warehouse.duckdb", "transform"):
        assert watch.look_at_sources.fn() == {}
    seen = watch.look_at_sources.fn()
    assert seen["warehouse"] == {} and "ledger shop" in seen
