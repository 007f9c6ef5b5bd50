"""Pages of an API that serves only so many records of one query, such as the first 10,000 of a search.

When a query has given as many, the next one asks from the highest value of the cursor. Records must come in
its order, or those between would be in no query. A query whose records all share one value cannot be gone on
with: that is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.cursor import Key, key, keys
from groundwork.sources.rest.one_unit import one_unit_before
from groundwork.sources.rest.pages import Page
from groundwork.sources.rest.paging import Pager
from groundwork.sources.rest.records import FieldReader
from groundwork.sources.rest.resume import Walk


class CappedWalk:
    """Walks the pages of one query after the other, as those of one."""

    def __init__(
        self, stream: RestStream, pager: Callable[[str | None], Pager], walk: Walk, where: str
    ) -> None:
        """Prepare.

        Args:
            stream: the catalog's entry; it has a cursor and a ``paging.query_limit``.
            pager: makes the pager that asks from a cursor value on.
            walk: reads the pages of one query.
            where: source and stream, for messages.
        """
        assert stream.cursor is not None and stream.paging.query_limit is not None
        self._cursor, self._most, self._size = stream.cursor, stream.paging.query_limit, stream.paging.size
        self._pager, self._walk, self._where = pager, walk, where
        self._field = FieldReader(stream, stream.cursor.field)
        self._highest: tuple[Key, str] | None = None

    def __call__(self, pager: Pager, pull: Mapping[str, Any]) -> Generator[Page, None, None]:
        """Yield pages; each says that the pull goes on with a query from the highest value so far.

        Raises:
            AnswerUnusable: when records come in another order, or more share a value than a query serves.
        """
        since: str | None = pull.get("since", pager.since)
        before: int = pull.get("before", 0)
        begin = {"page": pull.get("page", 1)}
        while True:
            query = self._pager(since)
            pages, self._highest, reached = self._walk(query, begin), None, False
            try:
                for page in pages:
                    self._note(page)
                    # the page after this one would reach beyond what the API serves
                    room = 1 if page.following is None else self._size
                    reached = page.received + room > self._most
                    begin = {"page": page.number + 1}
                    onward = self._following(since)
                    if page.following is None and not reached:
                        yield dataclasses.replace(page, received=before + page.received)
                        return
                    if reached and onward == since:
                        raise self._stuck()
                    progress = {"since": onward, "received": 0, "before": before + page.received}
                    yield dataclasses.replace(page, following=query.first, progress=progress)
                    if reached:
                        break
            finally:
                pages.close()
            since, before = onward, before + page.received

    def _note(self, page: Page) -> None:
        where = f"{self._where}, page {page.number}"
        texts = self._field.texts(page.cut, where)
        for text, value in zip(texts, keys(texts, where), strict=True):
            if text is None or value is None:
                continue
            if self._highest is not None and value < self._highest[0]:
                raise AnswerUnusable(
                    where,
                    f"records do not come in the order of '{self._cursor.field}'",
                    why=f"of more than {self._most} records those between would be in no query",
                    fix="ask for that order, ascending, in the stream's parameters",
                )
            self._highest = value, text

    def _following(self, since: str | None) -> str | None:
        """What the next query asks from; the same as now where there is nothing above it yet."""
        if self._highest is None:
            return since
        text = self._highest[1]
        onward = text if self._cursor.exact else one_unit_before(text, self._cursor.epoch)
        if onward is None or (since is not None and not _is_above(onward, since)):
            return since
        return onward

    def _stuck(self) -> AnswerUnusable:
        return AnswerUnusable(
            self._where,
            f"more records share one value of '{self._cursor.field}' than the API serves",
            why=f"the limit is {self._most} (paging.query_limit), and the next query would give the same",
            fix="choose a cursor.field of finer values, or set 'cursor.exact' if the API includes the value",
        )


def _is_above(text: str, other: str) -> bool:
    one, two = key(text), key(other)
    return type(one) is not type(two) or bool(one > two)
