"""The copy for readers, opened by the releases of DuckDB that readers have: 1.1, 1.4 and our own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.environments import environment
from groundwork.serving.publishing import publish
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import open_duckdb
from tests.commands import PROJECT

PLACE = PROJECT / ".tools" / "readers"
OLD, NEWER, OURS = "duckdb-1.1", "duckdb-1.4", "duckdb-ours"
READ = """
    import json, sys, duckdb
    try:
        with duckdb.connect(sys.argv[1], read_only=True) as readers:
            rows = readers.execute(sys.argv[2]).fetchall()
        print(json.dumps([[str(value) for value in row] for row in rows]))
    except duckdb.Error as error:
        print(json.dumps(type(error).__name__))
"""


def read(release: str, copy: Path, statement: str) -> object:
    """What a release of DuckDB answers: rows as texts, or the name of its error."""
    python = Path(sys.executable)
    if release != OURS:
        PLACE.mkdir(parents=True, exist_ok=True)
        with FileLock(PLACE / "lock"):  # tests run side by side
            python = environment(release, PLACE, Path(__file__).parent / "readers")
    done = subprocess.run(
        [str(python), "-c", textwrap.dedent(READ), str(copy), statement],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A platform whose warehouse has the database name that a copy might have, too."""
    yield Settings(home=tmp_path / "home", duckdb_path=tmp_path / "home" / "readers.duckdb")


def build(settings: Settings, *columns: str) -> None:
    with open_duckdb(settings.duckdb_file, who="a test") as warehouse:
        warehouse.query("create schema if not exists visualization")
        warehouse.query(f"create or replace table visualization.orders as select {', '.join(columns)}")
        warehouse.query("create or replace table visualization.days as select 1 as day")
        warehouse.query("create or replace view visualization.now as from visualization.orders")


PLAIN = (
    "12 as id", "1.50::decimal(18, 2) as amount", "date '2026-01-31' as day", "'Ä' as name",
    "timestamptz '2026-01-31 10:00+00' as at", "{'a': [1, 2]} as parts", "'{}'::json as record",
    "uuid '00000000-0000-0000-0000-000000000001' as token", "interval 1 day as span",
    "repeat('x', 3000000) as long", "170141183460469231731687303715884105727::hugeint as huge",
)  # fmt: skip
QUESTION = "select id, amount, day, name, length(long), huge from visualization.now"
ANSWER = [["12", "1.50", "2026-01-31", "Ä", "3000000", "170141183460469231731687303715884105727"]]


@pytest.mark.parametrize("release", [OLD, NEWER, OURS])
def test_the_copy_is_read_by_old_and_new_releases(settings: Settings, tmp_path: Path, release: str) -> None:
    build(settings, *PLAIN)
    assert publish(settings, tmp_path / "copy.duckdb") == 3
    assert read(release, tmp_path / "copy.duckdb", QUESTION) == ANSWER


@pytest.mark.parametrize(
    ("column", "reads", "does_not"),
    [
        ("time_ns '10:00:00' as late", NEWER, OLD),  # DuckDB writes this one into any format, unreadable
        ("{'TIME_NS': [time_ns '10:00:00']} as late", NEWER, OLD),
        ("42::variant as late", OURS, NEWER),
        ("now()::timestamptz_ns as late", OURS, NEWER),
    ],
)
def test_a_type_that_came_later_raises_the_format_only_as_far_as_it_must(
    settings: Settings, tmp_path: Path, column: str, reads: str, does_not: str
) -> None:
    build(settings, "12 as id", column)
    publish(settings, tmp_path / "copy.duckdb")
    assert read(reads, tmp_path / "copy.duckdb", "select id from visualization.orders") == [["12"]]
    assert read(does_not, tmp_path / "copy.duckdb", "select id from visualization.orders") == "IOException"


def test_what_a_killed_publish_left_is_removed_by_the_next(settings: Settings, tmp_path: Path) -> None:
    build(settings, *PLAIN)
    copy = tmp_path / "copy.duckdb"
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from groundwork.serving import publishing
        from groundwork.settings import Settings
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        publishing.publish(Settings(duckdb_path=Path({str(settings.duckdb_file)!r})), Path({str(copy)!r}))
    """)
    killed = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".copy.duckdb.*")
    left.with_name(left.name + ".wal").write_bytes(b"the log of a copy that was cut in the middle")
    mine = tmp_path / ".copy.duckdb.notes"
    mine.touch()

    publish(settings, copy)
    assert list(tmp_path.glob(".copy.duckdb.*")) == [mine]
    assert read(OURS, copy, QUESTION) == ANSWER


def test_the_log_of_a_reader_that_wrote_is_not_played_into_the_next_copy(
    settings: Settings, tmp_path: Path
) -> None:
    build(settings, "1 as id")
    copy = tmp_path / "copy.duckdb"
    publish(settings, copy)
    script = (
        "import duckdb, os, sys; reader = duckdb.connect(sys.argv[1]);"
        " reader.execute('delete from visualization.orders'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(copy)], check=True, timeout=120)
    assert (tmp_path / "copy.duckdb.wal").exists(), "the reader left a log"
    build(settings, "2 as id")
    publish(settings, copy)
    assert read(OURS, copy, "select id from visualization.orders") == [["2"]]
