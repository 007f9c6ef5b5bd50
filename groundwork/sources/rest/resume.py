"""Where a pull that was cut short goes on, and how it is known that this place is still what it was."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager, Position
from groundwork.sources.rest.refusals import Refused

log = logging.getLogger(__name__)

State = dict[str, Any]
Walk = Callable[[Pager, Position, int, int], Generator[Page, None, None]]
"""Pages from a position on: pager, position, number of the page, records received before."""

_POSITION_UNKNOWN = (400, 404, 410, 422)
"""What APIs answer to a page position that they have forgotten."""


class PositionLost(Exception):
    """The page to go on from is not there any more."""


def going_on(name: str, walk: Walk, pager: Pager, pull: Mapping[str, Any]) -> Iterator[Page]:
    """The pages, once the place to go on from has proved to be what it was.

    Args:
        name: of the stream.
        walk: reads pages.
        pager: what to ask.
        pull: what `place` said of the last page; empty to begin at the first.

    Raises:
        PositionLost: when the place is not there any more.
    """
    if not pull:
        yield from walk(pager, pager.first, 1, 0)
        return
    number = pull["page"]
    log.info("pull goes on stream=%s page=%d", name, number)
    pages = walk(pager, pull["position"], number, pull["received"])
    refused = False
    try:
        first = next(pages)
    except Refused as refusal:
        if refusal.status not in _POSITION_UNKNOWN:
            raise
        refused = True
    if refused:
        raise PositionLost(f"the API does not know page {number} any more")
    if "digest" not in pull:
        yield first
    elif _page_digest(first) != pull["digest"]:
        pages.close()
        raise PositionLost(f"page {number} has changed since, so records have moved")
    yield from pages


def began(state: Mapping[str, Any]) -> State:
    """The state that an unfinished pull started from."""
    return {key: value for key, value in state.get("began", state).items() if key != "pull"}


def place(page: Page) -> State:
    """Where to go on after a page.

    Numbers of pages and records move when records come or go; there the page itself is read again and
    must be what it was.
    """
    assert page.following is not None
    if page.following.keys() & {"page", "offset"}:
        return {
            "position": page.position,
            "page": page.number,
            "received": page.received - len(page.cut.records),
            "digest": _page_digest(page),
        }
    return {"position": page.following, "page": page.number + 1, "received": page.received}


def digest_of(text: bytes) -> str:
    """A short digest."""
    return base64.b64encode(hashlib.blake2b(text, digest_size=12).digest()).decode()


def _page_digest(page: Page) -> str:
    return digest_of(b"\n".join(page.cut.records))
