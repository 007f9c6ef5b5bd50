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
from groundwork.errors import AnswerUnusable, SourceRefused
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.records import CutPage, FieldReader
from groundwork.sources.rest.transport import Request

Position = dict[str, Any]


class PagesAstray(AnswerUnusable):
    """The pages contradict each other: what follows them is not the whole."""


class Pager:
    """Pages of one stream: what to ask for, and what comes after an answer."""

    def __init__(self, stream: RestStream, access: Access, where: str, since: str | None = None) -> None:
        """Prepare the requests of one pull.

        Args:
            stream: the catalog's entry.
            access: where the API is.
            where: source and stream, for messages.
            since: value of the cursor parameter, None to ask for everything.
        """
        self._stream, self._paging, self._access, self._where = stream, stream.paging, access, where
        last_field = stream.paging.last_field
        self._keyset = FieldReader(stream, last_field) if last_field else None
        self._url = URL(f"{access.base}/{stream.endpoint.lstrip('/')}")
        self._parameters: dict[str, str | int | bool] = dict(stream.parameters)
        if since is not None and stream.cursor:
            self._parameters[stream.cursor.parameter] = since
        if self._paging.size_parameter:
            self._parameters[self._paging.size_parameter] = self._paging.size

    @property
    def first(self) -> Position:
        """The position of the first page."""
        if self._paging.kind == "page_number":
            return {"page": self._paging.first}
        return {"offset": 0} if self._paging.kind == "offset" else {}

    @property
    def counted(self) -> bool:
        """Whether positions count pages or records, so that they move when records come and go."""
        return self._paging.kind in ("page_number", "offset")

    def request(self, position: Position, where: str) -> Request:
        """The request for the page at a position."""
        if "link" in position:
            url = self._url.join(URL(position["link"], encoded=True))
            parameters: dict[str, str | int | bool] = {}
        else:
            url, parameters = self._url, dict(self._parameters)
        for value in position.values() if "link" not in position else ():
            if self._paging.parameter:
                parameters[self._paging.parameter] = value
        get = self._stream.method == "GET"
        if get and parameters:
            url = url.update_query({name: _written(value) for name, value in parameters.items()})
        return Request(
            url=url,
            where=where,
            method=self._stream.method,
            body=None if get else msgspec.json.encode(parameters),
            repeatable=get or self._stream.repeatable,
        )

    def guess(self, position: Position) -> Position | None:
        """The position after one that is not answered yet, where the paging kind knows it."""
        if self._paging.kind == "page_number":
            return {"page": position["page"] + 1}
        if self._paging.kind == "offset":
            return {"offset": position["offset"] + self._paging.size}
        return None

    def after(
        self, position: Position, page: CutPage, received: int, link: str | None, url: URL
    ) -> Position | None:
        """The position that follows an answer; None at the end.

        Args:
            position: of the page that was answered.
            page: what it holds.
            received: records received in this pull, this page's included.
            link: next link of the answer's header.
            url: what was asked; relative links are relative to it.

        Raises:
            PagesAstray: when the answer contradicts itself.
            SourceRefused: when the next link is on another host.
        """
        following = self._following(position, page, link, url)
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
                self._where, f"'{self._paging.more}' says that more follow, but not how to get there",
                fix=f"check paging.{'last_field' if self._paging.last_field else 'next'}",
            )  # fmt: skip
        return following

    def _following(self, position: Position, page: CutPage, link: str | None, url: URL) -> Position | None:
        kind = self._paging.kind
        if kind == "page_number":
            return {"page": position["page"] + 1}
        if kind == "offset":  # by what came, not by what was asked for: servers cap pages in silence
            return {"offset": position["offset"] + len(page.records)}
        if kind == "cursor":
            value = page.next
            if self._keyset:
                value = self._keyset.last(page, self._where) if page.records else None
                if page.records and value is None:
                    raise PagesAstray(
                        self._where,
                        f"the last record of a page has no '{self._paging.last_field}'",
                        fix="check paging.last_field against a record of the API",
                    )
            return None if value is None else {"cursor": value}
        target = page.next if kind == "json_link" else link if kind == "header_link" else None
        return None if target is None else self._link(target, url)

    def _link(self, target: str, url: URL) -> Position:
        following = url.join(URL(target, encoded=True))
        if not self._access.ours(following):
            raise SourceRefused(
                self._where,
                f"the next page is on another host ({following.scheme}://{following.host})",
                why="the token goes nowhere else",
                fix="if that host is right, write it in connection.base_url",
            )
        following = self._access.unsigned(following)
        return {"link": following.raw_path_qs}


class Guard:
    """Tells when pages lead nowhere: in a circle, the same one again, or too many."""

    def __init__(self, stream: RestStream, where: str) -> None:
        """Nothing seen yet."""
        self._most, self._where, self._paging = stream.paging.max_pages, where, stream.paging
        self._pages = 0
        self._mark: Position | None = None
        self._mark_at = 1
        self._data = b""
        self._last: bytes | None = None
        self.overlaps = 0
        """Pages that began with the record the page before ended with: records moved meanwhile."""

    def check(self, page: CutPage, following: Position | None) -> None:
        """Note an answered page and the position that follows.

        Raises:
            PagesAstray: when going on would read the same again, or never end.
        """
        self._pages += 1
        if page.records and page.data == self._data:
            raise PagesAstray(
                self._where, "the API gave the same page twice",
                why=f"it may not know the parameter '{self._paging.parameter}'",
                fix="check paging against the API's manual",
            )  # fmt: skip
        if page.records and bytes(page.records[0]) == self._last:
            self.overlaps += 1
        self._data, self._last = page.data, bytes(page.records[-1]) if page.records else None
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


def fingerprint(stream: RestStream) -> Mapping[str, Any]:
    """What a position depends on: a saved one is worthless when any of this has changed."""
    asked = stream.model_dump(
        include={"endpoint", "method", "parameters", "records", "paging", "cursor"}, mode="json"
    )
    asked["paging"].pop("max_pages")
    return asked


def _written(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
