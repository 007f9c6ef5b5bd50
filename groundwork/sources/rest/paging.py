"""How one answer leads to the next, and when something is wrong with the way.

A *position* is a small JSON object that says which page to ask for; it is what a killed pull goes on from.
The end is what the API says it is: ``more``, the total, no next cursor, or an empty page. A page that is
merely shorter than asked for is no end, because servers cap the size of a page in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from groundwork.catalog import RestStream
from groundwork.catalog.rest import BY_VALUE
from groundwork.sources.rest.asking import WHOLE, Asking, Part
from groundwork.sources.rest.astray import PagesAstray as PagesAstray
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.keyset import Keyset
from groundwork.sources.rest.records import CutPage
from groundwork.sources.rest.transport import Answer, Request

Position = dict[str, Any]

COUNTED = ("page_number", "offset")
"""Kinds whose positions count pages or records, so that they move when records come and go."""


class Pager:
    """Pages of one stream: what to ask for, and what comes after an answer."""

    def __init__(
        self,
        stream: RestStream,
        access: Access,
        where: str,
        since: str | None = None,
        part: Part = WHOLE,
        token: Position | None = None,
    ) -> None:
        """Prepare the requests of one pull.

        Args:
            stream: the catalog's entry.
            access: where the API is.
            where: source and stream, for messages.
            since: value of the cursor parameter, None to ask for everything.
            part: what of the stream to ask for.
            token: what a pull before ended with, for streams with a ``sync``; None to read everything.
        """
        self._stream, self._paging, self._access, self._where = stream, stream.paging, access, where
        self._keyset = Keyset(stream, where) if stream.paging.last_field else None
        self.part = part
        self._token, self.since = token, since
        self._asking = Asking(stream, where, since, part, token)

    @property
    def first(self) -> Position:
        """The position of the first page."""
        if self._token and "link" in self._token:
            return self._token
        if self._paging.kind == "page_number":
            return {"page": int(self._paging.first)}
        return {"offset": 0} if self._paging.kind == "offset" else {}

    @property
    def counted(self) -> bool:
        """Whether positions count pages or records, so that they move when records come and go."""
        return self._paging.kind in COUNTED

    def request(self, position: Position, where: str) -> Request:
        """The request for the page at a position."""
        page, paging = self._page(position)
        posts, url = self._stream.posts, self._asking.url(self._access.base, page)
        if "link" in position:
            url = self._access.gate.stored(position["link"], where)
        elif not posts and (query := self._asking.query(page, paging)):
            url = url.update_query(query)
        return Request(
            url=url,
            where=where,
            method="POST" if posts else "GET",
            body=self._asking.body(page, paging) if posts else None,
            repeatable=not posts or self._stream.repeatable or bool(self._stream.query),
        )

    def _page(self, position: Position) -> tuple[str | int | None, dict[str, Any]]:
        """What says which page: the value of its placeholder, and the parameters."""
        if "continue" in position:
            return None, dict(position["continue"])
        value = None if "link" in position else next(iter(position.values()), None)
        if self._paging.parameter:
            return None, {} if value is None else {self._paging.parameter: value}
        if self._paging.kind not in BY_VALUE:
            return None, {}
        return self._paging.first if value is None else value, {}

    def guess(self, position: Position, total: int | None, size: int) -> Position | None:
        """The position after one that is not answered yet, where the paging kind knows it.

        Args:
            position: the one before it.
            total: records in all, by the newest answer; None where the API does not say it.
            size: records of a page so far; 0 before the first answer.
        """
        if self._paging.kind == "page_number":
            page = position["page"] + 1
            # beyond the total there is nothing to ask for; some APIs refuse to be asked
            beyond = total is not None and (page - int(self._paging.first)) * size >= total
            return None if beyond else {"page": page}
        if self._paging.kind == "offset":
            offset = position["offset"] + self._paging.size
            return None if total is not None and offset >= total else {"offset": offset}
        return None

    def before(self, position: Position, records: int, size: int) -> Position:
        """The position some records before one that is found by counting.

        Args:
            position: a page's.
            records: how many of them lie before it.
            size: records of a page.
        """
        if self._paging.kind == "offset":
            return {"offset": max(0, position["offset"] - records)}
        return {"page": max(int(self._paging.first), position["page"] - -(-records // max(size, 1)))}

    def after(self, position: Position, page: CutPage, received: int, answer: Answer) -> Position | None:
        """The position that follows an answer; None at the end.

        Args:
            position: of the page that was answered.
            page: what it holds.
            received: records received in this pull, this page's included.
            answer: it; its headers may hold the way on, and relative links are relative to its URL.

        Raises:
            PagesAstray: when the answer contradicts itself.
            AddressRefused: when the next link is on another host, or no link.
        """
        following = self._following(position, page, answer)
        empty = not page.records
        done = empty or (page.total is not None and received >= page.total)
        if page.more is False or (page.more is None and self.counted and done):
            return None
        if empty and following is not None and not self._paging.may_be_empty:
            raise PagesAstray(
                self._where, "a page without records says that more follow",
                why="an API that fails in silence looks like this",
                fix="if this API filters its pages, set 'paging.may_be_empty: true'",
            )  # fmt: skip
        if page.more and following is None:
            raise PagesAstray(
                self._where, f"'{self._flag}' says that more follow, but not how to get there",
                fix=f"check paging.{self._way}",
            )  # fmt: skip
        return following

    def ends_with(self, status: int, page: CutPage) -> bool:
        """Whether a refused page means that the page before it was the last one.

        Args:
            status: of the refusal.
            page: what the page before it held.
        """
        return status in self._paging.past_the_end and page.more is not True

    @property
    def _flag(self) -> str:
        return self._paging.more or self._paging.end

    @property
    def _way(self) -> str:
        """The key of the catalog that says where the way on stands."""
        return next((key for key in ("last_field", "header", "next") if getattr(self._paging, key)), "kind")

    def _following(self, position: Position, page: CutPage, answer: Answer) -> Position | None:
        kind = self._paging.kind
        if kind == "page_number":
            return {"page": position["page"] + 1}
        if kind == "offset":  # by what came, not by what was asked for: servers cap pages in silence
            return {"offset": position["offset"] + len(page.records)}
        if kind == "cursor":
            value = self._keyset.following(page) if self._keyset else page.next
            return None if value is None else {"cursor": value}
        if kind == "header_cursor":
            value = answer.headers.get(self._paging.header) or None
            return None if value is None else {"cursor": value}
        if kind == "continue_object":
            return None if page.next is None else {"continue": self._continued(page.next)}
        target = page.next if kind == "json_link" else None
        if kind == "header_link":
            named = self._paging.header
            target = answer.headers.get(named) or None if named else answer.next_link
        return None if target is None else self._link(target, answer.url)

    def token(self, page: CutPage, answer: Answer) -> Position | None:
        """What an answer gives the next pull to begin with; None where it gives nothing."""
        sync = self._stream.sync
        if sync is None:
            return None
        text = answer.headers.get(sync.header) or None if sync.header else page.sync
        if text is None:
            return None
        return {"token": text} if sync.parameter else self._link(text, answer.url)

    def _continued(self, text: str) -> dict[str, str | int | bool]:
        found: dict[str, str | int | bool] = {}
        try:
            found = msgspec.json.decode(text, type=dict[str, str | int | bool])
        except msgspec.ValidationError:
            pass
        if found:
            return found
        raise PagesAstray(
            self._where, f"'{self._paging.next}' is no object of parameters",
            why="kind 'continue_object' sends each key of it with the next request",
            fix="check paging.next against an answer; one value alone is kind 'cursor'",
        )  # fmt: skip

    def _link(self, target: str, url: URL) -> Position:
        following = self._access.gate.resolved(url, target, self._where, "the next page")
        return {"link": self._access.unsigned(following).raw_path_qs}


class Guard:
    """Tells when pages lead nowhere: in a circle, the same one again, or too many."""

    def __init__(self, stream: RestStream, where: str) -> None:
        """Nothing seen yet."""
        self._most, self._where, self._paging = stream.paging.max_pages, where, stream.paging
        self._pages = 0
        self._mark: Position | None = None
        self._mark_at = 1
        self._data = b""
        self._records: list[msgspec.Raw] = []
        self._largest, self._short = 0, False
        self.overlaps = 0
        """Pages that began with a record of the page before: records moved meanwhile."""

    @property
    def capped(self) -> int:
        """Records of the largest page, if pages are smaller than asked for; else 0."""
        asked = self._paging.size_parameter and self._largest < self._paging.size
        return self._largest if asked and self._short else 0

    @property
    def largest(self) -> int:
        """Records of the largest page."""
        return self._largest

    def forget(self) -> None:
        """Allow for pages that are read again on purpose."""
        self._data, self._records, self._mark = b"", [], None

    def check(self, page: CutPage, following: Position | None) -> None:
        """Note an answered page and the position that follows.

        Raises:
            PagesAstray: when going on would read the same again, or never end, or has left records out.
        """
        self._pages += 1
        if page.records and page.data == self._data:
            raise PagesAstray(
                self._where, "the API gave the same page twice",
                why=f"it may not know {self._asked_by}",
                fix="check paging against the API's manual",
            )  # fmt: skip
        if page.records and self._has(page.records[0]):
            self.overlaps += 1
        self._data, self._records = page.data, page.records
        self._largest = max(self._largest, len(page.records))
        self._short |= following is not None and 0 < len(page.records) < self._paging.size
        if following is None:
            return
        # Brent's way to find a circle of any length with one position kept in memory.
        if following == self._mark:
            raise PagesAstray(
                self._where, "the API gave the same next page twice",
                why="following it would read in a circle for ever",
                fix="check paging.next and paging.parameter against the API's manual",
            )  # fmt: skip
        if self._pages >= self._mark_at:
            self._mark, self._mark_at = following, self._mark_at * 2
        if self._pages >= self._most:
            raise PagesAstray(
                self._where, f"more than {self._most} pages", fix="raise paging.max_pages if right"
            )

    @property
    def _asked_by(self) -> str:
        return f"the parameter '{self._paging.parameter}'" if self._paging.parameter else "what pages are"

    def _has(self, record: msgspec.Raw) -> bool:
        """Whether the page before held a record; a look at its bytes first, which is much cheaper."""
        text = bytes(record)
        return text in self._data and any(text == bytes(one) for one in self._records)


def fingerprint(stream: RestStream) -> Mapping[str, Any]:
    """What a position depends on: a saved one is worthless when any of this has changed."""
    asked = stream.model_dump(
        include={
            "endpoint",
            "method",
            "query",
            "parameters",
            "records",
            "format",
            "delimiter",
            "encoding",
            "paging",
            "cursor",
            "windows",
            "sync",
            "deleted",
            "deleted_values",
        },
        mode="json",
        exclude_defaults=True,  # a word that is new in the catalog changes no saved position
    )
    for without_effect in ("max_pages", "ignore_signs"):
        asked.get("paging", {}).pop(without_effect, None)
    return asked
