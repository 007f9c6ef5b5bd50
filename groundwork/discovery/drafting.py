"""Drafts of catalog entries: what stands in all of them; for HTTP APIs guesses, each marked as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from groundwork.catalog.names import column_problem
from groundwork.catalog.undecided import MARK

Path = tuple[str, ...]

PERSONAL = ("name", "mail", "phone", "street", "address", "birth", "iban", "passport", "password")
"""Parts of a column's name that make it look like personal data."""

PARAMETERS = {
    "page_number": ("page", "page_number", "pagenumber", "page_no", "p"),
    "offset": ("offset", "skip", "start", "startat", "_start"),
    "cursor": (
        "cursor", "after", "starting_after", "page_token", "pagetoken", "next_token", "nexttoken",
        "continuation_token", "continuation", "marker", "_next",
    ),
    "size": (
        "per_page", "perpage", "page_size", "pagesize", "limit", "size", "_limit", "_size", "maxresults",
        "max_results", "count", "top",
    ),
    "since": (
        "updated_since", "modified_since", "updated_after", "modified_after", "changed_since", "updated_min",
        "updatedsince", "updatedafter", "since",
    ),
}  # fmt: skip
"""Names of parameters, in lower case, by what they say."""

NEXT_CURSOR = {
    "next_cursor": "cursor", "nextcursor": "cursor", "next_page_token": "page_token",
    "nextpagetoken": "pageToken", "next_token": "next_token", "nexttoken": "nextToken",
    "continuation_token": "continuation_token", "continuationtoken": "continuationToken", "next": "cursor",
    "cursor": "cursor", "after": "after", "end_cursor": "after", "endcursor": "after",
}  # fmt: skip
"""Names of the next cursor in a body, in lower case, and the parameter that it usually goes to."""
NEXT_LINK = {
    "next",
    "next_url",
    "nexturl",
    "next_link",
    "nextlink",
    "@odata.nextlink",
    "next_page_url",
}
MORE = {"has_more", "hasmore", "has_next", "hasnext", "more", "hasnextpage", "has_next_page"}
TOTAL = {
    "total",
    "total_count",
    "totalcount",
    "total_results",
    "totalresults",
    "totalitems",
    "total_items",
    "count",
}
KEYS = ("id", "uuid", "guid", "key", "_id", "gid", "code", "number")
CHANGED = (
    "updated_at", "updatedat", "modified_at", "modifiedat", "last_modified", "lastmodified", "updated",
    "modified", "changed_at", "date_modified", "last_updated", "lastupdated", "update_time", "updatetime",
)  # fmt: skip

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class Guess:
    """A value that somebody should look at, and why it was chosen."""

    value: Any
    why: str


@dataclass(frozen=True)
class Undecided:
    """A value that only a person can say; `check` refuses the draft until it is said."""

    why: str
    """What is not known, and what to write."""


def named(path: Path) -> str:
    """A path as the catalog writes it."""
    return ".".join(key.replace(".", r"\.") for key in path)


def stream_name(text: str) -> str:
    """A name for a stream, from the last word of its path."""
    words = [word for word in text.split("/") if word and not word.startswith("{")]
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z])([A-Z])", r"\1_\2", words[-1] if words else "").lower())
    return re.sub(r"^[^a-z]+", "", name).strip("_")[:40] or "records"


def first_of(names: Iterable[str], wanted: Sequence[str]) -> str:
    """The name that comes first among those wanted, as it is written; "" if there is none."""
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[one] for one in wanted if one in by_lower), "")


def key_of(columns: Mapping[str, Any], stream: str) -> str:
    """The column that looks like a key."""
    singular = stream.removesuffix("s")
    return first_of(columns, (*KEYS, f"{singular}_id", f"{singular}id", f"{singular}_uuid"))


def type_of(values: Iterable[Any]) -> str:
    """The catalog's type for JSON values; text where they disagree."""
    found = {_type(value) for value in values if value is not None}
    if found == {"integer", "float"}:
        return "float"
    return found.pop() if len(found) == 1 else "text"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        if _INSTANT.fullmatch(value):
            return "timestamp"
        try:
            return "date" if len(value) == 10 and datetime.fromisoformat(value) else "text"
        except ValueError:
            return "text"
    return {int: "integer", float: "float"}.get(type(value), "json")


def column(kind: str, name: str, path: str = "") -> Guess:
    """A column's entry."""
    entry: dict[str, Any] = {"type": kind, **({"path": path} if path else {})}
    personal = any(part in name.lower() for part in PERSONAL)
    return Guess(entry | ({"pii": True} if personal else {}), f"{kind}{', personal' if personal else ''}")


def usable(name: str) -> bool:
    """Whether a column can have a name."""
    return not column_problem(name)


def head(source: str, kind: str, written: str, connection: Mapping[str, Any]) -> dict[str, Any]:
    """What stands at the top of every draft."""
    return {
        "source": source,
        "kind": kind,
        "priority": 1,
        "questions": ["TODO: what do people need to know from it?"],
        "requested_by": ["TODO"],
        "owner": {"name": "TODO", "email": "todo@example.com"},
        "format": written,
        "history": "TODO: how far back, and where older data is",
        "update_every": "1 hour",
        "connection": connection,
    }


def key(column: str, why: str) -> Guess | Undecided:
    """The primary key: the column that looks like one, or the question for it."""
    if column:
        return Guess([column], why)
    return Undecided(f"{why}; write the key as [column, …], or [] if records have none")


def page(
    source: str,
    connection: Mapping[str, Any],
    streams: Mapping[str, Any],
    notes: Sequence[str],
    written: str = "JSON over HTTP",
) -> str:
    """A page of the catalog as YAML; what is guessed is marked ``# guess:``."""
    whole = head(source, "rest", written, connection) | {"streams": streams}
    said = [
        "Drafted by `python -m groundwork discover`. Look at every guess and take its mark away, say what",
        "TODO stands for (`check` refuses the page while paging, auth or key is one), and take out streams",
        "and columns that nobody needs.",
        *notes,
    ]
    return "".join(f"# {line}\n" for line in said) + "".join(_lines(whole, ""))


_FLOW = {"owner", "auth", "headers", "paging", "cursor"}


def _lines(entry: Mapping[str, Any], indent: str) -> Iterable[str]:
    for key, value in entry.items():
        why = f"  # guess: {value.why}" if isinstance(value, Guess) else ""
        plain = value.value if isinstance(value, Guess) else value
        if isinstance(value, Undecided):
            plain = f"{MARK}: {value.why}"
        if isinstance(plain, Mapping) and plain and not why and key not in _FLOW:
            yield f"{indent}{_flow(key)}:\n"
            yield from _lines(plain, indent + "  ")
        else:
            yield f"{indent}{_flow(key)}: {_flow(plain)}{why}\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
