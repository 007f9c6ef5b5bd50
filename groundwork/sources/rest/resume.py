"""Where a pull that was cut short goes on, and how it is known that this place is still what it was."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from groundwork import time_limit
from groundwork.sources.rest.astray import NotWhole
from groundwork.sources.rest.gate import is_path
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager, Position
from groundwork.sources.rest.refusals import Refused

log = logging.getLogger(__name__)

State = dict[str, Any]
Walk = Callable[[Pager, Mapping[str, Any]], Generator[Page, None, None]]
"""Pages from a place on, see `place`; from the first when it is empty."""
READINGS = 3
"""How often a pull is read until it is whole."""

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
        yield from walk(pager, pull)
        return
    number = pull["page"]
    if not _is_position(pull["position"]):
        raise PositionLost(f"the stored place of page {number} is not one that this API gave")
    log.info("pull goes on stream=%s page=%d", name, number)
    pages = walk(pager, pull)
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


_KINDS: dict[str, type] = {"page": int, "offset": int, "cursor": str, "continue": dict}


def _is_position(position: Any) -> bool:
    """Whether a stored position has the form that a pager writes; a link may lead to our own host only."""
    if not isinstance(position, dict) or ("link" in position and not is_path(position["link"])):
        return False
    return all(isinstance(position[key], kind) for key, kind in _KINDS.items() if key in position)


def began(state: Mapping[str, Any]) -> State:
    """The state that an unfinished pull started from."""
    return {key: value for key, value in state.get("began", state).items() if key != "pull"}


def place(page: Page) -> State:
    """Where to go on after a page.

    Numbers of pages and records move when records come or go; there the page itself is read again and
    must be what it was.
    """
    assert page.following is not None
    counted = page.following.keys() & {"page", "offset"}
    if not counted or _at(page.following) <= _at(page.position):  # back, because records vanished
        onward = {"page": page.number + 1, "received": page.received}
        return {"position": page.following, **onward, **page.progress}
    count = len(page.cut.records)
    told: State = {"page": page.number, "received": page.received - count, "digest": _page_digest(page)}
    progress = dict(page.progress)
    if "reached" in progress:
        progress["reached"] -= count
    return {"position": page.position, **told, **progress}


def _at(position: Position) -> Any:
    """The number of a page or record."""
    return next(iter(position.values()))


def read_again(name: str, why: NotWhole, events: list[dict[str, Any]]) -> None:
    """Note that a pull is read once more, because the API counts other records than came."""
    log.warning("pull is read again stream=%s why=%r", name, why.what)
    events.append({"event": "pull read again", "stream": name, "why": why.what})


def settle(name: str, where: str, doubt: str, left: int, events: list[dict[str, Any]]) -> None:
    """Have a pull read again that may not be whole; note it where each reading was like that.

    Args:
        name: of the stream.
        where: source and stream, for messages.
        doubt: why it may not be whole.
        left: how many readings are left.
        events: of the next commit.

    Raises:
        NotWhole: when readings are left.
    """
    if left and not time_limit.is_near():
        raise NotWhole(where, doubt)
    log.warning("records moved in each reading stream=%s why=%r", name, doubt)
    events.append({"event": "records moved in each reading", "stream": name, "why": doubt})


def digest_of(text: bytes) -> str:
    """A short digest."""
    return base64.b64encode(hashlib.blake2b(text, digest_size=12).digest()).decode()


def _page_digest(page: Page) -> str:
    return digest_of(b"\n".join(page.cut.records))
