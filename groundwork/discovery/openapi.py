"""Discover: draft a catalog entry from an OpenAPI document (3.x, or Swagger 2.0).

Only what the draft needs is read: paths that list records, their parameters, the records' properties, and
how the API knows its callers. Nothing is asked of the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import yaml

from groundwork.discovery import drafting, openapi_connection
from groundwork.discovery.drafting import Guess, Undecided
from groundwork.discovery.drafting import Path as Place
from groundwork.errors import SourceError

_TYPES = {"integer": "integer", "number": "float", "boolean": "boolean", "object": "json", "array": "json"}
_FORMATS = {"date": "date", "date-time": "timestamp"}


def read_document(origin: str) -> str:
    """The text of a document in a file or behind a URL.

    Raises:
        SourceError: when it cannot be read.
    """
    try:
        if "://" not in origin:
            return Path(origin).read_text(encoding="utf-8")
        with urlopen(Request(origin, headers={"User-Agent": "groundwork"}), timeout=30) as answer:
            text: str = answer.read().decode()
            return text
    except (OSError, ValueError) as error:
        raise SourceError(origin, f"cannot be read ({type(error).__name__})") from error


class Document:
    """An OpenAPI document, with its references followed."""

    def __init__(self, text: str, where: str) -> None:
        """Parse JSON or YAML.

        Raises:
            SourceError: when it is not an OpenAPI document.
        """
        self._where = where
        said: Any = None
        try:  # JSON is YAML, too, but read as such a large document takes minutes
            said = msgspec.json.decode(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
        except (msgspec.MsgspecError, yaml.YAMLError, RecursionError):
            pass
        if not isinstance(said, dict) or not isinstance(said.get("paths"), dict):
            raise SourceError(where, "is not an OpenAPI document", fix="it is JSON or YAML that has 'paths'")
        self.top: dict[str, Any] = said

    def follow(self, part: Any) -> dict[str, Any]:
        """What a part means: references of this document followed, ``allOf`` joined; {} if it is none."""
        for _ in range(20):
            if not isinstance(part, dict):
                return {}
            reference = part.get("$ref")
            if reference is None:
                break
            part = self.top
            for key in str(reference).removeprefix("#/").split("/"):
                part = part.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
        joined = dict(part)
        for one in part.get("allOf") or []:
            inner = self.follow(one)
            properties = {**joined.get("properties", {}), **inner.get("properties", {})}
            joined = {**inner, **joined, "properties": properties}
        return joined

    def listing(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of what an operation answers when all is well."""
        answers = operation.get("responses") or {}
        good = next((answers[code] for code in ("200", 200, "2XX", "default") if code in answers), None)
        answer = self.follow(good)
        content = answer.get("content") or {}
        kind = next((one for one in content if "json" in one), None)
        return self.follow(content[kind].get("schema") if kind else answer.get("schema"))

    def lists(self, schema: Mapping[str, Any]) -> list[tuple[Place, dict[str, Any]]]:
        """Path to each array of objects in an answer, and the schema of one of them."""
        found = [(path, self.follow(part.get("items"))) for path, part in self.parts(schema)]
        return [(path, item) for path, item in found if item.get("properties")]

    def linked(self, operation: Mapping[str, Any]) -> bool:
        """Whether an operation answers with a ``Link`` header."""
        answers = operation.get("responses") or {}
        headers = [self.follow(one).get("headers") or {} for one in answers.values()]
        return any(name.lower() == "link" for one in headers for name in one)

    def parts(self, schema: Mapping[str, Any], path: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
        """A schema and those within it, to the third level, the outer ones first."""
        within = [(path, self.follow(schema))]
        for _ in range(3):
            yield from within
            within = [
                ((*place, name), self.follow(inner))
                for place, part in within
                for name, inner in (part.get("properties") or {}).items()
            ]


def discover_openapi(text: str, source: str, origin: str) -> str:
    """Draft ``catalog/<source>.yml`` from an OpenAPI document.

    Args:
        text: the document.
        source: name for the new source.
        origin: where it is from: a URL, to which servers may be relative, or a file.

    Raises:
        SourceError: when it is no such document, or no path of it lists records.
    """
    document = Document(text, origin)
    streams: dict[str, Any] = {}
    left_out = 0
    for path, item in document.top["paths"].items():
        operation = document.follow(document.follow(item).get("get"))
        if not operation:
            continue
        found = document.lists(document.listing(operation))
        if not found or "{" in path:
            left_out += bool(found)
            continue
        shared = document.follow(item).get("parameters") or []
        name = drafting.stream_name(path)
        while name in streams:
            name = f"{name[:38]}_x"
        parameters = [document.follow(one) for one in [*shared, *(operation.get("parameters") or [])]]
        streams[name] = _stream(document, path, operation, parameters, name, found)
    if not streams:
        raise SourceError(
            origin, "no path of this document lists records",
            why="a list is a GET without parameters in its path that answers an array of objects",
            fix="draft from the API itself: discover --url",
        )  # fmt: skip
    notes = [f"Left out: {left_out} lists below another record, which have a parameter in their path."]
    connection = openapi_connection.connection(document.top, document.follow, source, origin)
    return drafting.page(source, connection, streams, notes if left_out else [])


def _stream(
    document: Document, path: str, operation: Mapping[str, Any], parameters: list[dict[str, Any]],
    name: str, lists: list[tuple[Place, dict[str, Any]]],
) -> dict[str, Any]:  # fmt: skip
    (records, item), why = _records_of(lists, name)
    columns = _columns(document, item)
    key = drafting.key_of(columns, name)
    asked = [str(one.get("name")) for one in parameters if one.get("in") == "query"]
    changed = drafting.first_of(columns, drafting.CHANGED)
    since = drafting.first_of(asked, drafting.PARAMETERS["since"])
    stream: dict[str, Any] = {
        "endpoint": path,
        "description": str(operation.get("summary") or operation.get("description") or "")[:200],
        "replication": "full_table",
        "primary_key": drafting.key(key, "by its name" if key else "no property looks like a key"),
        "records": Guess(drafting.named(records), why) if why else _which(lists),
    }
    if changed and since:
        stream["replication"] = Guess("incremental", f"'{since}' asks for what changed")
        stream["cursor"] = Guess({"field": changed, "parameter": since}, "by their names")
    paging = _paging(document, document.listing(operation), asked)
    if not paging and document.linked(operation):
        paging = {"kind": "header_link"}
    named = "by the names of parameters, properties and headers"
    stream["paging"] = Guess(paging, named) if paging else _no_paging(asked, key)
    return stream | {"columns": columns}


_USUAL = (
    "data",
    "items",
    "results",
    "records",
    "value",
    "values",
    "entries",
    "rows",
    "content",
    "list",
    "hits",
)
"""Names of the array of records."""
_BESIDE = {
    "links",
    "link",
    "sort",
    "sorts",
    "sorting",
    "order",
    "orderby",
    "filters",
    "filter",
    "errors",
    "warnings",
    "facets",
    "included",
    "meta",
}
"""Names of arrays of objects that stand beside records."""


def _records_of(
    lists: list[tuple[Place, dict[str, Any]]], stream: str
) -> tuple[tuple[Place, dict[str, Any]], str]:
    """The array that holds the records, and why; "" when several might."""
    own = [one for one in lists if not one[0] or drafting.stream_name(one[0][-1]) == stream]
    usual = [one for one in lists if one[0] and one[0][-1].lower() in _USUAL]
    other = [one for one in lists if not one[0] or one[0][-1].lower() not in _BESIDE]
    for found, why in ((own, "named like the path"), (usual, "by its name"), (other, "the only such array")):
        if len(found) == 1:
            return found[0], why
    return (other or lists)[0], ""


def _which(lists: list[tuple[Place, dict[str, Any]]]) -> Undecided:
    paths = ", ".join(drafting.named(path) for path, _ in lists)
    return Undecided(f"several arrays of objects might hold the records ({paths}); write the path of one")


def _no_paging(asked: list[str], key: str) -> Undecided:
    known = {one for names in drafting.PARAMETERS.values() for one in names} - set(
        drafting.PARAMETERS["since"]
    )
    likely = [name for name in asked if name.lower() in known]
    way = "or write {kind: single_page} if the endpoint gives everything at once"
    if not likely:
        return Undecided(f"nothing in the document says how pages follow; see the API's manual, {way}")
    if begins := drafting.first_of(asked, drafting.PARAMETERS["cursor"]):
        last = f"{{kind: cursor, parameter: {begins}, last_field: {key or '…'}}}"
        way = f"perhaps {last} where it is the last record's"
    return Undecided(
        f"the parameters {', '.join(likely)} look like paging, but no property of the answer says what "
        f"follows; {way}"
    )


def _columns(document: Document, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: drafting.column(_type(document.follow(schema)), name)
        for name, schema in (item.get("properties") or {}).items()
        if drafting.usable(name)
    }


def _type(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type")
    kind = next((one for one in kinds if one != "null"), "") if isinstance(kinds, list) else kinds
    for either in schema.get("anyOf") or schema.get("oneOf") or []:
        kind = kind or (either.get("type") if either.get("type") != "null" else None)
    if kind == "string":
        return _FORMATS.get(str(schema.get("format")), "text")
    return _TYPES.get(str(kind), "json" if schema.get("properties") else "text")


def _paging(document: Document, schema: Mapping[str, Any], asked: list[str]) -> dict[str, Any]:
    leaves = {path: part for path, part in document.parts(schema) if path and not part.get("properties")}
    last = {path[-1].lower(): path for path in reversed(leaves)}

    def at(names: Any) -> str:
        return next((drafting.named(last[name]) for name in names if name in last), "")

    size = drafting.first_of(asked, drafting.PARAMETERS["size"])
    beside = {"size_parameter": size} if size else {}
    if more := at(sorted(drafting.MORE)):
        beside["more"] = more
    cursor, following = drafting.first_of(asked, drafting.PARAMETERS["cursor"]), at(drafting.NEXT_CURSOR)
    if cursor and following:
        return {"kind": "cursor", "parameter": cursor, "next": following, **beside}
    total = at(sorted(drafting.TOTAL))
    beside |= {"total": total} if total else {}
    if number := drafting.first_of(asked, drafting.PARAMETERS["page_number"]):
        return {"kind": "page_number", "parameter": number, **beside}
    offset = drafting.first_of(asked, drafting.PARAMETERS["offset"])
    if offset and size:
        return {"kind": "offset", "parameter": offset, **beside}
    nested = [path for path in leaves if path[-1].lower() in ("href", "url") and path[-2:-1] == ("next",)]
    if link := at(sorted(drafting.NEXT_LINK)) or next(map(drafting.named, nested), ""):
        return {"kind": "json_link", "next": link, **beside}
    return {}
