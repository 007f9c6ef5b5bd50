"""Pages that follow the last record of the one before, by a field of it.

Where two records can have the same value, an API that gives only greater ones leaves the second of them out
when a page ends between them. The primary key has no such values; another field is watched for them.
"""

from __future__ import annotations

from groundwork.catalog import RestStream
from groundwork.sources.rest.astray import PagesAstray
from groundwork.sources.rest.records import CutPage, FieldReader


class Keyset:
    """Reads the value that leads from a page to the next."""

    def __init__(self, stream: RestStream, where: str) -> None:
        """Prepare.

        Args:
            stream: the catalog's entry; its paging has a ``last_field``.
            where: source and stream, for messages.
        """
        self._name, self._where = stream.paging.last_field, where
        self._field = FieldReader(stream, self._name)
        paths = [stream.columns[column].path or column for column in stream.primary_key]
        self._unique = paths == [self._name]
        self._last: str | None = None
        """Value at the end of the page before."""
        self._excluded = self._ties = False

    def following(self, page: CutPage) -> str | None:
        """The value to ask with; None where the page has no records.

        Raises:
            PagesAstray: when the last record has no value, or records may have been left out.
        """
        if not page.records:
            return None
        value = self._field.last(page, self._where)
        if value is None:
            raise PagesAstray(
                self._where, f"the last record of a page has no '{self._name}'",
                fix="check paging.last_field against a record of the API",
            )  # fmt: skip
        if not self._unique:
            self._watch(page)
        self._last = value
        return value

    def _watch(self, page: CutPage) -> None:
        texts = self._field.texts(page, self._where)
        self._excluded |= self._last is not None and self._last not in texts
        self._ties |= len(set(texts)) < len(texts)
        if self._ties and self._excluded:
            raise PagesAstray(
                self._where, f"several records have the same '{self._name}', by which pages follow",
                why="the API gives greater values only, so a page that ends between two of them loses one",
                fix="set paging.last_field to a field that tells records apart, such as the primary key",
            )  # fmt: skip
