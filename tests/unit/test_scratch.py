"""Directories for temporary files, and those that the dead leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groundwork.scratch import scratch

LIVES = """
import sys
from groundwork.scratch import scratch
with scratch() as directory:
    (directory / "rows.parquet").write_bytes(b"x" * 1000)
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def living(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a directory until its standard input ends, or it is killed."""
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-c", LIVES]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin and process.stdout
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_a_directory_is_gone_afterwards(place: Path) -> None:
    with scratch() as directory:
        (directory / "rows.parquet").write_bytes(b"x")
    assert list(place.iterdir()) == []


def test_what_the_dead_left_is_removed_and_what_the_living_have_stays(place: Path) -> None:
    with living(place) as (dead, left), living(place) as (_, used):
        dead.send_signal(signal.SIGKILL)
        dead.wait(20)
        assert left.exists()
        with scratch() as directory:
            assert not left.exists()
            assert (used / "rows.parquet").exists() and directory.exists()
    assert list(place.iterdir()) == []


def test_a_directory_of_somebody_else_is_not_touched(place: Path) -> None:
    other = place / "groundwork-notes"
    other.mkdir()
    with scratch():
        assert other.exists()
