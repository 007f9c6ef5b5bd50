r"""The catalog's words for HTTP APIs: how they know us, how gently we ask, how pages follow each other.

The vocabulary is dlt's (``json_link``, ``header_link``, ``offset`` …), because people know it. A *path* is
dotted, from the top of the body or record; a dot that belongs to a key is written ``\.``, as in
``@odata\.nextLink``. It leads through lists by ``[0]``, ``[-1]`` and ``[key=value]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from groundwork.catalog.answers import Encoding, Expect, Files, Format
from groundwork.catalog.auth import Auth, NoAuth, Value
from groundwork.catalog.increments import RestCursor, RestSync, RestWindows, checked_path, edges_of
from groundwork.paths import body_steps, put

PLACEHOLDER = re.compile(r"\{parent\.([^{}]+)\}")
"""A field of the parent's record; dotted like every path."""
VARIABLE = re.compile(r"\{(parent\.[^{}]+|cursor|from|to|page)\}")
"""What varies from request to request, as a placeholder within a text."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RestRateLimit(_Entry):
    """Headers by which an API tells its rate limit, where they are none of the common ones."""

    reset: str = Field(min_length=1)
    """Header that says when the limit is over: seconds from now, a time since 1970, or a date."""
    unit: Literal["seconds", "milliseconds"] = "seconds"
    """Of a number that counts from now; a time since 1970 is known by its size."""
    remaining: str = ""
    """Header that is 0 where nothing remains of the limit; a 403 with it is a limit."""


class RestConnection(_Entry):
    """How to reach an HTTP API, and how gently. One budget for all streams of the source."""

    base_url: Value
    auth: Auth = NoAuth()
    headers: dict[str, Value] = {}
    requests_per_second: float = Field(10, gt=0)
    concurrent_requests: int = Field(4, ge=1, le=32)
    """Pages asked for at once, where the paging kind knows them in advance."""
    timeout_seconds: float = Field(30, gt=0)
    """Longest silence of the server; a whole answer may take ten times as long."""
    retries: int = Field(5, ge=0)
    """How often one request that failed is sent again (a rate limit is no failure)."""
    max_wait_seconds: float = Field(600, gt=0)
    """Longest time in all to wait for rate limits and failing answers within one run."""
    rate_limit: RestRateLimit | None = None


_KEYS: dict[str, tuple[list[str], list[str]]] = {
    "single_page": ([], []),
    "page_number": ([], ["parameter", "first", "past_the_end"]),
    "offset": (["size_parameter"], ["parameter", "past_the_end"]),
    "cursor": ([], ["parameter", "first", "next", "last_field"]),
    "header_cursor": (["header"], ["parameter", "first"]),
    "continue_object": (["next"], []),
    "json_link": (["next"], []),
    "header_link": ([], ["header"]),
}
"""Keys that each paging kind cannot do without, and those that it may have beside what all may have."""
BY_VALUE = ("page_number", "offset", "cursor", "header_cursor")
"""Kinds that ask for a page by one value: a parameter, or ``{page}`` within a text."""
LINKED = ("single_page", "json_link", "header_link")
"""Kinds that can begin with a link."""
_ANY_KIND = {
    "kind", "more", "more_values", "end", "end_values", "size_parameter", "size", "total", "total_header",
    "may_be_empty", "max_pages", "query_limit", "ignore_signs",
}  # fmt: skip


class Paging(_Entry):
    """How one answer leads to the next, and how we know that it was the last."""

    kind: Literal[
        "single_page", "page_number", "offset", "cursor", "header_cursor", "continue_object",
        "json_link", "header_link",
    ] = "single_page"  # fmt: skip
    parameter: str = ""
    """Parameter that carries the page number, offset or cursor; without it, ``{page}`` stands for it in the
    endpoint, the parameters or the query."""
    next: str = ""
    """Path in the body to the next cursor, link, or object of parameters (`continue_object`)."""
    header: str = ""
    """Header of the answer that holds the next cursor (`header_cursor`), or the next link where that is not
    in ``Link`` (`header_link`)."""
    last_field: str = ""
    """Path in the last record of a page to the next cursor (`cursor` only, instead of ``next``)."""
    more: str = ""
    """Path in the body to a flag that says whether more follows: false, null, 0, "no" and "" say no."""
    more_values: list[str] = []
    """Texts by which `more` says that more follows, where it is no flag but a state."""
    end: str = ""
    """Path in the body to a flag of the opposite sense: this page is the last one."""
    end_values: list[str] = []
    """Texts by which `end` says so, where it is no flag but a state: ``[COMPLETE]``."""
    past_the_end: list[Annotated[int, Field(ge=400, le=499)]] = []
    """Statuses that mean, after at least one page, that the page before was the last one."""
    size_parameter: str = ""
    size: int = Field(100, ge=1)
    first: int | str = 1
    """Number of the first page; for cursors what ``{page}`` is in the first request."""
    total: str = ""
    """Path in the body to the number of records in all; checked when given."""
    total_header: str = ""
    """Header that holds it instead: ``X-Total-Count: 57``, or ``Content-Range: items 0-9/57``."""
    query_limit: int | None = Field(None, ge=1)
    """Most records that the API serves of one query, such as the first 10,000 of a search. An incremental
    stream goes on with a query from its highest cursor value; records must come in its order."""
    may_be_empty: bool = False
    """An empty page in the middle is no fault (APIs that filter after paging)."""
    max_pages: int = Field(1_000_000, ge=1)
    ignore_signs: list[str] = []
    """Keys of the body (``meta.count``) and headers that look like signs of more records at the end of a
    pull, and are none. A sign that is not named here is an error."""

    @field_validator("next", "more", "end", "total", "last_field")
    @classmethod
    def _are_paths(cls, path: str) -> str:
        return checked_path(path)

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Paging:
        needed, allowed = _KEYS[self.kind]
        for key in needed:
            if not getattr(self, key):
                raise ValueError(f"{key}: kind '{self.kind}' needs it")
        for key in sorted(self.model_fields_set - _ANY_KIND - {*needed, *allowed}):
            known = ", ".join([*needed, *allowed]) or "none of its own"
            raise ValueError(f"{key}: is not a key of kind '{self.kind}' (it has: {known})")
        if self.kind == "page_number" and not isinstance(self.first, int):
            raise ValueError("first: is the number of the first page")
        if self.kind in ("cursor", "header_cursor"):
            if self.parameter and "first" in self.model_fields_set:
                raise ValueError("first: goes with {page}; send 'parameters' to begin with a value")
            if not self.parameter and "first" not in self.model_fields_set:
                raise ValueError(f"parameter: kind '{self.kind}' needs it (or {{page}} and 'first')")
        if self.kind == "cursor" and bool(self.next) == bool(self.last_field):
            raise ValueError("next: kind 'cursor' needs either 'next' or 'last_field'")
        if self.more and self.end:
            raise ValueError("end: says the opposite of 'more'; name one of them")
        for key in ("more", "end"):
            if getattr(self, f"{key}_values") and not getattr(self, key):
                raise ValueError(f"{key}_values: are values of '{key}', which is not given")
        if self.total and self.total_header:
            raise ValueError(
                "total: stands in the body ('total') or in a header ('total_header'), not in both"
            )
        return self


class RestParent(_Entry):
    """The stream whose records an endpoint is asked for, one by one: ``/issues/{parent.number}/comments``."""

    stream: str
    """It is read first, as the child is: only new and changed parents of an `incremental` one, all of a
    `full_table`."""
    may_be_gone: bool = False
    """404 and 410 mean that a parent was deleted meanwhile, not that the path is wrong."""


def _texts(value: JsonValue) -> Iterator[str]:
    """All texts within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


class RestQuestion(_Entry):
    """What an endpoint is asked."""

    endpoint: str
    """Path below ``base_url``."""
    method: Literal["GET", "POST"] = "GET"
    """``POST`` sends all parameters as one JSON object; a dot in a name is a way into it: ``page.after``."""
    query: str = ""
    """GraphQL: the query; it is sent by POST with the parameters as its variables."""
    repeatable: bool = False
    """A POST that may be sent twice without harm, e.g. a search."""
    idempotency_header: str = ""
    """Header, e.g. ``Idempotency-Key``, by which the API knows a POST sent twice, so that it may be."""
    parameters: dict[str, JsonValue] = {}
    """Sent with every page; a POST can have lists and objects among them."""
    paging: Paging = Paging()
    cursor: RestCursor | None = None
    windows: RestWindows | None = None
    """Instead of a cursor, for APIs that list by time but cannot say what changed."""
    sync: RestSync | None = None
    """Instead of a cursor, for APIs that say themselves where the next pull begins."""
    parent: RestParent | None = None
    """Instead of a cursor, for endpoints below another stream's records."""

    @property
    def placeholders(self) -> list[str]:
        """Fields of the parent that stand in the endpoint and the parameters, as ``{parent.field}``."""
        texts = [self.endpoint, *_texts(list(self.parameters.values()))]
        return list(dict.fromkeys(name for text in texts for name in PLACEHOLDER.findall(text)))

    @property
    def posts(self) -> bool:
        """Whether parameters go into a body instead of the URL."""
        return self.method == "POST" or bool(self.query)

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if "://" in self.endpoint:
            raise ValueError("endpoint: is a path below base_url; the token goes nowhere else")
        if re.match(r"\s*(mutation|subscription)\b", self.query):
            raise ValueError("query: only asks, it changes nothing; start it with 'query'")
        for name, value in self.parameters.items():
            if not self.posts and not isinstance(value, str | int | float):
                raise ValueError(f"parameters.{name}: lists, objects and null need 'method: POST'")
        if bool(self.placeholders) != bool(self.parent):
            raise ValueError("parent: goes with {parent.…} in the endpoint or the parameters")
        return self

    @model_validator(mode="after")
    def _what_varies_has_a_place(self) -> Self:
        texts = [self.endpoint, self.query, *_texts(list(self.parameters.values()))]
        within = {name for text in texts for name in VARIABLE.findall(text)}
        if self.paging.kind in BY_VALUE and not self.paging.parameter and "page" not in within:
            kind = self.paging.kind
            raise ValueError(f"paging.parameter: kind '{kind}' needs it (or {{page}} in a parameter)")
        if self.cursor and not self.cursor.parameter:
            if "cursor" not in within:
                raise ValueError("cursor.parameter: is missing (or {cursor} in a parameter or the query)")
            if not self.cursor.start:
                raise ValueError("cursor.start: {cursor} needs a value in the first pull, too")
        if self.sync and not self.sync.parameter and self.paging.kind not in LINKED:
            raise ValueError(f"sync.parameter: is missing; a link goes with kind {', '.join(LINKED)}")
        for edge, parameter in edges_of(self.windows):
            if not parameter and edge not in within:
                raise ValueError(f"windows.{edge}: is missing (or {{{edge}}} in a parameter or the query)")
        return self

    @model_validator(mode="after")
    def _places_in_the_body_are_free(self) -> Self:
        if not self.posts:
            return self
        names = [self.cursor.parameter if self.cursor else "", self.paging.parameter]
        names += [self.paging.size_parameter, *(parameter for _, parameter in edges_of(self.windows))]
        body: Any = {}
        for name, value in [*self.parameters.items(), *((name, "") for name in names if name)]:
            try:
                body = put(body, body_steps(name), value)
            except ValueError as error:
                raise ValueError(f"parameters.{name}: {error}") from None
        return self


class RestAnswer(_Entry):
    """What a good answer of an endpoint looks like, so that nothing is never mistaken for something."""

    format: Format = "json"
    """``ndjson``: one JSON text a line; ``csv``: with a header, each row an object whose values are text."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """Between the fields of a CSV."""
    encoding: Encoding = "utf-8"
    """Of a CSV; JSON is always UTF-8."""
    records: str = ""
    """Path to the array of records; the body itself when empty."""
    files: Files | None = None
    """The endpoint lists files, and these hold the records."""
    expect: Expect = Expect()
    """What counts as data."""
    null_is_empty: bool = False
    """The API says null, or leaves the array out, where there are no records."""
    error: str = ""
    """Path to something that only a failed answer has, for APIs that say 200 to everything."""
    deleted: str = ""
    """Path in the record to what only deleted ones have, e.g. ``is_deleted`` or ``deleted_at``."""
    deleted_values: list[str] = []
    """Texts by which `deleted` says so, where all records have it: ``[cancelled]`` of ``status``."""
    keep_headers: list[str] = []
    """Headers of the answer that are kept with the request, e.g. ``ETag``, ``X-Request-Id``."""
    conditional: bool = True
    """Ask only for what changed since (If-None-Match, If-Modified-Since), where the API offers it."""

    @field_validator("records", "error", "deleted")
    @classmethod
    def _are_paths(cls, path: str) -> str:
        return checked_path(path)


class RestEndpoint(RestQuestion, RestAnswer):
    """One endpoint that lists records."""

    @model_validator(mode="after")
    def _paths_have_a_body(self) -> Self:
        if (self.records or self.error) and self.format != "json":
            raise ValueError("records: only 'format: json' has paths; leave out 'records' and 'error'")
        listed = self.files.records if self.files else self.records
        if self.sync and self.sync.next and not listed:
            raise ValueError("sync.next: the body itself is the array of records; give 'records' a path")
        for key in ("next", "more", "end", "total"):
            if not listed and getattr(self.paging, key):
                raise ValueError(
                    f"paging.{key}: the body itself is the array of records; where do they stand? "
                    "Give 'records' a path"
                )
        return self


class RestDeletions(RestEndpoint):
    """An endpoint that lists what was deleted since: its records become tombstones of the stream."""

    cursor: RestCursor

    @model_validator(mode="after")
    def _is_one_endpoint(self) -> Self:
        for key in ("windows", "parent", "files", "sync"):
            if getattr(self, key):
                raise ValueError(f"{key}: deletions are read by their cursor")
        return self


def check_parents(columns: Mapping[str, Any], asked: Sequence[str]) -> None:
    """Refuse a column of the parent's that its children are not asked with.

    Raises:
        ValueError: naming the column.
    """
    for name, column in columns.items():
        if column.parent and (column.parent not in asked or column.path):
            known = ", ".join(asked) or "it has none"
            raise ValueError(
                f"columns.{name}: 'parent' is a field that the endpoint names as {{parent.…}} ({known}), "
                "and stands instead of a 'path'"
            )
