"""No spelling of an address leads a request, or a token, to another origin.

What the API says, and what a manifest holds, are spellings drawn at random (`tests.url_spellings`). A second
server watches, and so does Python's own audit of each connection and each look-up of a name.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import CatalogError, SourceError, SourceRefused
from groundwork.sources.rest import RestSource
from groundwork.sources.rest.pull import Sizes
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve
from tests.url_spellings import drawn

COUNT = int(os.environ.get("GROUNDWORK_TEST_URLS", "420"))
SEED = int(os.environ.get("GROUNDWORK_SEED", "20261129"))
AUTH = {"kind": "bearer", "token": {"secret": "t"}}
PLACES = ["json next", "Link", "another header", "Location", "stored", "file", "index link", "index next"]
RECORD = {"id": 1, "at": "2026-01-01T00:00:00Z"}


class Watch:
    """Where this process connects to, and which names it looks up, while it is on."""

    def __init__(self) -> None:
        self.on, self.seen = False, set[tuple[str, int]]()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "socket.connect" and isinstance(arguments[1], tuple):
            self.seen.add(arguments[1][:2])
        elif self.on and event == "socket.getaddrinfo":
            self.seen.add((str(arguments[0]), int(arguments[1] or 0)))


WATCH = Watch()


def html(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def in_header(text: str) -> str:
    """What a server can put into a header."""
    return text.translate(dict.fromkeys([*range(9), *range(10, 32), 127]))


class Luring:
    """An API whose first answer says ``text`` where the way on, or a file, stands."""

    def __init__(self) -> None:
        self.place, self.text, self.fails = "", "", False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        first = request.path == "/v1/books" and "p" not in request.query
        if self.place in ("file", "index link", "index next"):
            return self._listing() if first else answer(b'{"id": 2}\n')
        if not first:
            return answer({"message": "no"}, 400) if self.fails else answer({"items": [], "next": None})
        if self.place == "Location":
            return web.Response(status=302, headers={"Location": in_header(self.text)})
        said = self.text if self.place == "json next" else None
        if self.place == "stored":
            said = "/v1/books?p=2"
        name = {"Link": "Link", "another header": "X-Next"}.get(self.place)
        value = f'<{self.text}>; rel="next"' if name == "Link" else self.text
        return answer({"items": [RECORD], "next": said}, **({name: in_header(value)} if name else {}))

    def _listing(self) -> web.Response:
        if self.place == "file":
            return answer([{"url": self.text}])
        link = html(self.text)
        other = (
            f'<a href="{link}">f</a>' if self.place == "index link" else f'<a rel="next" href="{link}">n</a>'
        )
        return web.Response(text=f'<a href="books/a">a</a>{other}', content_type="text/html")

    @property
    def stream(self) -> dict[str, Any]:
        """The catalog's entry for what it lists."""
        if self.place in ("file", "index link", "index next"):
            listing = {} if self.place == "file" else {"listing": "html"}
            return {"format": "ndjson", "files": listing, "replication": "incremental"}
        paging = {
            "Link": {"kind": "header_link"},
            "another header": {"kind": "header_link", "header": "X-Next"},
        }.get(self.place, {"kind": "json_link", "next": "next"})
        cursor = {
            "replication": "incremental",
            "cursor": {"field": "at", "parameter": "since", "exact": True},
        }
        return {"records": "items", "paging": paging, **(cursor if self.place == "stored" else {})}


def states_of(luring: Luring, base: str) -> dict[str, Any]:
    """The cursors of a pull that was cut short, as a manifest holds them, with the spelling as its place."""
    text, luring.text, luring.fails = luring.text, "/v1/books?p=2", True
    points: list[Any] = []
    source = RestSource(entry(base, luring.stream, auth=AUTH), resolve, sizes=Sizes(batch_rows=1))
    with pytest.raises(SourceError):
        points.extend(source.read({}))
    luring.text, luring.fails = text, False
    cursors: dict[str, Any] = points[-1].cursors
    assert cursors["books"]["pull"]["position"] == {"link": "/v1/books?p=2"}
    return cursors


@pytest.mark.parametrize("place", PLACES)
def test_no_spelling_of_an_address_leads_to_another_origin(serve: Callable[..., Api], place: str) -> None:
    luring = Luring()
    api, thief = serve(luring), serve(lambda _: answer([]))
    base, rng = f"{api.url}/v1", random.Random(f"{SEED} {place}")
    luring.place = place
    kept = states_of(luring, base) if place == "stored" else {}
    ends: dict[str, int] = {}
    WATCH.seen.clear()
    WATCH.on = True
    try:
        for _ in range(-(-COUNT // len(PLACES))):
            luring.text = text = drawn(rng, base, thief.port)
            api.requests.clear()
            if kept:
                kept["books"]["pull"]["position"] = {"link": text}
            source = RestSource(entry(base, luring.stream, auth=AUTH), resolve)
            try:
                Read(source, kept)
                end = "read"
            except SourceError as error:
                end = type(error).__name__
                assert "stream 'books'" in str(error), repr(text)
            ends[end] = ends.get(end, 0) + 1
            assert len(api.requests) <= 7, f"{text!r} was asked for again and again"
    finally:
        WATCH.on = False
    assert thief.requests == []
    assert WATCH.seen == {("127.0.0.1", api.port)}
    if place not in ("index link", "stored"):
        assert ends["AddressRefused"] > sum(ends.values()) / 4, ends


def test_the_watch_sees_a_connection_to_another_origin(serve: Callable[..., Api]) -> None:
    other = serve(lambda _: answer([]))
    WATCH.seen.clear()
    WATCH.on = True
    try:
        socket.create_connection(("localhost", other.port)).close()
    finally:
        WATCH.on = False
    assert ("localhost", other.port) in WATCH.seen and len(WATCH.seen) > 1


@pytest.mark.parametrize("place", ["json next", "Link", "Location"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://[::1/x", "its host is not one"),
        ("http://127.0.0.1:99999999/x", "its port is not one"),
        ("http://127.0.0.1:x/x", "its host is not one"),
        ("http://u:p@127.0.0.1/x", "it carries a user or password"),
        ("http:/x", "it has no host"),
        ("ftp://127.0.0.1/x", "it is not http or https"),
        ("/\\127.0.0.1/x", "it holds a backslash"),
        ("//127.0.0.2:81/x", r"is on another host (http://127.0.0.2:81)"),
        ("https://bücher.example", r"is on another host (https://xn--bcher-kva.example:443)"),
    ],
)
def test_a_bad_address_is_named_as_one_and_asked_for_once(
    serve: Callable[..., Api], place: str, text: str, said: str
) -> None:
    luring = Luring()
    luring.place, luring.text = place, text
    api, begun = serve(luring), time.monotonic()
    with pytest.raises(SourceRefused) as caught:
        Read(RestSource(entry(f"{api.url}/v1", luring.stream, auth=AUTH), resolve))
    assert said in str(caught.value) and "source 'books', stream 'books'" in str(caught.value)
    assert caught.value.__context__ is None and "Traceback" not in str(caught.value)
    assert len(api.requests) == 1 and time.monotonic() - begun < 60


@pytest.mark.parametrize("place", ["json next", "Link", "Location"])
def test_a_path_that_begins_with_two_slashes_stays_on_the_host(serve: Callable[..., Api], place: str) -> None:
    luring = Luring()
    api, thief = serve(luring), serve(lambda _: answer([]))
    luring.place, luring.text = place, f"{api.url}//127.0.0.1:{thief.port}/steal"
    Read(RestSource(entry(f"{api.url}/v1", luring.stream, auth=AUTH), resolve))
    assert [request.raw_path for request in api.requests] == [
        "/v1/books",
        f"//127.0.0.1:{thief.port}/steal",
    ]
    assert thief.requests == []


@pytest.mark.parametrize(
    "link", ["//127.0.0.1:1/x", "@127.0.0.1:1/x", ":1@127.0.0.1/x", ".evil.example/x", 5, "", "x"]
)
def test_a_stored_place_that_is_no_path_of_ours_is_not_gone_on_from(
    serve: Callable[..., Api], link: Any
) -> None:
    luring = Luring()
    luring.place, api = "stored", serve(luring)
    kept = states_of(luring, f"{api.url}/v1")
    kept["books"]["pull"]["position"] = {"link": link}
    WATCH.seen.clear()
    WATCH.on = True
    try:
        read = Read(RestSource(entry(f"{api.url}/v1", luring.stream, auth=AUTH), resolve), kept)
    finally:
        WATCH.on = False
    assert WATCH.seen == {("127.0.0.1", api.port)}
    assert read.ids == ([1] if link != "//127.0.0.1:1/x" else [])


def test_a_session_is_not_sent_to_a_host_that_neither_gave_nor_takes_it() -> None:
    auth = {
        "kind": "session_login",
        "login_url": "/login",
        "logout_url": "http://127.0.0.2/logout",
        "token": "token",
        "credentials": {"password": {"secret": "p"}},
    }
    with pytest.raises(CatalogError, match="logout_url: is on another host than login_url and base_url"):
        RestSource(entry("http://127.0.0.1:1/v1", {}, auth=auth), resolve)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("http://u:p@127.0.0.1/v1", "carries a user or password"),
        ("http://127.0.0.1\\@127.0.0.2/v1", "user or password|backslash"),
        ("http://127.0.0.1/v1?a=1", "carries a query"),
        ("http://127.0.0.1/v1 ", "begins or ends with a space"),
        ("http://[::1/v1", "its host is not one"),
        ("ftp://127.0.0.1/v1", "not http or https"),
    ],
)
def test_a_base_address_that_could_be_read_in_two_ways_is_refused(base: str, said: str) -> None:
    with pytest.raises(CatalogError, match=said):
        RestSource(entry(base, {}), resolve)
