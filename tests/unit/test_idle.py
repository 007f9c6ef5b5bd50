"""A run that finds nothing new opens no warehouse; and one that might, does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from groundwork import idle
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import ObjectDamaged
from groundwork.manifest import manifest_key
from groundwork.settings import Settings
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.unit.test_replay import ENTRY, commit, rows


class Place:
    """A platform that counts how often its warehouse is opened."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(home=directory)
        self.bucket: Bucket = open_bucket((directory / "bucket").as_uri())
        self.sessions = 0

    @contextmanager
    def open(self) -> Iterator[DuckDB]:
        self.sessions += 1
        with open_duckdb(self.settings.duckdb_file, who="a test") as warehouse:
            yield warehouse

    def load(self) -> tuple[list[int], int]:
        """Batches that were loaded, and sessions that were opened for it."""
        before = self.sessions
        report = idle.load_if_new(ENTRY, self.bucket, self.settings, self.open)
        return report.batches, self.sessions - before


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    commit(place.bucket, rows("a", "1"))
    assert place.load() == ([1], 1)
    return place


def test_nothing_new_opens_nothing(place: Place) -> None:
    assert place.load() == ([], 0)
    assert place.load() == ([], 0)


def test_a_new_batch_is_loaded_at_once(place: Place) -> None:
    commit(place.bucket, rows("a", "2"))
    assert place.load() == ([2], 1)
    assert place.load() == ([], 0)


def test_a_warehouse_that_was_destroyed_is_filled_again(place: Place) -> None:
    place.settings.duckdb_file.unlink()
    assert place.load() == ([1], 1)


def test_a_warehouse_that_somebody_wrote_to_is_looked_into_once(place: Place) -> None:
    with open_duckdb(place.settings.duckdb_file, who="a test") as warehouse:
        warehouse.query("delete from landing._batches")
    assert place.load() == ([1], 1)
    assert place.load() == ([], 0)


def test_a_warehouse_that_was_only_read_is_still_the_same(place: Place) -> None:
    with open_duckdb(place.settings.duckdb_file, who="a test") as warehouse:
        assert warehouse.loaded("shop") == 1
    assert place.load() == ([], 0)


def test_an_old_note_is_not_believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_BELIEVED", timedelta())
    assert place.load() == ([], 1)


def test_a_note_that_cannot_be_read_is_none(place: Place) -> None:
    (key,) = [found.key for found in place.bucket.list("artifacts/loaded/")]
    place.bucket.put(key, b"{")
    assert place.load() == ([], 1)


def test_a_gap_is_told_by_an_idle_run_too(place: Place) -> None:
    for name in ("2", "3"):
        commit(place.bucket, rows("a", name))
    place.bucket.delete(manifest_key("shop", 2))
    with pytest.raises(ObjectDamaged, match=r"0000000002.json: is missing, though batch 0000000003 follows"):
        place.load()


def test_two_warehouses_on_one_bucket_do_not_take_each_other_for_themselves(
    place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path)
    other.settings = place.settings.into(str(tmp_path / "other.duckdb"))
    assert other.load() == ([1], 1)
    assert place.load() == ([], 0)
    assert other.load() == ([], 0)


def test_a_build_is_of_certain_models(place: Place) -> None:
    idle.note(place.bucket, place.settings, "transform", {"shop": 1}, built="these models")
    assert idle.nothing_new(place.bucket, place.settings, "transform", "these models")
    assert not idle.nothing_new(place.bucket, place.settings, "transform", "others")
    commit(place.bucket, rows("a", "2"))
    assert not idle.nothing_new(place.bucket, place.settings, "transform", "these models")


def test_who_watches_a_warehouse_that_is_paid_by_time_asks_it_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the emulator cannot count is counted here: DuckDB, as if it were paid for by time."""

    def seen() -> tuple[dict[str, list[int]], int]:
        before = place.sessions
        found = idle.watched(place.bucket, place.settings, ["shop", "payments"], place.open)
        return {
            name: [rows for _, rows in batches] for name, batches in found.items()
        }, place.sessions - before

    assert seen() == ({"shop": [1]}, 1)
    assert seen() == ({"shop": [1]}, 1)
    monkeypatch.setattr(idle, "paid_by_time", lambda _: True)
    assert seen() == ({"shop": [1]}, 1)
    assert seen() == ({"shop": [1], "payments": []}, 0)
    commit(place.bucket, rows("a", "2", "3"))
    assert seen() == ({"shop": [1], "payments": []}, 0), "what is not loaded does not count"
    assert place.load() == ([2], 1)
    assert seen() == ({"shop": [1, 2], "payments": []}, 0)
