# ruff: noqa: E501 (cases read better in one line)
"""Each trouble is told once, and so is its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from groundwork.alerts.diagnosis import ADVICE, diagnose
from groundwork.alerts.silence import last_look, too_little
from groundwork.alerts.troubles import Board, News, Trouble

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def trouble(key: str, kind: Any = "failed", **more: Any) -> Trouble:
    return Trouble(key, kind, key, f"{key} is wrong", NOON.isoformat(), **more)


def look(board: Board, subject: str, *found: Trouble, at: datetime = NOON) -> News:
    """One look, and what is told after it; the board goes through JSON as it does in `notify`."""
    board.observe(subject, {one.key: one for one in found}, at)
    news = board.settle(at)
    for row in [*news.opened, *news.recovered]:
        row.is_told("<1@x>")
    again = Board(json.loads(json.dumps(board.dump())))
    assert again.dump() == board.dump()
    return news


def keys(rows: list[Any]) -> list[str]:
    return [row.trouble.key for row in rows]


def test_a_trouble_is_told_once_however_often_it_is_seen_and_so_is_its_end() -> None:
    board = Board()
    assert keys(look(board, "ingest-shop", trouble("shop")).opened) == ["shop"]
    for _ in range(5):
        assert not look(board, "ingest-shop", trouble("shop"))
    assert keys(look(board, "ingest-shop").recovered) == ["shop"]
    assert not look(board, "ingest-shop")


def test_one_cause_that_many_suffer_from_is_one_trouble_until_all_are_well() -> None:
    board = Board()
    assert keys(look(board, "ingest-shop", trouble("bucket", "bucket")).opened) == ["bucket"]
    assert not look(board, "ingest-payments", trouble("bucket", "bucket"))
    assert not look(board, "ingest-shop")
    assert keys(look(board, "ingest-payments").recovered) == ["bucket"]


def test_another_cause_is_another_trouble() -> None:
    board = Board()
    look(board, "ingest-shop", trouble("shop quarantine", "quarantine"))
    news = look(board, "ingest-shop", trouble("shop"))
    assert (keys(news.opened), keys(news.recovered)) == (["shop"], ["shop quarantine"])


def test_what_nobody_looked_at_has_not_recovered() -> None:
    board = Board()
    look(board, "ledger shop", trouble("shop", "stale"))
    assert not look(board, "bucket")
    assert keys(board.open()) == ["shop"]


def test_a_trouble_that_comes_and_goes_falls_silent_until_it_has_been_well_for_an_hour() -> None:
    board, at, told, ended = Board(), NOON, 0, 0
    for _ in range(10):
        told += len(look(board, "ingest-shop", trouble("shop"), at=at).opened)
        ended += len(look(board, "ingest-shop", at=at + MINUTE).recovered)
        at += 5 * MINUTE
    assert (told, ended) == (3, 2), "three times it came, twice it went; the third end is held back"
    assert look(board, "ingest-shop", at=at + 70 * MINUTE).recovered, "well for an hour: now it is told"
    assert look(board, "ingest-shop", trouble("shop"), at=at + 80 * MINUTE).opened


def test_what_could_not_be_told_is_told_later_though_it_be_over() -> None:
    board = Board()
    for _ in range(2):
        board.observe("ingest-shop", {"shop": trouble("shop")}, NOON)
        assert keys(board.settle(NOON).opened) == ["shop"], "nobody took note that it was told"
    board.observe("ingest-shop", {}, NOON + MINUTE)
    news = board.settle(NOON + MINUTE)
    assert (keys(news.opened), keys(news.recovered)) == ([], ["shop"])
    again = Board(json.loads(json.dumps(board.dump()))).settle(NOON + timedelta(days=9))
    assert keys(again.recovered) == ["shop"] and again.recovered[0].untold, "nor could that be told"


def test_what_nobody_was_told_of_and_comes_back_is_told_as_new() -> None:
    board = Board()
    board.observe("ingest-shop", {"shop": trouble("shop")}, NOON)
    board.observe("ingest-shop", {}, NOON + MINUTE)
    board.observe("ingest-shop", {"shop": trouble("shop")}, NOON + 2 * MINUTE)
    news = board.settle(NOON + 2 * MINUTE)
    assert (keys(news.opened), keys(news.recovered)) == (["shop"], [])


def test_what_came_and_went_while_nobody_could_be_told_is_not_held_back() -> None:
    board = Board()
    for minute in range(0, 50, 10):
        board.observe("ingest-shop", {"shop": trouble("shop")}, NOON + minute * MINUTE)
        board.observe("ingest-shop", {}, NOON + (minute + 5) * MINUTE)
    assert keys(look(board, "ingest-shop", at=NOON + 46 * MINUTE).recovered) == ["shop"]
    again = look(board, "ingest-shop", trouble("shop"), at=NOON + 50 * MINUTE)
    assert keys(again.opened) == ["shop"], "what nobody was told of does not make it restless"


def test_a_run_by_hand_is_told_once_and_never_as_recovered() -> None:
    board = Board()
    assert look(board, "runs by hand", trouble("run 1", lasting=False)).opened
    assert not look(board, "runs by hand", trouble("run 1", lasting=False))
    assert not look(board, "runs by hand")
    look(board, "runs by hand", at=NOON + timedelta(days=3))
    assert board.dump() == [], "and it is forgotten"


def test_nothing_is_blamed_for_what_the_platform_could_not_do_meanwhile() -> None:
    board = Board()
    look(board, "bucket", trouble("bucket", "bucket"))
    look(board, "bucket", at=NOON + 5 * MINUTE)
    assert board.disturbed_until() == (NOON + 5 * MINUTE).isoformat()


@pytest.mark.parametrize(
    ("state", "message", "crashed", "kind", "part"),
    [
        ("Failed", "Flow run encountered an exception: SourceRefused: source 'shop': no", False, "failed", ""),
        ("TimedOut", "Flow run exceeded timeout of 8.0 second(s)", False, "timed out", ""),
        ("Crashed", "Process exited with status code: -9", True, "crashed", ""),
        ("Failed", "… exception: BucketError: s3://b: the S3 server cannot be reached", False, "bucket", "bucket"),
        ("Failed", "… exception: KeyMissing: s3://b/k: is not in the bucket", False, "failed", ""),
        ("Failed", "… WarehouseError: /w.duckdb: cannot be opened", False, "warehouse", "warehouse"),
        ("Failed", "… WarehouseError: /w.duckdb: a statement failed (BinderException)", False, "failed", ""),
        ("Failed", "… WarehouseUnusable: /w.duckdb: is damaged", False, "warehouse", "warehouse"),
        ("Failed", "… BucketError: /tmp/x: cannot be written (No space left on device)", False, "disk", "disk"),
        ("Failed", "… StreamsQuarantined: source 'shop': left out: stream items", False, "quarantine", ""),
    ],
)  # fmt: skip
def test_the_way_a_run_ended_says_whose_trouble_it_is(
    state: str, message: str, crashed: bool, kind: str, part: str
) -> None:
    found = diagnose(state, message, crashed=crashed)
    assert (found.kind, found.part) == (kind, part)


def batches(*rows: int, every: timedelta = 5 * MINUTE) -> list[tuple[datetime, int]]:
    return [(NOON + n * every, count) for n, count in enumerate(rows)]


def test_far_fewer_rows_than_ever_are_told() -> None:
    usual = [100 + n for n in range(20)]
    newest = NOON + 20 * 5 * MINUTE
    assert "newest batch has 9 rows" in too_little("shop", batches(*usual, 9), 5 * MINUTE, newest)
    assert "newest batch has 0 rows" in too_little("shop", batches(*usual, 0), 5 * MINUTE, newest)
    assert too_little("shop", batches(*usual, 10), 5 * MINUTE, newest) == "", (
        "a tenth of the fewest is enough"
    )
    assert too_little("shop", batches(*usual[1:], 0), 5 * MINUTE, newest) == "", "19 are too few to judge by"
    assert too_little("shop", batches(*usual[:-1], 49, 0), 5 * MINUTE, newest) == "", "small batches occur"


def test_a_source_that_brings_nothing_for_three_times_longer_than_ever_is_told() -> None:
    seen = batches(*[7] * 25, *[0] * 20)
    last_rows = NOON + 24 * 5 * MINUTE
    assert too_little("shop", seen, 5 * MINUTE, last_rows + 60 * MINUTE) == ""
    told = too_little("shop", seen, 5 * MINUTE, last_rows + 61 * MINUTE)
    assert "has brought nothing for 61 minutes" in told


def test_a_night_is_no_trouble_once_one_was_seen() -> None:
    night = [(NOON, 7), (NOON + timedelta(hours=12), 7)]
    seen = night + [(NOON + timedelta(hours=12) + n * 5 * MINUTE, 7) for n in range(1, 25)]
    assert too_little("shop", seen, 5 * MINUTE, seen[-1][0] + timedelta(hours=12)) == ""


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_was_wrong_for_a_while_hides_no_silence(step: timedelta) -> None:
    moments = [NOON + n * 5 * MINUTE + (step if 30 <= n < 33 else timedelta()) for n in range(40)]
    seen = [(moment, 7) for moment in moments]
    right = NOON + 39 * 5 * MINUTE
    assert last_look(seen, right) == right
    assert too_little("shop", seen, 5 * MINUTE, right + 60 * MINUTE) == ""
    assert "has brought nothing for 61 minutes" in too_little("shop", seen, 5 * MINUTE, right + 61 * MINUTE)


def test_a_batch_from_the_future_does_not_say_when_a_source_was_looked_at() -> None:
    seen = [(NOON, 7), (NOON + 5 * MINUTE, 7), (NOON + timedelta(days=1), 7)]
    assert last_look(seen, NOON + 10 * MINUTE) == NOON + 5 * MINUTE
    assert last_look(seen[2:], NOON) is None


def test_every_kind_of_trouble_has_advice_and_a_section_of_the_runbooks() -> None:
    from typing import get_args

    from groundwork.alerts.troubles import Kind
    from tests.commands import PROJECT

    runbooks = (PROJECT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace(" ", "-") for line in runbooks.splitlines() if line[:1] == "#"
    }
    assert set(ADVICE) == set(get_args(Kind))
    assert {kind.replace(" ", "-") for kind in ADVICE} <= headings
