"""The first page of an API, looked at: its format, where its records stand, and which types they have."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groundwork.catalog import RestStream
from groundwork.discovery.drafting import Path
from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.bodies import LARGEST_BODY
from groundwork.sources.rest.formats import pieces, unpacked
from groundwork.sources.rest.transport import Answer

LONGEST = 2000
"""Records that are looked at, at most, of each page."""
_DELIMITERS = ",;\t|"
_ROWS = 20
"""Rows whose fields are counted to find the delimiter."""


@dataclass(frozen=True)
class Sample:
    """What the first page showed."""

    answer: Answer
    top: Any
    """The body of an answer in JSON; None of other formats."""
    records: Path
    items: list[Any]
    """The records of the first page."""
    written: dict[str, str] = field(default_factory=dict)
    """What the catalog says of the format; empty for JSON."""


def sample_of(answer: Answer, where: str) -> Sample:
    """The records of an answer, whatever its format.

    Raises:
        AnswerUnusable: when it holds none.
    """
    body = unpacked(answer.body, where)
    top = _json(body)
    lists = [(path, value) for path, value in parts(top) if _is_list_of_objects(value)]
    if lists:
        path, items = max(lists, key=lambda found: (len(found[1]), -len(found[0])))
        return Sample(answer, top, path, items[:LONGEST])
    if top is None and (written := _format_of(body, answer.content_type)):
        entry = {"endpoint": "/", "replication": "full_table", "columns": {}, **written}
        found = pieces(io.BytesIO(body), RestStream.model_validate(entry), where, LARGEST_BODY)
        rows = [msgspec.json.decode(record) for piece in found for record in piece[:LONGEST]]
        if rows and all(isinstance(row, dict) for row in rows):
            return Sample(answer, None, (), rows[:LONGEST], written)
    raise AnswerUnusable(
        where,
        f"the answer ({answer.status}, {answer.content_type or 'no type'}) holds no records",
        why="they are an array of objects, not empty, at most three levels deep, or rows of CSV or NDJSON",
        fix="check the address and the secret; name an endpoint that lists something",
    )


def parts(top: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """A JSON value and those within it, three levels deep."""
    yield path, top
    if isinstance(top, dict) and len(path) < 3:
        for name, inner in top.items():
            yield from parts(inner, (*path, name))


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _format_of(body: bytes, content_type: str) -> dict[str, str]:
    """The words for NDJSON or CSV; empty when it looks like neither."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start or start[:1] == b"<" or "html" in content_type:
        return {}
    if start[:1] == b"{":
        return {"format": "ndjson"}
    encoding, text = _text(body)
    if delimiter := _delimiter(text, of_one_column="csv" in content_type):
        words = {"format": "csv", "delimiter": delimiter, "encoding": encoding}
        usual = {"delimiter": ",", "encoding": "utf-8"}
        return {name: word for name, word in words.items() if usual.get(name) != word}
    return {}


def _text(body: bytes) -> tuple[str, str]:
    try:
        return "utf-8", body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "windows-1252", body.decode("windows-1252", errors="replace")


def _delimiter(text: str, *, of_one_column: bool) -> str:
    """The delimiter by which the first rows have most fields, all the same number; "" if there is none."""
    found = []
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text[: 1 << 20], newline=""), delimiter=delimiter)
        rows = [row for row, _ in zip(reader, range(_ROWS), strict=False) if row]
        widths = {len(row) for row in (rows[:-1] or rows)}  # the last one may be cut off
        if len(widths) == 1 and len(rows) > 1:
            found.append((widths.pop(), delimiter))
    width, delimiter = max(found, key=lambda one: one[0], default=(0, ""))
    return delimiter if width > 1 or (width == 1 and of_one_column) else ""


_OF_TEXT = [
    ("integer", re.compile(r"-?(?:0|[1-9]\d{0,17})")),
    ("boolean", re.compile(r"(?i)true|false")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("timestamp", re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?")),
]
_DECIMAL = re.compile(r"-?\d{1,15}(?:\.(\d{1,10}))?")


def type_of_texts(values: Sequence[str]) -> str:
    """The catalog's type for the values of a CSV, empty ones aside; text where not all fit."""
    found = [value for value in values if value]
    if not found:
        return "text"
    for kind, form in _OF_TEXT:
        if all(form.fullmatch(value) for value in found):
            return kind
    matches = [_DECIMAL.fullmatch(value) for value in found]
    leading = any(re.match(r"-?0\d", value) for value in found)  # 007 is no number
    if all(matches) and not leading:
        return f"decimal(38,{max(len(match[1] or '') for match in matches if match)})"
    return "text"
