"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from groundwork.catalog.rest import RestRateLimit
from groundwork.sources.rest.limits import Limit, limit_of
from groundwork.sources.rest.pace import back_off
from groundwork.sources.rest.refusals import failure_of

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "Thu, 01 Jan 2026 12:01:00 GMT"}, 60),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "Thu, 01 Jan 2026 12:01:00 GMT", "Date": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "7", "X-RateLimit-Reset": "60"}, 7),
        ({"X-RateLimit-Reset": "60"}, 60),
        ({"X-RateLimit-Reset": str(EPOCH + 45)}, 45),
        ({"X-RateLimit-Reset": str(EPOCH - 45)}, 0),
        ({"X-RateLimit-Reset": f"{EPOCH + 45}.25"}, 45.25),
        ({"X-RateLimit-Reset": str((EPOCH + 45) * 1000)}, 45),
        ({"X-RateLimit-Reset": str(EPOCH + 45), "Date": "Thu, 01 Jan 2026 12:00:30 GMT"}, 15),
        ({"X-RateLimit-Reset": "Thu, 01 Jan 2026 12:01:00 GMT"}, 60),
        ({"X-Rate-Limit-Reset": "2026-01-01T12:01:00Z"}, 60),
        ({"X-RateLimit-Reset": "6m0s"}, 360),
        ({"X-RateLimit-Reset": "120ms"}, 0.12),
        ({"X-RateLimit-Reset-After": "1.5", "X-RateLimit-Reset": str(EPOCH + 9)}, 1.5),
        ({"RateLimit-Reset": "50"}, 50),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"RateLimit": '"burst";r=0;t=30, "day";r=0;t=300, "month";r=9;t=9999'}, 300),
        ({"RateLimit": '"default";r=50;t=30'}, None),
    ],
)
def test_a_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    wait = limit_of(headers, NOW).wait
    assert wait == (None if seconds is None else pytest.approx(seconds, abs=1e-4))


def test_a_header_of_the_catalog_says_when_the_limit_is_over() -> None:
    declared = RestRateLimit(reset="X-Quota-Reset", unit="milliseconds", remaining="X-Quota-Left")
    headers = {"x-quota-reset": "2500", "x-quota-left": "0"}
    assert limit_of(headers, NOW, declared) == Limit(reset=2.5, spent=True)
    assert limit_of(headers, NOW) == Limit()


@pytest.mark.parametrize(
    ("status", "headers", "limited"),
    [
        (429, {}, True),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "5"}, True),
        (403, {"X-Rate-Limit-Remaining": "0"}, True),
        (403, {"RateLimit-Remaining": "0"}, True),
        (403, {"RateLimit": '"a";r=0;t=5'}, True),
        (403, {"Retry-After": "5"}, True),
        (403, {"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "5"}, False),
        (403, {}, False),
        (503, {"Retry-After": "5"}, True),
        (503, {"RateLimit": "limit=9, remaining=0, reset=5"}, True),
        (503, {"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "5"}, False),
    ],
)
def test_an_answer_is_a_limit_where_its_headers_say_so(
    status: int, headers: dict[str, str], limited: bool
) -> None:
    failure = failure_of(status, headers, "here")
    assert failure.limited == limited
    assert (failure.refused is not None) == (status == 403 and not limited)


def test_back_off_grows_to_a_limit_and_never_is_the_same_for_all() -> None:
    assert all(0.25 <= back_off(1) <= 0.5 for _ in range(100))
    assert all(30 <= back_off(99) <= 60 for _ in range(100))
    assert len({back_off(5) for _ in range(10)}) > 1
