# ruff: noqa: E501 (statements and messages read better in one line)
"""Large tables are copied in pieces, over several connections of one snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from groundwork.errors import ProtocolError, SourceUnreachable
from groundwork.extract import extract, open_source
from groundwork.sources import Rows, copying, copytext
from tests.capture import Capture, Database, entry, run_and_die

Captures = Callable[..., Capture]
SMALL = 64 << 10


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tables are cut into pieces of eight pages; how many it was, table by table."""
    seen: list[int] = []
    original = copying.cut

    def counted(*arguments: object) -> list[str]:
        found = original(*arguments)  # type: ignore[arg-type]
        seen.append(len(found))
        return found

    monkeypatch.setattr(copying, "PIECE_BYTES", SMALL)
    monkeypatch.setattr(copying, "cut", counted)
    return seen


@pytest.fixture
def table(database: Database, capture: Captures) -> Capture:
    """A table of some 400 pages."""
    database.sql(
        "create table t (id bigint primary key, note text);"
        "insert into t select i, repeat('n', 300) from generate_series(1, 10000) i"
    )
    database.publish("t")
    return capture(t=("public.t", ["id"]))


@contextmanager
def moving(database: Database) -> Iterator[None]:
    """Somebody rewrites rows all the time, so that they move between pages."""
    stop, moved = threading.Event(), threading.Event()

    def write() -> None:
        with database.connection() as connection:
            number = 0
            while not stop.is_set():
                number += 1
                connection.run(f"update t set note = note || 'x' where id % 97 = {number % 97}")
                connection.run(f"delete from t where id = {number}")
                connection.run(f"insert into t values ({10_000 + number}, 'new')")
                moved.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert moved.wait(30)
        yield
    finally:
        stop.set()
        thread.join(60)


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("copy ")]


def assert_nobody_is_connected(database: Database) -> None:
    sessions = "select count(*) from pg_stat_activity where usename = 'groundwork' and datname = :name"
    for _ in range(200):
        if database.server.sql(sessions, name=database.name) == [[0]]:
            return
        threading.Event().wait(0.05)
    raise AssertionError("a session stayed open")


def test_every_row_is_copied_once_while_rows_move_between_pages(
    table: Capture, database: Database, pieces: list[int]
) -> None:
    with moving(database):
        report = table.extract()
    assert pieces[0] > 20
    copied = report.operations["snapshot"]
    table.run()
    table.assert_equal_to_the_source()
    keys = [row["id"] for row in table.landed("t") if row["_operation"] == "snapshot"]
    assert len(keys) == len(set(keys)) == copied
    assert threads_of_ours() == []


def test_tables_without_pages_with_one_page_and_with_huge_values_are_whole(
    database: Database, capture: Captures, pieces: list[int]
) -> None:
    database.sql(
        "create table none (id int primary key); create table one (id int primary key);"
        "insert into one values (1), (2); create table huge (id int primary key, note text);"
        "insert into huge select i, (select string_agg(md5((i * j)::text), '') from generate_series(1, 3e5) j) from generate_series(1, 3) i;"
        "insert into huge select i, repeat('y', 500) from generate_series(4, 1000) i"
    )
    database.publish("none", "one", "huge")
    source = capture(**{name: (f"public.{name}", ["id"]) for name in ("none", "one", "huge")})
    source.run()
    source.assert_equal_to_the_source()
    assert sorted(pieces)[:2] == [1, 1]
    assert max(pieces) > 20  # each of its pages, because of what it keeps out of line


def test_a_partitioned_table_and_a_parent_of_others_are_whole(
    database: Database, capture: Captures, pieces: list[int]
) -> None:
    database.sql(
        "create table p (id int, note text, primary key (id)) partition by range (id);"
        "create table p1 partition of p for values from (0) to (9000);"
        "create table p2 (note text, id int not null primary key); alter table p attach partition p2 for values from (9000) to (20000);"
        "insert into p select i, repeat('p', 200) from generate_series(1, 12000) i;"
        "create table parent (id int primary key, note text); create table child () inherits (parent);"
        "insert into parent select i, repeat('q', 200) from generate_series(1, 3000) i;"
        "insert into child select i, 'of the child' from generate_series(5000, 5010) i"
    )
    database.publish("p", "only parent")
    source = capture(p=("public.p", ["id"]), parent=("public.parent", ["id"]))
    report = source.run()
    assert report.rows == {"p": 12001, "parent": 3001}
    assert min(pieces) > 5
    keys = [int(row["id"]) for row in source.landed("p") if row["_operation"] == "snapshot"]
    assert sorted(keys) == list(range(1, 12001))


def test_a_table_that_is_always_read_whole_is_copied_in_pieces_too(
    table: Capture, database: Database, pieces: list[int]
) -> None:
    whole = entry(table.streams, replication="full_table")
    extract(whole, open_source(whole, table.resolve, table.bucket), table.bucket)
    table.load()
    assert pieces[0] > 20
    keys = [int(row["id"]) for row in table.landed("t") if row["_operation"] == "snapshot"]
    assert sorted(keys) == list(range(1, 10001))


def test_one_connection_is_enough(table: Capture, pieces: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    original = copying.Copying._connected

    def full(self: copying.Copying, number: int) -> object:
        if number:
            raise SourceUnreachable("source 'shop'", "sorry, too many clients already")
        return original(self, number)

    monkeypatch.setattr(copying.Copying, "_connected", full)
    table.run()
    table.assert_equal_to_the_source()


def test_whoever_waits_to_alter_the_table_and_we_do_not_wait_for_each_other(
    table: Capture, database: Database, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = "select count(*) from pg_locks where relation = cast('t' as regclass) and not granted"
    altering = threading.Thread(target=lambda: database.sql("alter table t add column more int default 7"))
    counted = copying.cut

    def cut(*arguments: object) -> list[str]:
        if not altering.ident:
            altering.start()
            while database.sql(waits) != [[1]]:
                threading.Event().wait(0.01)
        return counted(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "cut", cut)
    table.extract()
    altering.join(timeout=30)
    assert not altering.is_alive()
    table.run()
    table.assert_equal_to_the_source()


def test_an_error_in_one_thread_ends_all_and_names_the_table(
    table: Capture, database: Database, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    original = copytext.decode

    def failing(*arguments: object) -> object:
        if next(calls) == 5:
            raise ProtocolError("source 'shop', table public.t", "a row has another number of columns")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copytext, "decode", failing)
    with pytest.raises(ProtocolError) as caught:
        table.extract()
    assert caught.value.table == "public.t"
    assert threads_of_ours() == []
    assert_nobody_is_connected(database)
    table.run()
    table.assert_equal_to_the_source()


def test_whoever_stops_listening_leaves_no_thread_session_or_slot(
    table: Capture, database: Database, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "SHELF_BYTES", 1)
    reading = open_source(table.entry, table.resolve, table.bucket).read({})
    seen = 0
    for item in reading:
        seen += isinstance(item, Rows)
        if seen == 4:
            break
    assert len(threads_of_ours()) == 2
    reading.close()  # type: ignore[attr-defined]
    assert threads_of_ours() == []
    assert_nobody_is_connected(database)
    assert (
        database.server.sql(
            "select slot_name from pg_replication_slots where database = :name", name=database.name
        )
        == []
    )


@pytest.mark.parametrize("moment", ["copytext, 'decode', call=9", "copying.Shelf, 'take', call=12"])
def test_killed_in_the_middle_of_parallel_copying_it_begins_anew(
    table: Capture, database: Database, moment: str
) -> None:
    prelude = f"from groundwork.sources import copying; copying.PIECE_BYTES = {SMALL}; dying({moment})"
    with moving(database):
        run_and_die(table, prelude)
    assert table.manifests == []
    table.run()
    table.assert_equal_to_the_source()
    assert_nobody_is_connected(database)
