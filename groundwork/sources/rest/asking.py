"""What one request of a stream asks: its URL, parameters and body, with what varies in its place.

The cursor, the window, the page and the parent's fields are parameters of their own, places within a JSON
body (``filters[0].value``), or placeholders within a text (``updated_at gt {cursor}``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
from yarl import URL

from groundwork.catalog import RestStream
from groundwork.catalog.rest import VARIABLE
from groundwork.errors import AnswerUnusable
from groundwork.paths import body_steps, put
from groundwork.sources.rest.one_unit import NUMBER

Values = Mapping[str, Any]
"""What each placeholder stands for, by its name: ``cursor``, ``from``, ``to``, ``page``, ``parent.id``."""


@dataclass(frozen=True)
class Part:
    """A part of a stream that is asked for by itself: a window of time, or the children of one parent."""

    where: str = ""
    """For messages."""
    parameters: dict[str, str | int] = field(default_factory=dict)
    values: dict[str, str | int] = field(default_factory=dict)
    """What placeholders stand for."""
    told: dict[str, Any] = field(default_factory=dict)
    """Stands in ``_request`` beside each record."""
    key: str = ""
    """What a digest of its records is kept under, if it is read again; "" if never."""


WHOLE = Part()
"""All of a stream."""


class Asking:
    """Makes the URL and the body of each request of one pull."""

    def __init__(
        self,
        stream: RestStream,
        where: str,
        since: str | None,
        part: Part,
        token: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare what all requests of a pull share.

        Args:
            stream: the catalog's entry.
            where: source and stream, for messages.
            since: value of the cursor, None to ask for everything.
            part: what of the stream to ask for.
            token: what a pull before ended with; None to read everything.
        """
        self._stream, self._where, cursor = stream, where, stream.cursor
        self._values: dict[str, Any] = dict(part.values)
        self._added: dict[str, Any] = dict(part.parameters)
        if since is not None and cursor:
            value = _sent(since, as_number=cursor.number)
            if cursor.parameter:
                self._added[cursor.parameter] = self._filled(cursor.written, {"cursor": value})
            else:
                self._values["cursor"] = value
        if stream.sync and token is None:
            self._added |= {name: self._filled(value, {}) for name, value in stream.sync.full_read.items()}
        elif stream.sync and stream.sync.parameter and token:
            self._added[stream.sync.parameter] = token["token"]
        if stream.paging.size_parameter:
            self._added[stream.paging.size_parameter] = stream.paging.size

    def url(self, base: URL, page: str | int | None) -> URL:
        """The URL without its query; nothing in a value can lead to another path."""
        values = self._with(page)

        def written(match: re.Match[str]) -> str:
            return quote(_text(values[match[1]]), safe="") if match[1] in values else match[0]

        return URL(f"{base}/{VARIABLE.sub(written, self._stream.endpoint.lstrip('/'))}")

    def query(self, page: str | int | None, paging: Values) -> dict[str, str]:
        """The query of a URL, where parameters go there."""
        return {name: _text(value) for name, value in self._parameters(page, paging).items()}

    def body(self, page: str | int | None, paging: Values) -> bytes:
        """The body of a POST."""
        top: Any = {}
        for name, value in self._parameters(page, paging).items():
            top = put(top, body_steps(name), value)
        if self._stream.query:
            top = {"query": self._in_query(self._stream.query, self._with(page)), "variables": top}
        return msgspec.json.encode(top)

    def _with(self, page: str | int | None) -> Values:
        return self._values if page is None else {**self._values, "page": page}

    def _parameters(self, page: str | int | None, paging: Values) -> dict[str, Any]:
        filled = {
            name: self._filled(value, self._with(page)) for name, value in self._stream.parameters.items()
        }
        return {**filled, **self._added, **paging}

    def _filled(self, value: Any, values: Values) -> Any:
        """A parameter with its placeholders filled, however deep they stand in it."""
        if isinstance(value, list):
            return [self._filled(inner, values) for inner in value]
        if isinstance(value, dict):
            return {name: self._filled(inner, values) for name, inner in value.items()}
        if not isinstance(value, str):
            return value
        whole = VARIABLE.fullmatch(value)
        if whole and whole[1] in values:
            return values[whole[1]]
        return VARIABLE.sub(lambda match: self._within(match, values), value)

    def _within(self, match: re.Match[str], values: Values) -> str:
        """A value within a text, which must not end the quotes around it."""
        if match[1] not in values:
            return match[0]
        text, before = _text(values[match[1]]), match.string[match.start() - 1 : match.start()]
        if before in ("'", '"', "`") and (before in text or "\\" in text):
            raise AnswerUnusable(
                self._where,
                f"the value of {match[0]} holds a quote",
                why="it would end the text that it is written into, and ask for something else",
                fix="give it a parameter of its own, if the API has one",
            )
        return text

    def _in_query(self, query: str, values: Values) -> str:
        """The text of a GraphQL query; values are escaped as in a string of it."""

        def written(match: re.Match[str]) -> str:
            if match[1] not in values:
                return match[0]
            return msgspec.json.encode(_text(values[match[1]])).decode()[1:-1]

        return VARIABLE.sub(written, query)


def _sent(text: str, *, as_number: bool) -> str | msgspec.Raw:
    """A cursor value as it is sent: text, or a JSON number to its last digit."""
    return msgspec.Raw(text.encode()) if as_number and NUMBER.fullmatch(text) else text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)
