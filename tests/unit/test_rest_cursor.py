"""Cursor values: their order, and what stands some time before them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.cursor import earlier, instants, key, keys
from groundwork.sources.rest.one_unit import one_unit_before

INSTANTS = st.builds(
    lambda moment, minutes, digits: (moment, minutes, digits),
    st.datetimes(datetime(1971, 1, 2), datetime(2900, 1, 1)),
    st.integers(-720, 720),
    st.sampled_from([0, 3, 6, 9]),
)


def written(moment: datetime, minutes: int, digits: int) -> tuple[str, datetime]:
    """An instant in some zone with some digits, and what it means."""
    zone = timezone(timedelta(minutes=minutes))
    meant = moment.replace(microsecond=moment.microsecond if digits >= 6 else 0, tzinfo=UTC)
    local = meant.astimezone(zone)
    fraction = {0: "", 3: ".000", 6: f".{local.microsecond:06}", 9: f".{local.microsecond:06}000"}
    sign = "-" if minutes < 0 else "+"
    text = f"{local:%Y-%m-%dT%H:%M:%S}{fraction[digits]}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return (text.replace("+00:00", "Z") if minutes == 0 else text), meant


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("2026-01-01T10:05Z", "2026-01-01T10:04Z"),
        ("2026-01-01 00:00", "2025-12-31 23:59"),
        ("2026-01-01 10:00:05+00", "2026-01-01 10:00:04+00"),
        ("2026-01-01 10:00:05.25 UTC", "2026-01-01 10:00:04.25 UTC"),
        ("20260101", "20251231"),
        ("20260101T000000Z", "20251231T235959Z"),
        ("20260101T1005", "20260101T1004"),
        ("20260101000000", "20251231235959"),
        ("20269999", "20269998"),
        ("2026-01-01-05", "2026-01-01-04"),
    ],
)
def test_the_unit_before_is_a_value_of_the_same_form(text: str, before: str) -> None:
    assert one_unit_before(text, "") == before


def test_instants_of_every_form_are_compared_as_time() -> None:
    same = [
        "2026-01-01T12:05Z",
        "2026-01-01 14:05:00+02",
        "2026-01-01 12:05:00 UTC",
        "2026-01-01T07:35:00-0430",
    ]
    assert len({key(text) for text in same}) == 1


@given(INSTANTS, INSTANTS)
def test_instants_sort_as_time_does_whatever_their_form(
    one: tuple[datetime, int, int], other: tuple[datetime, int, int]
) -> None:
    (first, first_meant), (second, second_meant) = written(*one), written(*other)
    assert (key(first) < key(second)) == (first_meant < second_meant)
    assert (key(first) == key(second)) == (first_meant == second_meant)
    assert keys([first, second], "") == [key(first), key(second)]


@given(st.lists(st.datetimes(datetime(1971, 1, 2)), min_size=1), st.sampled_from(["Z", ""]))
def test_the_fast_way_over_a_page_is_the_slow_way(moments: list[datetime], zone: str) -> None:
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"):
        texts = [moment.strftime(form).rjust(10, "0") + zone for moment in moments]
        assert keys(texts, "") == [key(text) for text in texts]


@given(st.lists(st.integers(0, 10**40).map(str), min_size=1))
def test_numbers_sort_as_numbers(texts: list[str]) -> None:
    assert keys(texts, "") == [Decimal(text) for text in texts]


@given(INSTANTS, st.integers(1, 10**7))
def test_a_lookback_keeps_form_precision_and_zone(one: tuple[datetime, int, int], seconds: int) -> None:
    text, meant = written(*one)
    moved = earlier(text, timedelta(seconds=seconds), "", "")
    assert moved is not None
    assert len(moved) == len(text) and moved[19:] == text[19:]
    assert key(moved) == key(written(meant - timedelta(seconds=seconds), 0, 9)[0])


@pytest.mark.parametrize(
    ("text", "lookback", "epoch", "expected"),
    [
        ("2026-03-01", timedelta(hours=1), "", "2026-02-28"),
        ("2026-03-01 00:00:00.5", timedelta(seconds=1), "", "2026-02-28 23:59:59.5"),
        ("1700000000", timedelta(minutes=1), "seconds", "1699999940"),
        ("1700000000000", timedelta(minutes=1), "milliseconds", "1699999940000"),
        ("1700000000.123456", timedelta(minutes=1), "seconds", "1699999940.123456"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", None, "", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ],
)
def test_earlier_values_are_written_as_the_source_writes(
    text: str, lookback: timedelta | None, epoch: str, expected: str
) -> None:
    assert earlier(text, lookback, epoch, "") == expected


@given(st.text("0123456789abcdefABCDEF-_", min_size=1, max_size=12))
def test_one_unit_before_a_text_sorts_before_it_and_is_no_longer(text: str) -> None:
    before = one_unit_before("x" + text, "")
    assert before is not None and len(before) <= len(text) + 1
    assert key(before) < key("x" + text) and before.casefold() < "x" + text.casefold()


@given(st.integers(1, 10**60), st.sampled_from(["", "seconds", "milliseconds"]))
def test_one_unit_before_a_number_is_less_to_its_last_digit(number: int, epoch: str) -> None:
    before = one_unit_before(str(number), epoch)
    expected = number - (1000 if epoch == "milliseconds" else 1)
    assert before == (str(expected) if expected >= 0 else None)


@given(INSTANTS)
def test_one_unit_before_an_instant_is_a_second_in_the_same_form(one: tuple[datetime, int, int]) -> None:
    text, meant = written(*one)
    before = one_unit_before(text, "")
    assert before is not None and len(before) == len(text) and before[19:] == text[19:]
    assert key(before) == key(written(meant - timedelta(seconds=1), 0, 9)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-02-28"), ("2026-03-01Z", "2026-02-28Z"), ("0000-00-00", None),
        ("0001-01-01", None), ("0", None), ("0.5", None), ("-5", "-6"), ("17.50", "16.50"),
        ("1e999999999", "1E+999999999"), ("abc", "abb"), ("a0", "99"), ("00x-", "00w-"), ("-", None),
        ("01V", "01T"), ("日本", "日"),
    ],
)  # fmt: skip
def test_one_unit_before_is_written_as_the_source_writes(text: str, expected: str | None) -> None:
    before = one_unit_before(text, "")
    assert before == expected or (before and Decimal(before) == Decimal(str(expected)))


def test_values_of_two_kinds_have_no_order() -> None:
    with pytest.raises(AnswerUnusable, match="mixes"):
        keys(["2026-01-01T00:00:00Z", "17"], "here")
    assert keys([None, "5", None], "") == [None, 5, None]


def test_only_an_instant_with_a_zone_is_a_known_time() -> None:
    texts = ["2026-01-01T02:00:00.1234567+02:00", "2026-01-01T00:00:00", None, "2026-01-01"]
    found = keys(texts, "")
    assert instants(texts, found) == ["2026-01-01T00:00:00.123456", None, None, None]
    numbers = ["1700000000", "1700000001"]
    assert instants(numbers, keys(numbers, "")) == [None, None]
