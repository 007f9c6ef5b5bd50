"""Discover: draft a catalog entry from two pages of a live HTTP API, read the way a pull would read them.

How pages follow each other is tried, not only guessed: the way that brings another page than the first is
the one in the draft. No more than some ten requests are made, all of them GET.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec
from pydantic import ValidationError
from yarl import URL

from groundwork.catalog import RestSource, RestStream
from groundwork.catalog.mistakes import first_mistake
from groundwork.discovery import drafting
from groundwork.discovery.drafting import Guess, Undecided
from groundwork.discovery.sampling import LONGEST, Sample, parts, sample_of, type_of_texts
from groundwork.errors import CatalogError, SourceError
from groundwork.settings import KeepInDirectory, Resolve
from groundwork.sources.rest.auth import Access, Lookup, open_access
from groundwork.sources.rest.background import BackgroundLoop
from groundwork.sources.rest.content_encoding import CutOff
from groundwork.sources.rest.contents import Contents
from groundwork.sources.rest.credentials import open_credential
from groundwork.sources.rest.gate import problem_of
from groundwork.sources.rest.paging import Pager
from groundwork.sources.rest.transport import Client, Request

_SECRET = re.compile(r"(?i)token|secret|passw|signature|(^|[_-])sig$|(api|access)[_-]?key|^key$|auth")


def discover_url(
    url: str, source: str, resolve: Resolve, auth: Mapping[str, Any], headers: Mapping[str, Any]
) -> str:
    """Draft ``catalog/<source>.yml`` for one endpoint.

    Args:
        url: an endpoint that lists records, with the parameters that it needs.
        source: name for the new source.
        resolve: looks named values up.
        auth: how the API knows us, as the catalog writes it.
        headers: more headers, as the catalog writes them.

    Raises:
        CatalogError: when ``auth`` or ``headers`` are not as the catalog writes them.
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
    connection = {"base_url": base, "auth": dict(auth), **({"headers": dict(headers)} if headers else {})}
    entry = _entry(source, connection, endpoint)
    where = f"source '{source}'"
    lookup = Lookup(resolve)
    access = open_access(entry.connection, lookup, where)
    with BackgroundLoop() as loop:
        client = loop.run(_open(entry, access, lookup, where))
        try:
            request = Request(asked, f"{where}, page 1")
            sample = loop.run(client.ask(request, lambda one: sample_of(one, where)))
            stream: dict[str, Any] = {
                "endpoint": endpoint,
                "replication": "full_table",
                "records": drafting.named(sample.records),
                **sample.written,
                "parameters": query,
                "columns": {},
            }
            paging, more = _tried(loop, client, access, stream, sample, asked, where)
        finally:
            loop.run(client.close())
    return _written(source, connection, stream, sample, paging, more)


async def _open(entry: RestSource, access: Access, lookup: Lookup, where: str) -> Client:
    client = Client(entry.source, entry.connection, access)
    client.credential = open_credential(entry, access, lookup, KeepInDirectory(), where)(client)
    return client


def _entry(source: str, connection: Mapping[str, Any], endpoint: str) -> RestSource:
    gentle = {**connection, "retries": 1, "max_wait_seconds": 60}
    try:
        return RestSource.model_validate(
        {
            "source": source, "kind": "rest", "priority": 1, "questions": ["?"], "requested_by": ["?"],
            "owner": {"name": "?", "email": "todo@example.com"}, "format": "JSON", "history": "?",
            "update_every": "1 hour",
            "connection": gentle,
            "streams": {
                "records": {"endpoint": endpoint, "replication": "full_table", "columns": {}}
            },
        }
        )  # fmt: skip
    except ValidationError as error:
        where, what = first_mistake(FilePath("discover"), RestSource, error)
    raise CatalogError(
        where, what, fix="write --auth and --headers as the catalog does, see docs/rest-sources.md"
    )


def _is_paging(name: str) -> bool:
    return any(
        name.lower() in drafting.PARAMETERS[kind] for kind in ("page_number", "offset", "cursor", "size")
    )


def _tried(
    loop: BackgroundLoop,
    client: Client,
    access: Access,
    stream: dict[str, Any],
    sample: Sample,
    asked: URL,
    where: str,
) -> tuple[Guess | Undecided, list[Any]]:
    """The paging that leads to a second page, and that page's records."""
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
            records = [msgspec.json.decode(record) for record in second.records[:LONGEST]]
            return Guess(paging, f"{why}; page 2 held other records"), records
    return _without_a_second_page(sample), []


def _without_a_second_page(sample: Sample) -> Guess | Undecided:
    """One page is all there is only where the API counts as many records."""
    count = len(sample.items)
    counts = {
        drafting.named(path): value
        for path, value in parts(sample.top)
        if path and path[-1].lower() in drafting.TOTAL - {"count"} and type(value) is int
    }
    total = next((path for path, value in counts.items() if value == count), "")
    if total and count < LONGEST:
        return Guess({"kind": "single_page", "total": total}, f"the API counts {count}, and as many came")
    said = next((f", and '{path}' says {value}" for path, value in counts.items()), "")
    return Undecided(
        f"the first page has {count} records{said}, and no way to a second one was found; look for paging in "
        "the API's manual, or write {kind: single_page} if the endpoint gives everything at once"
    )


def _candidates(sample: Sample, asked: URL) -> Iterator[tuple[dict[str, Any], str]]:
    """Ways to go on, the surest first."""
    beside = _beside(sample, asked)
    if sample.answer.next_link:
        yield {"kind": "header_link", **beside}, "the answer has a Link header"
    envelope = [
        (path, value)
        for path, value in parts(sample.top)
        if path and path[: len(sample.records)] != sample.records and isinstance(value, str | int)
    ]
    for path, value in envelope:
        name, link = path[-1].lower(), str(value)
        nested = name in ("href", "url", "uri") and len(path) > 1 and path[-2].lower() == "next"
        if (name in drafting.NEXT_LINK or nested) and link.startswith(("http", "/", "?")):
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
    for path, value in parts(sample.top):
        name = path[-1].lower() if path else ""
        if name in drafting.MORE and isinstance(value, bool):
            beside["more"] = drafting.named(path)
        counts = isinstance(value, int) and not isinstance(value, bool)
        if counts and name in {*drafting.TOTAL, "count"} and value > len(sample.items):
            beside["total"] = drafting.named(path)
    return beside


def _written(
    source: str, connection: Mapping[str, Any], stream: dict[str, Any], sample: Sample,
    paging: Guess | Undecided, more: list[Any],
) -> str:  # fmt: skip
    records = [*sample.items, *more]
    columns = _columns(records, as_texts=sample.written.get("format") == "csv")
    name = drafting.stream_name(stream["endpoint"])
    key = drafting.key_of(columns, name)
    why = f"in none of {len(records)} records twice" if key else "no column looks like a key"
    if key and len({str(one.get(key)) for one in records}) < len(records):
        key, why = "", f"'{key}' looks like a key, but stands in several records"
    changed = drafting.first_of(columns, drafting.CHANGED)
    replication = f"incremental would go by '{changed}'; which parameter asks since?" if changed else ""
    drafted: dict[str, Any] = {
        "endpoint": stream["endpoint"],
        "description": "",
        "replication": Guess("full_table", replication) if replication else "full_table",
        "primary_key": drafting.key(key, why),
    }
    if sample.written:
        drafted |= {word: Guess(value, "by the first page") for word, value in sample.written.items()}
    else:
        drafted["records"] = Guess(stream["records"], f"{len(sample.items)} objects on the first page")
    if stream["parameters"]:
        drafted["parameters"] = stream["parameters"]
    drafted |= {"paging": paging, "columns": columns}
    left = sorted({one for record in records for one in record if not drafting.usable(one)})
    notes = (
        [f"Left out: the fields {', '.join(map(repr, left))}, whose names no column can have."]
        if left
        else []
    )
    written = {"csv": "CSV over HTTP", "ndjson": "NDJSON over HTTP"}.get(sample.written.get("format", ""))
    return drafting.page(source, connection, {name: drafted}, notes, written or "JSON over HTTP")


def _columns(records: list[Any], *, as_texts: bool) -> dict[str, Any]:
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
            kind = type_of_texts([str(value) for value in values]) if as_texts else drafting.type_of(values)
            columns[name] = drafting.column(kind, name, path)
    return columns
