"""A server at its worst: what passes is waited for, what does not is told, and nothing passes as data."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable, SourceError, SourceRefused, SourceUnreachable
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer, cut_off, reset
from tests.integration.rest_reading import SECRET, Read, entry, resolve

BOOKS = [{"id": number} for number in range(1, 13)]
PAGES = {"records": "items", "paging": {"kind": "page_number", "parameter": "page"}}
CURSOR = {"records": "items", "paging": {"kind": "cursor", "parameter": "after", "next": "next"}}


def failing(times: int, fault: Callable[[web.Request], Any]) -> Any:
    """A handler whose page 2 fails some times before it comes."""
    left = [times]

    async def handle(request: web.Request) -> web.StreamResponse:
        page = int(request.query["page"])
        if page == 2 and left[0]:
            left[0] -= 1
            return await fault(request)  # type: ignore[no-any-return]
        return answer({"items": BOOKS[(page - 1) * 5 : page * 5]})

    return handle


async def storm(request: web.Request) -> web.Response:
    return answer({"message": "oh"}, 502)


async def half(request: web.Request) -> web.StreamResponse:
    return await cut_off(request, b'{"items": [{"id": 6')


async def half_json(request: web.Request) -> web.Response:
    return answer(b'{"items": [{"id": 6}, {"i')


async def garbage(request: web.Request) -> web.Response:
    return answer(bytes(range(256)) * 40)


async def limited(request: web.Request) -> web.Response:
    return answer({}, 429)


def dribbling(whole: bytes, pause: float) -> Any:
    """A byte, a pause, a byte, …: never silent for long, so only the time of all of it tells."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for byte in whole:
            await response.write(bytes([byte]))
            await asyncio.sleep(pause)
        return response

    return fault


SLOW = b'{"items": [' + b" " * 200 + b'{"id": 6}, {"id": 7}, {"id": 8}, {"id": 9}, {"id": 10}]}'


async def silent(request: web.Request) -> web.Response:
    await asyncio.sleep(3)
    return answer({"items": []})


@pytest.mark.parametrize("fault", [storm, limited, reset, half, half_json, dribbling(SLOW, 0)])
def test_a_fault_that_passes_costs_time_but_no_record(serve: Callable[..., Api], fault: Any) -> None:
    read = Read(RestSource(entry(serve(failing(2, fault)).url, PAGES), resolve))
    assert read.ids == [book["id"] for book in BOOKS]


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (storm, SourceUnreachable, "no answer after 2 attempts.*502"),
        (reset, SourceUnreachable, "no answer after 2 attempts"),
        (silent, SourceUnreachable, "no answer in time"),
        (dribbling(SLOW, 0.05), SourceUnreachable, "no answer in time"),
        (garbage, AnswerUnusable, "not UTF-8"),
        (half, AnswerUnusable, "not whole, 2 times"),
        (half_json, AnswerUnusable, "not whole.*not one JSON text"),
    ],
)
def test_a_fault_that_stays_ends_in_one_clear_error(
    serve: Callable[..., Api], fault: Any, kind: type[SourceError], told: str
) -> None:
    api = serve(failing(99, fault))
    source = RestSource(entry(api.url, PAGES, retries=1, timeout_seconds=0.3), resolve)
    with pytest.raises(kind, match=rf"source 'books', stream 'books', page 2: .*{told}"):
        Read(source)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"items": [{"id": NaN}]}', r"the answer is no JSON: NaN is no JSON \(byte 18\)"),
        (b'{"items": [' + b"[" * 3000 + b"]" * 3000 + b"]}", "3002 levels deep"),
        (b'{"items": [{"id": "\x01"}]}', "control character 0x01"),
        (b'{"items": []} trailing', "something follows the JSON text"),
        ('{"items": ["é"]}'.encode("latin-1"), r"not UTF-8 \(byte 12\)"),
    ],
)  # fmt: skip
def test_what_the_parser_refuses_is_named_and_asked_for_once(
    serve: Callable[..., Api], body: bytes, told: str
) -> None:
    api = serve(saying(body))
    with pytest.raises(AnswerUnusable, match=rf"stream 'books', page 1: .*{told}"):
        Read(RestSource(entry(api.url, PAGES), resolve))
    assert len(api.requests) == 1


def test_a_body_that_ends_within_a_character_is_asked_for_again(serve: Callable[..., Api]) -> None:
    async def half_a_character(request: web.Request) -> web.Response:
        return answer('{"items": [{"id": 6, "n": "é'.encode()[:-1])

    api = serve(failing(2, half_a_character))
    assert Read(RestSource(entry(api.url, PAGES), resolve)).ids == [book["id"] for book in BOOKS]


def test_nobody_listening_is_told() -> None:
    source = RestSource(entry("http://127.0.0.1:9", PAGES, retries=1), resolve)
    with pytest.raises(SourceUnreachable, match="no connection") as caught:
        Read(source)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_in_both_forms(serve: Callable[..., Api], form: str) -> None:
    async def limited(request: web.Request) -> web.Response:
        # The server's clock is a day behind: its date counts against its own clock.
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        after = "2" if form == "seconds" else format_datetime(now + timedelta(seconds=2), True)
        return answer({}, 429, **{"Retry-After": after, "Date": format_datetime(now, True)})

    api = serve(failing(1, limited))
    began = time.monotonic()
    read = Read(RestSource(entry(api.url, PAGES), resolve))
    assert len(read.ids) == len(BOOKS)
    assert 2 <= time.monotonic() - began < 6


LIMITS: dict[str, tuple[int, Callable[[datetime], dict[str, str]]]] = {
    "seconds": (429, lambda until: {"X-RateLimit-Reset": "2"}),
    "epoch": (429, lambda until: {"X-RateLimit-Reset": str(int(until.timestamp()))}),
    "epoch milliseconds": (429, lambda until: {"X-RateLimit-Reset": str(int(until.timestamp()) * 1000)}),
    "date": (429, lambda until: {"X-RateLimit-Reset": format_datetime(until, True)}),
    "403": (403, lambda until: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}),
    "IETF": (429, lambda until: {"RateLimit": '"default";r=0;t=2'}),
    "IETF, old form": (429, lambda until: {"RateLimit-Remaining": "0", "RateLimit-Reset": "2"}),
    "milliseconds": (403, lambda until: {"X-Quota-Left": "0", "X-Quota-Reset": "2000"}),
}


@pytest.mark.parametrize("form", LIMITS)
def test_a_limit_is_waited_for_whatever_header_tells_it(serve: Callable[..., Api], form: str) -> None:
    status, headers = LIMITS[form]
    refused_until: list[float] = []

    async def limited(request: web.Request) -> web.Response:
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        refused_until.append(time.monotonic() + 2)
        until = headers(now + timedelta(seconds=2))
        return answer({}, status, Date=format_datetime(now, True), **until)

    api = serve(failing(1, limited))
    quota = {"reset": "X-Quota-Reset", "unit": "milliseconds", "remaining": "X-Quota-Left"}
    read = Read(RestSource(entry(api.url, PAGES, retries=0, rate_limit=quota), resolve))
    assert len(read.ids) == len(BOOKS)
    assert time.monotonic() >= refused_until[0]


def test_a_rate_limit_never_counts_as_failure(serve: Callable[..., Api]) -> None:
    async def limited(request: web.Request) -> web.Response:
        return answer({}, 429, **{"Retry-After": "0"})

    read = Read(RestSource(entry(serve(failing(3, limited)).url, PAGES, retries=0), resolve))
    assert len(read.ids) == len(BOOKS)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wait_longer_than_allowed_fails_at_once_and_says_so(serve: Callable[..., Api], form: str) -> None:
    async def limited(request: web.Request) -> web.Response:
        tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), True)
        return answer({}, 503, **{"Retry-After": "86400" if form == "seconds" else tomorrow})

    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"max_wait_seconds=20.*raise connection\.max_wait"):
        Read(RestSource(entry(serve(failing(1, limited)).url, PAGES), resolve))
    assert time.monotonic() - began < 10


def test_a_storm_of_limits_without_an_end_fails_clearly_within_the_wait_that_is_allowed(
    serve: Callable[..., Api],
) -> None:
    began = time.monotonic()
    api = serve(failing(9999, limited))
    with pytest.raises(SourceUnreachable, match=r"page 2: .*status 429.*spent.*raise connection\.max_wait"):
        Read(RestSource(entry(api.url, PAGES, retries=0, max_wait_seconds=2), resolve))
    assert time.monotonic() - began < 10 and len(api.requests) > 2


def test_requests_keep_to_the_pace(serve: Callable[..., Api]) -> None:
    api = serve(failing(0, storm))
    began = time.monotonic()
    Read(RestSource(entry(api.url, PAGES, requests_per_second=5), resolve))
    assert time.monotonic() - began >= (len(api.requests) - 1) / 5 - 0.05


def test_the_budget_of_a_source_is_one_for_all_its_streams(serve: Callable[..., Api]) -> None:
    api = serve(failing(0, storm))
    one = entry(api.url, PAGES, requests_per_second=5)
    both = one.model_copy(update={"streams": {**one.streams, "papers": one.streams["books"]}})
    began = time.monotonic()
    Read(RestSource(both, resolve))
    assert time.monotonic() - began >= (len(api.requests) - 1) / 5 - 0.05


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "does not know us"), (403, "does not let us"), (404, "no such path"),
        (410, "no such path"), (400, "does not accept"), (422, "does not accept"),
        (501, r"the API failed .status 501."),
    ],
)  # fmt: skip
def test_a_refusal_is_not_tried_again(serve: Callable[..., Api], status: int, told: str) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return answer({"error": SECRET}, status)

    api = serve(refuse)
    with pytest.raises(SourceRefused, match=told):
        Read(RestSource(entry(api.url, PAGES), resolve))
    assert len(api.requests) == 1


def test_a_post_that_may_have_an_effect_is_sent_once(serve: Callable[..., Api]) -> None:
    async def fail(request: web.Request) -> web.Response:
        return answer({}, 500)

    api = serve(fail)
    with pytest.raises(SourceUnreachable, match=r"not sent again.*repeatable"):
        Read(RestSource(entry(api.url, {"method": "POST"}), resolve))
    assert len(api.requests) == 1


async def html(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><form>log in</form>", content_type="text/html")


def saying(body: Any, **headers: str) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return answer(body, **headers)

    return handle


async def nothing(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def ever_the_same_cursor(request: web.Request) -> web.Response:
    return answer({"items": [{"id": time.monotonic_ns()}], "next": "abc"})


async def a_circle_of_cursors(request: web.Request) -> web.Response:
    at = int(request.query.get("after", 0))
    return answer({"items": [{"id": time.monotonic_ns()}], "next": str((at + 1) % 7)})


async def deaf_to_page(request: web.Request) -> web.Response:
    return answer({"items": BOOKS})


async def wrong_total(request: web.Request) -> web.Response:
    page = int(request.query["page"])
    return answer({"items": BOOKS[(page - 1) * 5 : page * 5], "total": 13})


async def endless(request: web.Request) -> web.Response:
    return answer({"items": [{"id": int(request.query["page"])}]})


MORE = {**CURSOR, "paging": {**CURSOR["paging"], "more": "more"}}  # type: ignore[dict-item]
TOTAL = {**PAGES, "paging": {**PAGES["paging"], "total": "total"}}  # type: ignore[dict-item]
FEW = {**PAGES, "paging": {**PAGES["paging"], "max_pages": 9}}  # type: ignore[dict-item]
NOT_DATA = [
    ("a login page", html, {}, "with a page .text/html., not JSON"),
    ("no content", nothing, {}, "with nothing at all"),
    ("an error with 200", saying({"error": "bad token"}), PAGES, "looks like an error.*200"),
    ("an error where named", saying({"items": [], "fault": {"code": 1}}),
     {**PAGES, "error": "fault"}, "with an error at 'fault'"),
    ("other keys", saying({"data": []}), PAGES, r"no 'items' in the answer \(keys: 'data'\)"),
    ("null for an array", saying({"items": None}), PAGES, "null instead of an array"),
    ("an object for an array", saying({"items": {}}), PAGES, "another shape"),
    ("bytes that are no text", saying(b'{"items": ["\xff"]}'), PAGES, "not UTF-8"),
    ("the same cursor for ever", ever_the_same_cursor, CURSOR, "same next page twice"),
    ("a circle of cursors", a_circle_of_cursors, CURSOR, "same next page twice"),
    ("a parameter it ignores", deaf_to_page, PAGES, "same page twice.*parameter 'page'"),
    ("more, but empty", saying({"items": [], "next": "x", "more": True}), MORE, "without records"),
    ("more, but no way", saying({"items": [1], "next": None, "more": True}), MORE, "not how"),
    ("a total not reached", wrong_total, TOTAL, "held 12 records, but the API counts 13"),
    ("no total", saying({"items": [1]}), TOTAL, "no total"),
    ("pages without end", endless, FEW, "more than 9 pages"),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "stream", "told"), [case[1:] for case in NOT_DATA],
                         ids=[case[0] for case in NOT_DATA])  # fmt: skip
def test_what_is_not_the_whole_data_never_passes_as_success(
    serve: Callable[..., Api], handler: Any, stream: dict[str, Any], told: str
) -> None:
    source = RestSource(entry(serve(handler).url, stream), resolve)
    seen: list[object] = []
    with pytest.raises(AnswerUnusable, match=told):
        seen.extend(source.read({}))
    assert not [item for item in seen if isinstance(item, Checkpoint)]


def test_pages_that_overlap_because_something_was_inserted_are_told(
    serve: Callable[..., Api],
) -> None:
    async def shifting(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        shelf = BOOKS if page == 1 else [{"id": 0}, *BOOKS]
        return answer({"items": shelf[(page - 1) * 5 : page * 5]})

    read = Read(RestSource(entry(serve(shifting).url, PAGES), resolve))
    assert set(read.ids) == {book["id"] for book in BOOKS}
    assert read.events == [{"event": "pages overlapped", "stream": "books", "pages": 1}]


def test_a_full_table_that_shrinks_too_far_deletes_nothing(serve: Callable[..., Api]) -> None:
    shelf = list(BOOKS)

    async def books(request: web.Request) -> web.Response:
        return answer(shelf)

    api = serve(books)
    cursors = Read(RestSource(entry(api.url, {}), resolve)).cursors
    for left in (0, 5):
        del shelf[left:]
        shelf.extend(BOOKS[:left])
        items: list[object] = []
        with pytest.raises(AnswerUnusable, match=rf"{left} records came, where .* had 12"):
            items.extend(RestSource(entry(api.url, {}), resolve).read(cursors))
        assert not [item for item in items if isinstance(item, Checkpoint)]
    shelf.clear()
    tolerant = Read(RestSource(entry(api.url, {"shrink_tolerance": 1}), resolve), cursors)
    assert tolerant.frame["_operation"].to_list() == ["truncate"]


def test_an_unchanged_small_full_table_commits_nothing(serve: Callable[..., Api]) -> None:
    shelf = list(BOOKS)

    async def books(request: web.Request) -> web.Response:
        return answer(shelf)

    api = serve(books)
    first = Read(RestSource(entry(api.url, {}), resolve))
    idle = Read(RestSource(entry(api.url, {}), resolve), first.cursors)
    assert not idle.records and idle.cursors == first.cursors
    shelf[3] = {"id": 99}
    changed = Read(RestSource(entry(api.url, {}), resolve), first.cursors)
    assert len(changed.records) == 12 and changed.frame["_operation"][0] == "truncate"


@pytest.mark.parametrize("fault", ["refused", "reset", "cut", "html", "limited", "redirect"])
@pytest.mark.parametrize("place", ["query", "header"])
def test_the_secret_stands_in_no_error_no_cause_and_no_log(
    serve: Callable[..., Api], caplog: pytest.LogCaptureFixture, fault: str, place: str
) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        if fault == "reset":
            return await reset(request)
        if fault == "cut":
            return await cut_off(request, f'["{SECRET}'.encode())
        if fault == "html":
            return web.Response(text=f"<p>{request.url}{SECRET}", content_type="text/html")
        if fault == "limited":
            return answer({"said": SECRET}, 429, **{"Retry-After": "900"})
        if fault == "redirect":
            location = f"http://[::1]:1/?{request.query_string}"
            return web.Response(status=302, headers={"Location": location})
        return answer({"error": f"bad key {SECRET}"}, 401)

    caplog.set_level(logging.DEBUG)
    auth = {"kind": "api_key", "in": place, "name": "key", "token": {"secret": "books-key"}}
    source = RestSource(entry(serve(fail).url, {}, auth=auth, retries=1), resolve)
    with pytest.raises(SourceError) as caught:
        Read(source)
    link: BaseException | None = caught.value
    told = [*caplog.messages, *traceback.format_exception(caught.value), repr(source)]
    while link is not None:
        told.append(f"{link!s} {link!r}")
        link = link.__cause__ or link.__context__
    for form in ("s3cr3t", "Canary", "czNjcjN0"):
        assert form not in "\n".join(told)
