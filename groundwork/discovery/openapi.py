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
from yarl import URL

from groundwork.discovery import drafting
from groundwork.discovery.drafting import Guess
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

    def records(self, schema: Mapping[str, Any]) -> tuple[Place, dict[str, Any]] | None:
        """Path to the array of objects in an answer, and the schema of one of them."""
        for path, part in self.parts(schema):
            item = self.follow(part.get("items"))
            if item.get("properties"):
                return path, item
        return None

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
        found = document.records(document.listing(operation))
        if found is None or "{" in path:
            left_out += found is not None
            continue
        shared = document.follow(item).get("parameters") or []
        name = drafting.stream_name(path)
        while name in streams:
            name = f"{name[:38]}_x"
        parameters = [document.follow(one) for one in [*shared, *(operation.get("parameters") or [])]]
        streams[name] = _stream(document, path, operation, parameters, name, *found)
    if not streams:
        raise SourceError(
            origin, "no path of this document lists records",
            why="a list is a GET without parameters in its path that answers an array of objects",
            fix="draft from the API itself: discover --url",
        )  # fmt: skip
    notes = [f"Left out: {left_out} lists below another record, which have a parameter in their path."]
    return drafting.page(source, _connection(document, source, origin), streams, notes if left_out else [])


def _stream(
    document: Document, path: str, operation: Mapping[str, Any], parameters: list[dict[str, Any]],
    name: str, records: Place, item: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    columns = _columns(document, item)
    key = drafting.key_of(columns, name)
    asked = [str(one.get("name")) for one in parameters if one.get("in") == "query"]
    changed = drafting.first_of(columns, drafting.CHANGED)
    since = drafting.first_of(asked, drafting.PARAMETERS["since"])
    stream: dict[str, Any] = {
        "endpoint": path,
        "description": str(operation.get("summary") or operation.get("description") or "")[:200],
        "replication": "full_table",
        "primary_key": Guess([key] if key else [], "by its name" if key else "no column looks like one"),
        "records": Guess(drafting.named(records), "the first array of objects in the answer"),
    }
    if changed and since:
        stream["replication"] = Guess("incremental", f"'{since}' asks for what changed")
        stream["cursor"] = Guess({"field": changed, "parameter": since}, "by their names")
    paging = _paging(document, document.listing(operation), asked)
    if paging:
        stream["paging"] = Guess(paging, "by the names of parameters and properties")
    return stream | {"columns": columns}


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
    if link := at(sorted(drafting.NEXT_LINK)):
        return {"kind": "json_link", "next": link, **beside}
    return {}


def _connection(document: Document, source: str, origin: str) -> dict[str, Any]:
    top = document.top
    servers = top.get("servers") or [{}]
    url = str(servers[0].get("url") or "")
    if "host" in top:
        url = f"{(top.get('schemes') or ['https'])[0]}://{top['host']}{top.get('basePath', '')}"
    if "://" not in url:
        url = str(URL(origin).join(URL(url))) if "://" in origin else f"https://api.example.com{url}"
    schemes = top.get("securityDefinitions") or (top.get("components") or {}).get("securitySchemes") or {}
    auths = [auth for scheme in schemes.values() if (auth := _auth(document.follow(scheme), source))]
    auth = auths[0] if auths else {"kind": "none"}
    why = "the first of the document's security schemes" if auths else "the document names none we know"
    return {"base_url": Guess(url.rstrip("/"), "the first server"), "auth": Guess(auth, why)}


def _auth(scheme: Mapping[str, Any], source: str) -> dict[str, Any]:
    name = source.replace("_", "-")
    kind, token = scheme.get("type"), {"secret": f"{name}-token"}
    if kind == "apiKey" and scheme.get("in") in ("header", "query"):
        return {"kind": "api_key", "in": scheme["in"], "name": scheme.get("name"), "token": token}
    if kind == "basic" or (kind == "http" and str(scheme.get("scheme")).lower() == "basic"):
        user = {"variable": f"{name}-user"}
        return {"kind": "basic", "username": user, "password": {"secret": f"{name}-password"}}
    if kind == "http":
        return {"kind": "bearer", "token": token}
    flow = (scheme.get("flows") or {}).get("clientCredentials")
    if kind == "oauth2" and flow:
        return {
            "kind": "oauth2_client_credentials",
            "token_url": flow.get("tokenUrl"),
            "client_id": {"variable": f"{name}-client-id"},
            "client_secret": {"secret": f"{name}-client-secret"},
        }
    return {}
