"""Discover: draft a catalog entry from two pages of a live HTTP API, read the way a pull would read them.

How pages follow each other is tried, not only guessed: the way that brings another page than the first is
the one in the draft. No more than some ten requests are made, all of them GET.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from yarl import URL

from groundwork.catalog import RestSource, RestStream
from groundwork.discovery import drafting
from groundwork.discovery.drafting import Guess, Path
from groundwork.errors import AnswerUnusable, SourceError
from groundwork.settings import Resolve
from groundwork.sources.rest.auth import Access, Lookup, open_access
from groundwork.sources.rest.background import BackgroundLoop
from groundwork.sources.rest.contents import Contents
from groundwork.sources.rest.gate import problem_of
from groundwork.sources.rest.paging import Pager
from groundwork.sources.rest.transport import Answer, Client, CutOff, Request

_SECRET = re.compile(r"(?i)token|secret|passw|signature|(^|[_-])sig$|(api|access)[_-]?key|^key$|auth")

_LONGEST = 2000
"""Records that are looked at, at most, of each page."""


@dataclass(frozen=True)
class Sample:
    """What the first page showed."""

    answer: Answer
    top: Any
    records: Path
    items: list[Any]
    """The records of the first page."""


def discover_url(url: str, source: str, resolve: Resolve, auth: Mapping[str, Any]) -> str:
    """Draft ``catalog/<source>.yml`` for one endpoint.

    Args:
        url: an endpoint that lists records, with the parameters that it needs.
        source: name for the new source.
        resolve: looks named values up.
        auth: how the API knows us, as the catalog writes it.

    Raises:
        SourceError: when it cannot be read, or its answer holds no records.
    """
    if problem := problem_of(url):
        raise SourceError(f"source '{source}'", f"the address cannot be used: {problem}")
    asked = URL(url)
    secret = next((name for name in asked.query if _SECRET.search(name)), "")
    if secret or asked.password:
        raise SourceError(
            f"source '{source}'", f"the address holds a secret ({secret or 'a password'})",
            why="what is drafted is written down", fix="name it with --secret, and see 'auth' for its place",
        )  # fmt: skip
    endpoint, base = asked.path, str(asked.origin())
    query = {name: value for name, value in asked.query.items() if not _is_paging(name)}
    entry = _entry(source, base, auth, endpoint)
    where = f"source '{source}'"
    lookup = Lookup(resolve)
    access = open_access(entry.connection, lookup, where)
    with BackgroundLoop() as loop:
        client = loop.run(_open(entry, access))
        try:
            sample = loop.run(client.ask(Request(asked, f"{where}, page 1"), lambda one: _sample(one, where)))
            stream: dict[str, Any] = {
                "endpoint": endpoint,
                "replication": "full_table",
                "records": drafting.named(sample.records),
                "parameters": query,
                "columns": {},
            }
            paging, why, more = _tried(loop, client, access, stream, sample, asked, where)
        finally:
            loop.run(client.close())
    return _written(source, base, auth, stream, sample, paging, why, more)


async def _open(entry: RestSource, access: Access) -> Client:
    return Client(entry.source, entry.connection, access)


def _entry(source: str, base: str, auth: Mapping[str, Any], endpoint: str) -> RestSource:
    return RestSource.model_validate(
        {
            "source": source, "kind": "rest", "priority": 1, "questions": ["?"], "requested_by": ["?"],
            "owner": {"name": "?", "email": "todo@example.com"}, "format": "JSON", "history": "?",
            "update_every": "1 hour",
            "connection": {"base_url": base, "auth": auth, "retries": 1, "max_wait_seconds": 60},
            "streams": {
                "records": {"endpoint": endpoint, "replication": "full_table", "columns": {}}
            },
        }
    )  # fmt: skip


def _sample(answer: Answer, where: str) -> Sample:
    try:
        top = msgspec.json.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        top = None
    arrays = [(path, value) for path, value in _parts(top) if isinstance(value, list) and value]
    lists = [(path, value) for path, value in arrays if all(isinstance(one, dict) for one in value)]
    if not lists:
        raise AnswerUnusable(
            where, f"the answer ({answer.status}, {answer.content_type or 'no type'}) holds no records",
            why="they are an array of objects, not empty, at most three levels deep",
            fix="check the address and the secret; name an endpoint that lists something",
        )  # fmt: skip
    path, items = max(lists, key=lambda found: (len(found[1]), -len(found[0])))
    return Sample(answer, top, path, items[:_LONGEST])


def _parts(top: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, top
    if isinstance(top, dict) and len(path) < 3:
        for name, inner in top.items():
            yield from _parts(inner, (*path, name))


def _is_paging(name: str) -> bool:
    return any(
        name.lower() in drafting.PARAMETERS[kind] for kind in ("page_number", "offset", "cursor", "size")
    )


def _tried(
    loop: BackgroundLoop, client: Client, access: Access, stream: dict[str, Any], sample: Sample,
    asked: URL, where: str,
) -> tuple[dict[str, Any], str, list[Any]]:  # fmt: skip
    """The paging that leads to a second page, why we think so, and that page's records."""
    for paging, why in _candidates(sample, asked):
        tried = RestStream.model_validate({**stream, "paging": paging, "parameters": dict(asked.query)})
        contents, pager = Contents(tried), Pager(tried, access, where)
        try:
            first = contents.cut(sample.answer, where)
            following = pager.after(pager.first, first, len(first.records), sample.answer)
            if following is None:
                continue
            request = pager.request(following, f"{where}, page 2")
            second = loop.run(client.ask(request, lambda one, cut=contents: cut.cut(one, where)))  # type: ignore[misc]
        except (SourceError, CutOff):
            continue
        if second.records and second.data != first.data and second.records[0] != first.records[0]:
            records = [msgspec.json.decode(record) for record in second.records[:_LONGEST]]
            return paging, f"{why}; page 2 held other records", records
    return {"kind": "single_page"}, "no way to a second page was found", []


def _candidates(sample: Sample, asked: URL) -> Iterator[tuple[dict[str, Any], str]]:
    """Ways to go on, the surest first."""
    beside = _beside(sample, asked)
    if sample.answer.next_link:
        yield {"kind": "header_link", **beside}, "the answer has a Link header"
    envelope = [
        (path, value)
        for path, value in _parts(sample.top)
        if path and path[: len(sample.records)] != sample.records and isinstance(value, str | int)
    ]
    for path, value in envelope:
        name, link = path[-1].lower(), str(value)
        if name in drafting.NEXT_LINK and link.startswith(("http", "/", "?")):
            yield {"kind": "json_link", "next": drafting.named(path), **beside}, "it holds a link"
    given = drafting.first_of(asked.query, drafting.PARAMETERS["cursor"])
    for path, value in envelope:
        if path[-1].lower() in drafting.NEXT_CURSOR and value and not isinstance(value, bool):
            usual = given or drafting.NEXT_CURSOR[path[-1].lower()]
            for parameter in dict.fromkeys((usual, "cursor", "after", "page_token")):
                paging = {"kind": "cursor", "parameter": parameter, "next": drafting.named(path), **beside}
                yield paging, "the answer holds what looks like a cursor"
    key = drafting.key_of(sample.items[-1], "")
    if "more" in beside and key:
        paging = {"kind": "cursor", "parameter": given or "starting_after", "last_field": key, **beside}
        yield paging, "more follows, and nothing says where"
    yield from _counted(sample, asked, beside)


def _counted(sample: Sample, asked: URL, beside: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    page = drafting.first_of(asked.query, drafting.PARAMETERS["page_number"])
    offset = drafting.first_of(asked.query, drafting.PARAMETERS["offset"])
    if not offset:
        first = int(asked.query[page]) if page and asked.query[page].isdigit() else 1
        paging = {"kind": "page_number", "parameter": page or "page", "first": first, **beside}
        yield paging, f"asked with '{page or 'page'}'"
    sized = {"size_parameter": "limit", "size": len(sample.items)} | beside
    yield {"kind": "offset", "parameter": offset or "offset", **sized}, f"asked with '{offset or 'offset'}'"


def _beside(sample: Sample, asked: URL) -> dict[str, Any]:
    """What says that more follows, how many there are, and how many a page holds."""
    beside: dict[str, Any] = {}
    size = drafting.first_of(asked.query, drafting.PARAMETERS["size"])
    if size and asked.query[size].isdigit() and int(asked.query[size]) > 0:
        beside |= {"size_parameter": size, "size": int(asked.query[size])}
    for path, value in _parts(sample.top):
        name = path[-1].lower() if path else ""
        if name in drafting.MORE and isinstance(value, bool):
            beside["more"] = drafting.named(path)
        counts = isinstance(value, int) and not isinstance(value, bool)
        if counts and name in {*drafting.TOTAL, "count"} and value > len(sample.items):
            beside["total"] = drafting.named(path)
    return beside


def _written(
    source: str, base: str, auth: Mapping[str, Any], stream: dict[str, Any], sample: Sample,
    paging: dict[str, Any], why: str, more: list[Any],
) -> str:  # fmt: skip
    records = [*sample.items, *more]
    columns = _columns(records)
    name = drafting.stream_name(stream["endpoint"])
    key = drafting.key_of(columns, name)
    distinct = len({str(one.get(key)) for one in records}) == len(records) if key else False
    changed = drafting.first_of(columns, drafting.CHANGED)
    replication = f"incremental would go by '{changed}'; which parameter asks since?" if changed else ""
    drafted: dict[str, Any] = {
        "endpoint": stream["endpoint"],
        "description": "",
        "replication": Guess("full_table", replication) if replication else "full_table",
        "primary_key": Guess([key], f"in none of {len(records)} records twice")
        if distinct
        else Guess([], "no column looks like one"),
        "records": Guess(stream["records"], f"{len(sample.items)} objects on the first page"),
        **({"parameters": stream["parameters"]} if stream["parameters"] else {}),
        "paging": Guess(paging, why),
        "columns": columns,
    }
    return drafting.page(source, {"base_url": base, "auth": dict(auth)}, {name: drafted}, [])


def _columns(records: list[Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record.get(name) for record in records]
        objects = [value for value in values if value is not None]
        if objects and all(isinstance(one, dict) and len(one) <= 20 for one in objects):
            for inner in dict.fromkeys(key for one in objects for key in one):
                column = f"{name}_{inner}"
                if drafting.usable(column):
                    kind = drafting.type_of(one.get(inner) for one in objects)
                    columns[column] = drafting.column(kind, column, drafting.named((name, inner)))
        elif drafting.usable(name):
            path = drafting.named((name,)) if "." in name else ""
            columns[name] = drafting.column(drafting.type_of(values), name, path)
    return columns
