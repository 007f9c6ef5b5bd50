"""One writer at a time, and what else is DuckDB's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from groundwork.errors import WarehouseError
from groundwork.load import prepare
from groundwork.settings import Settings
from groundwork.warehouses import TEXT, open_warehouse
from groundwork.warehouses.duckdb import DuckDB, open_duckdb, writer_lock
from tests.capture import entry


def in_a_process(file: Path, body: str) -> subprocess.Popen[str]:
    script = f"""
        import os, signal, sys, time
        from pathlib import Path
        from groundwork.warehouses.duckdb import DuckDB, open_duckdb
        file = Path({str(file)!r})
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script) + textwrap.dedent(body)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out


def test_processes_queue_for_the_file_and_all_succeed(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    body = """
        for turn in range(3):
            with open_duckdb(file, who="a process") as warehouse:
                warehouse.query("create table if not exists t (pid int)")
                warehouse.query("insert into t values (?)", [os.getpid()])
    """
    for process in [in_a_process(file, body) for _ in range(3)]:
        finished(process)
    with open_duckdb(file, who="a test") as warehouse:
        assert warehouse.query("select count(*), count(distinct pid) from t") == [(9, 3)]


def test_who_waits_too_long_is_told_who_holds_the_file(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    with (
        writer_lock(file, "load shop"),
        pytest.raises(
            WarehouseError,
            match=rf"is still held after 0 seconds. Held by load shop \(process {os.getpid()}\)",
        ),
        writer_lock(file, "transform", wait=0),
    ):
        raise AssertionError("two writers")


def test_a_program_outside_the_queue_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    duckdb.connect(str(file)).close()
    stranger = in_a_process(
        file,
        """
        import duckdb
        held = duckdb.connect(str(file), read_only=True)
        print("held", flush=True)
        time.sleep(2)
    """,
    )
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == "held\n"
    began = time.monotonic()
    with open_duckdb(file, who="a test") as warehouse:
        warehouse.query("create table t (a int)")
    assert time.monotonic() - began < 30
    finished(stranger)


def test_a_writer_killed_within_its_transaction_leaves_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    with open_duckdb(file, who="a test") as warehouse:
        warehouse.query("create table t (a int)")
        warehouse.query("insert into t values (1)")
    killed = in_a_process(
        file,
        """
        with open_duckdb(file, who="a process") as warehouse, warehouse._transaction():
            warehouse.query("insert into t select range from range(500000)")
            warehouse.query("delete from t where a = 1")
            os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    began = time.monotonic()
    with open_duckdb(file, who="a test") as warehouse:
        assert warehouse.query("select a from t") == [(1,)]
    assert time.monotonic() - began < 5


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.duckdb").write_bytes(b"something else" * 1000)
    with (
        pytest.raises(WarehouseError, match=r"w.duckdb: cannot be opened.*DuckDB 2.0 file"),
        open_duckdb(tmp_path / "w.duckdb", who="a test"),
    ):
        pass


def test_duckdb_is_the_warehouse_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    with open_warehouse(Settings(home=tmp_path), who="a test") as warehouse:
        assert warehouse.query("select 1") == [(1,)]
    assert (tmp_path / "warehouse.duckdb").exists()


class Counting(DuckDB):
    """Counts its questions to the catalogue."""

    questions = 0

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.questions += "duckdb_columns" in sql
        return super().query(sql, parameters)


@pytest.mark.parametrize("again", [False, True])
def test_the_catalogue_is_asked_once_however_many_tables_there_are(tmp_path: Path, again: bool) -> None:
    few = entry({"t0": ("public.t0", ["id"])})
    many = entry({f"t{n}": (f"public.t{n}", ["id"]) for n in range(30)})
    asked = []
    for number, source in enumerate((few, many)):
        file = tmp_path / f"{number}.duckdb"
        if again:
            with open_duckdb(file, who="a test") as warehouse:
                prepare([source], warehouse)
        with open_duckdb(file, who="a test") as opened:
            counting = Counting(opened.connection, file)
            prepare([source], counting)
            prepare([source], counting)
            counting.forget(source.source, [f"{source.source}__{stream}" for stream in source.streams])
            asked.append(counting.questions)
    assert asked == [3, 3]


def test_a_column_is_added_once_however_it_is_spelled(tmp_path: Path) -> None:
    with open_duckdb(tmp_path / "warehouse.duckdb", who="a test") as warehouse:
        warehouse.widen("t", {"a": TEXT, "A": TEXT})
        warehouse.widen("t", {"B": TEXT})
        warehouse.widen("t", {"b": TEXT, "a": TEXT})
        assert warehouse.columns("landing", "t") == ["a", "B"]
