# ruff: noqa: E501 (statements and messages read better in one line)
"""Reading again: all of a source, or one table of it; killed at any moment the next ordinary run goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from groundwork.errors import CatalogError
from tests.capture import Capture, Database, run_and_die

Captures = Callable[..., Capture]

REFRESH = "whole = extract.extract; extract.extract = lambda *given: whole(*given, full_refresh=True)\n"

MOMENTS = {
    "before the copy": "dying(snapshot, '_gone')",
    "between two tables": "dying(snapshot, '_gone', 2)",
    "before the new slot is made to last": "dying(slot, 'make_permanent')",
    "after the new slot is made to last": "dying(slot, 'make_permanent', after=True)",
    "before the manifest": "dying(manifest, 'commit')",
    "after the manifest": "dying(manifest, 'commit', after=True)",
    "before the old slot is dropped": "dying(slot, 'drop')",
    "after the old slot is dropped": "dying(slot, 'drop', after=True)",
    "in the log after it": "dying(wire.Connection, 'start_stream', after=True)",
    "at the end of the log after it": "dying(wire.Connection, 'end_stream', after=True)",
}


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create table items (id bigint primary key, t text); create table notes (t text); alter table notes replica identity full;"
        "insert into items select i, 'item' from generate_series(1, 500) i; insert into notes values ('a'), ('a')"
    )
    database.publish("items", "notes")
    return capture(items=("public.items", ["id"]), notes=("public.notes", []))


def change(database: Database) -> None:
    database.sql(
        "insert into items select max(id) + 1, 'new' from items; update items set t = t || '.' where id % 7 = 0;"
        "delete from items where id in (select min(id) from items); insert into notes values ('b')"
    )


def slots(database: Database) -> list[str]:
    found = database.sql("select slot_name from pg_replication_slots where database = :n", n=database.name)
    return [name for (name,) in found]


def events(source: Capture, kind: str) -> list[dict[str, object]]:
    return [e for manifest in source.manifests for e in manifest.events if e["event"] == kind]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_a_full_refresh_the_next_ordinary_run_goes_on(
    items: Capture, database: Database, moment: str
) -> None:
    items.run()
    change(database)
    run_and_die(items, REFRESH + MOMENTS[moment])
    change(database)
    items.run()
    items.assert_equal_to_the_source()
    assert slots(database) == [items.slot()]
    change(database)
    items.run()
    items.assert_equal_to_the_source()


def test_slots_take_turns_and_one_is_left(items: Capture, database: Database) -> None:
    items.run()
    names = [items.slot()]
    for _ in range(3):
        change(database)
        items.run(full_refresh=True)
        items.assert_equal_to_the_source()
        names.append(items.slot())
        assert slots(database) == [items.slot()]
    first, second = names[:2]
    assert second == f"{first}_b" and names == [first, second, first, second]
    assert all(len(name.encode()) <= 63 for name in names)


def test_a_slot_name_of_63_bytes_has_a_second_one() -> None:
    from groundwork.sources.slot import second_name

    for name in ("s" * 63, "s" * 61 + "_b", "s" * 62, "shop", "shop_b"):
        other = second_name(name)
        assert other != name and len(other) <= 63


def test_one_stream_is_read_again_and_the_others_go_on(items: Capture, database: Database) -> None:
    items.run()
    slot = items.slot()
    change(database)
    items.run(refresh=["items"])
    items.assert_equal_to_the_source()
    assert items.slot() == slot and slots(database) == [slot]
    assert events(items, "full_refresh") == [{"event": "full_refresh", "streams": ["items"]}]
    copied = [o.stream for o in items.manifests[-2].objects if "snapshot" in o.operations]
    assert copied == ["items"]
    change(database)
    items.run()
    items.assert_equal_to_the_source()


def test_a_stream_is_read_again_while_writers_go_on(items: Capture, database: Database) -> None:
    import threading

    items.run()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            change(database)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            items.run(refresh=["items", "notes"])
    finally:
        stop.set()
        writer.join(60)
    items.run()
    items.assert_equal_to_the_source()


def test_an_unknown_stream_is_refused_with_a_guess(items: Capture) -> None:
    items.run()
    with pytest.raises(CatalogError, match=r"source 'shop': there is no stream 'item' \(items, notes\). Did you mean 'items'\?"):  # fmt: skip
        items.run(refresh=["item"])
    assert len(items.manifests) == 2 or len(items.manifests) == 1
