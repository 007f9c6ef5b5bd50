"""Cut records out of a page, letter for letter.

msgspec finds where each record begins and ends without making objects of what is inside, so a number is
never a float and a key that stands twice still stands twice. Envelope and records are one pass over the
body; the cursor of each record costs a second one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.paths import answer_steps, leading_keys, split_path
from groundwork.sources.rest.answer_values import Paths, at, is_empty, says_yes, shape
from groundwork.sources.rest.json_text import check_utf8, decoded, decoded_with_text, readable
from groundwork.sources.rest.repeated_keys import RepeatedKeys
from groundwork.sources.rest.transport import Answer

_KEY = re.compile(rb"[A-Za-z_$@][\w.$@-]{0,30}")


COUNT = re.compile(r"[0-9]{1,18}")
"""A number of records; one of more digits is no count."""


@dataclass(frozen=True)
class CutPage:
    """What one answer holds, by the paths of the catalog."""

    records: list[Raw] = field(repr=False)
    """Views of the body; copied once, all together."""
    data: bytes = field(repr=False)
    """All records, one behind the other."""
    body: bytes = field(repr=False)
    """The answer as it can be parsed: without lone surrogates, which only `records` and `data` have."""
    next: str | None
    """The next cursor or link as text (an object of parameters as JSON); None for null, false, "" and a path
    that is not there."""
    more: bool | None
    """None when the catalog names no such path."""
    total: int | None
    sync: str | None = None
    """The token or link that the next pull begins with."""

    def text(self) -> pa.Array:
        """The records as an Arrow string array."""
        ends = np.zeros(len(self.records) + 1, dtype=np.int32)
        np.cumsum(np.fromiter(map(len, self.records), np.int32, len(self.records)), out=ends[1:])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.string(), len(self.records), buffers)


NOTHING = CutPage([], b"", b"", None, None, None)
"""The page of an API that says: nothing new."""


class PageCutter:
    """Reads the answers of one stream."""

    def __init__(self, stream: RestStream) -> None:
        """Compile a decoder that visits the named paths only."""
        paging = stream.paging
        self._stream, self._paging = stream, paging
        self._error = stream.error or ("errors" if stream.query else "")
        named = {
            "error": self._error,
            "next": paging.next,
            "flag": paging.more or paging.end,
            "total": paging.total,
            "sync": stream.sync.next if stream.sync else "",
        }
        steps = {name: answer_steps(path) for name, path in named.items() if path}
        records = answer_steps(stream.records) if stream.records else ()
        self._paths = Paths({"records": records, **steps}, records="records")
        self._repeated = RepeatedKeys(leading_keys(one) for one in [records, *steps.values()])

    def cut(self, answer: Answer, where: str) -> CutPage:
        """Find the records and the way on.

        Raises:
            CutOff: when the JSON ends too early.
            AnswerUnusable: when it is not JSON, or not the JSON the catalog describes.
        """
        body = _json_body(answer, where)
        problem = ""
        try:
            top, read = decoded_with_text(self._paths.decoder, body, where)
            found = self._paths.found(top)
        except msgspec.ValidationError as error:
            # Names of places and kinds of value, never values.
            problem = str(error).replace("`", "'")
        if problem:
            raise self._unlike(body, where, problem)
        if not is_empty(found.get("error", UNSET)):
            raise AnswerUnusable(
                where, f"the API answered {answer.status} with an error at '{self._error}'",
                fix="ask the same with a browser or curl to read it",
            )  # fmt: skip
        if repeated := self._repeated.found(bytes(read)):
            raise AnswerUnusable(
                where,
                f"a key stands twice in {repeated} of the answer",
                why="of two values one would be dropped, and nobody knows which one is meant",
                fix="tell the API's owner",
            )
        records = found["records"]
        if self._stream.null_is_empty and (records is None or (records is UNSET and not _looks_failed(body))):
            records = []
        if records is None or records is UNSET:
            raise self._unlike(body, where, "null" if records is None else "")
        read = bytes(read)
        if read is not body:
            records = _as_sent(records, read, body)
        return CutPage(
            records=records,
            data=b"".join(records),
            body=read,
            next=self._next(found.get("next", UNSET), where),
            more=self._more(found.get("flag", UNSET)),
            total=_as_count(found["total"], where) if "total" in found else None,
            sync=_as_text(found.get("sync", UNSET), where, "sync.next"),
        )

    def _more(self, flag: Any) -> bool | None:
        """Whether more follows; None where nothing says it."""
        if self._paging.more:
            return says_yes(flag, self._paging.more_values)
        if self._paging.end and flag is not UNSET:
            return not says_yes(flag, self._paging.end_values)
        return None

    def _next(self, value: Any, where: str) -> str | None:
        if self._stream.paging.kind == "continue_object":
            return None if is_empty(value) else bytes(value).decode()
        return _as_text(value, where, "next")

    def _unlike(self, body: bytes, where: str, problem: str) -> AnswerUnusable:
        path, keys = self._stream.records, _keys(body)
        shown = ", ".join(f"'{key}'" for key in keys[:6]) or "none"
        if problem == "null":
            what = f"'{path}' is null instead of an array"
            fix = "if the API says so for no records, set 'null_is_empty: true'"
        elif problem:
            what, fix = f"the answer has another shape than the catalog says: {problem}", ""
        else:
            what = f"there is no '{path}' in the answer (keys: {shown})"
            fix = "" if keys else "if the API leaves it out for no records, set 'null_is_empty: true'"
        why = "it looks like an error that came with status 200" if _looks_failed(body) else ""
        fix = fix or "check the stream's 'records' and paging paths against an answer of the API"
        return AnswerUnusable(where, what, why=why, fix=fix)


class FieldReader:
    """Reads one field of every record of a page."""

    def __init__(self, stream: RestStream, field_path: str) -> None:
        """Compile a decoder for the field at a dotted path."""
        self._name, self._values_saying_yes = field_path, stream.deleted_values
        self._field = Paths({"": answer_steps(field_path)})
        record = self._field.decoder.type
        records = answer_steps(stream.records) if stream.records else ()
        self._records = leading_keys(records)
        self._by_record = self._records != records
        """Records that stand below a list are decoded one by one, not with their page."""
        self._all = msgspec.json.Decoder(shape({() if self._by_record else self._records: list[record]}))  # type: ignore[valid-type]

    def texts(self, page: CutPage, where: str) -> list[str | None]:
        """The field of each record as text: strings without their quotes, numbers digit for digit.

        Raises:
            AnswerUnusable: when records are no objects, or the field holds an object or array.
        """
        values = self._values(page, where)
        return _plain(values) or [_as_text(value, where, self._name) for value in values]

    def flags(self, page: CutPage, where: str) -> list[bool]:
        """Whether the field of each record says yes, see `says_yes`.

        Raises:
            AnswerUnusable: when records are no objects.
        """
        return [says_yes(value, self._values_saying_yes) for value in self._values(page, where)]

    def _values(self, page: CutPage, where: str) -> list[Any]:
        if not page.records:
            return []
        text = b"[" + b",".join(page.records) + b"]" if self._by_record else page.body
        try:
            top = decoded(self._all, text, where)
        except msgspec.ValidationError:
            top = None
        if top is None:
            raise AnswerUnusable(
                where, f"records are not objects with a '{self._name}'",
                fix=f"check '{self._name}' in the catalog against a record of the API",
            )  # fmt: skip
        records = top if self._by_record else at(top, self._records)
        return self._field.each("", records)

    def last(self, page: CutPage, where: str) -> str | None:
        """The field of the last record as text."""
        try:
            value = self._field.found(decoded(self._field.decoder, page.records[-1], where))[""]
        except msgspec.ValidationError:
            value = UNSET
        return _as_text(value, where, self._name)


class RecordReader:
    """Reads some fields of one record at a time."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Compile a decoder for the fields at dotted paths."""
        self._names, self._paths = paths, [split_path(path) for path in paths]
        self._decoder = msgspec.json.Decoder(shape(dict.fromkeys(self._paths, Raw)))

    def texts(self, record: bytes, where: str) -> list[str | None]:
        """The fields as text; None for null, and for all when the record is no object.

        Raises:
            AnswerUnusable: when one holds an object or array.
        """
        try:
            found = decoded(self._decoder, record, where)
        except msgspec.ValidationError:
            return [None] * len(self._paths)
        pairs = zip(self._names, self._paths, strict=True)
        return [_as_text(at(found, path), where, name) for name, path in pairs]


def _json_body(answer: Answer, where: str) -> bytes:
    body, kind = answer.body, answer.content_type.lower()
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if "html" in kind or start.startswith(b"<"):
        raise AnswerUnusable(
            where, f"the API answered {answer.status} with a page ({kind or 'no type'}), not JSON",
            why="often a login page or a maintenance page, or the path of a website",
            fix="check connection.base_url, the endpoint and the secret",
        )  # fmt: skip
    if not start:
        raise AnswerUnusable(
            where, f"the API answered {answer.status} with nothing at all",
            fix="check the endpoint; an API that has no records says []",
        )  # fmt: skip
    body = body.removeprefix(b"\xef\xbb\xbf")
    check_utf8(body, where)
    return body


def _as_sent(records: list[Raw], read: bytes, body: bytes) -> list[Raw]:
    """The same places of another text of equal length."""
    begin = pa.py_buffer(read).address
    places = [(pa.py_buffer(record).address - begin, len(record)) for record in records]
    return [Raw(body[start : start + length]) for start, length in places]


def _keys(body: bytes) -> list[str]:
    try:
        top = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError):
        return []
    return [key for key in top if _KEY.fullmatch(key.encode())]


def _looks_failed(body: bytes) -> bool:
    return any(key.lower() in ("error", "errors", "message", "detail", "error_code") for key in _keys(body))


def _as_text(value: Any, where: str, name: str) -> str | None:
    if value is None or value is UNSET:
        return None
    text = bytes(value)
    if text in (b"null", b"false", b'""'):
        return None
    if text[:1] == b'"':
        return msgspec.json.decode(readable(text), type=str)
    if text[:1] in b"{[" or text == b"true":
        raise AnswerUnusable(
            where, f"'{name}' holds neither text nor a number",
            fix="check the path in the catalog against an answer of the API",
        )  # fmt: skip
    return text.decode()


def _as_count(value: Any, where: str) -> int:
    text = _as_text(value, where, "total")
    if text is None or not COUNT.fullmatch(text):
        raise AnswerUnusable(
            where, "the API gives no total where the catalog says it would",
            fix="check paging.total, or take it out",
        )  # fmt: skip
    return int(text)


def _plain(values: list[Any]) -> list[str | None] | None:
    """The fast way for the usual case, strings without escapes or numbers; None if it is not that."""
    try:
        joined = b",".join(map(bytes, values))
    except TypeError:
        return None
    if b"\\" in joined or b"null" in joined:
        return None
    if joined.startswith(b'"'):
        texts = joined[1:-1].decode().split('","')
    elif joined[:1].isdigit() and not joined.translate(None, b"0123456789.,-+eE"):
        texts = joined.decode().split(",")
    else:
        return None
    # Two strings side by side make each separator, so the count tells whether all were strings.
    return list(texts) if len(texts) == len(values) and "" not in texts else None
