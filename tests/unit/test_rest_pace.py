"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from groundwork.sources.rest.pace import back_off, retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "Thu, 01 Jan 2026 12:01:00 GMT"}, 60),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "Thu, 01 Jan 2026 12:01:00 GMT", "Date": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "soon"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_back_off_grows_to_a_limit_and_never_is_the_same_for_all() -> None:
    assert all(0.25 <= back_off(1) <= 0.5 for _ in range(100))
    assert all(30 <= back_off(99) <= 60 for _ in range(100))
    assert len({back_off(5) for _ in range(10)}) > 1
