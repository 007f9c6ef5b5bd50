"""Signs of an answer that more records follow: those that the stream's paging does not use itself.

They are looked for in the last answer of a pull, in its headers and in its body around the records, by the
names in `groundwork.sources.rest.sign_names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from groundwork.catalog import RestStream
from groundwork.sources.rest.answer_values import plain, says_yes
from groundwork.sources.rest.astray import PagesAstray
from groundwork.sources.rest.records import CutPage
from groundwork.sources.rest.sign_names import AROUND, END, MORE, OTHER_COUNTS, PAGES, RECORDS, WAY, letters
from groundwork.sources.rest.transport import Answer

_TRUE = re.compile(r'"?(?:true|yes|y|t|1)"?', re.IGNORECASE)
_FALSE = re.compile(r'"?(?:false|no|n|f|0)"?', re.IGNORECASE)
_NEXT_RELATION = re.compile(r"\brel\s*=\s*(\"[^\"]*\bnext\b[^\"]*\"|next\b)", re.IGNORECASE)
_RANGE = re.compile(r"\s*[\w-]*\s*(\d+)\s*-\s*(\d+)\s*/\s*(\d+|\*)\s*")
_PLAIN_KEY = re.compile(r"[A-Za-z_$@][\w.$@:-]{0,40}")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_DEEPEST, _LONGEST_LIST, _LARGEST = 5, 50, 1 << 16
"""Levels of objects, links of a list, and bytes of an object beside the records that are looked at."""


class MoreFollows(PagesAstray):
    """The last page has a sign that more records follow."""


@dataclass(frozen=True)
class Seen:
    """What a reading has had when it ends."""

    records: int
    pages: int
    asked: Set[str]
    """The position that the last request asked for, and its parameters as ``name=value``: an answer that
    repeats one of them says nothing new."""


class Signs:
    """Looks for signs of more in the last answer of a stream."""

    def __init__(self, stream: RestStream, where: str) -> None:
        """Note which names the stream's paging uses itself."""
        paging = stream.paging
        self._stream, self._where = stream, where
        sync = (stream.sync.next, stream.sync.header) if stream.sync else ("", "")
        used = {paging.next, paging.more, paging.end, paging.total, sync[0], *paging.ignore_signs}
        self._used = {path.replace("\\", "") for path in used if path}
        self._records = stream.records.replace("\\", "")
        headers = [paging.header, paging.total_header, sync[1], *paging.ignore_signs]
        self._used_headers = {name.lower() for name in headers}

    def check(self, page: CutPage, answer: Answer, seen: Seen) -> None:
        """Refuse the end of a reading whose last answer says that more follows.

        Raises:
            MoreFollows: naming the sign.
        """
        ended = page.more is False
        found = next(self._in_headers(answer, ended, seen), "") or next(self._in_body(page, ended, seen), "")
        if not found:
            return
        name, _, what = found.partition("\n")
        raise MoreFollows(
            self._where,
            f"the last page has a sign that more follows: {what} '{name}'",
            why=f"the pull ended after {seen.pages} pages with {seen.records} records",
            fix="check the kind of paging against the API's manual; if this is no such sign, set "
            f"paging.ignore_signs: ['{name}']",
        )

    def _in_headers(self, answer: Answer, ended: bool, seen: Seen) -> Iterator[str]:
        span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        whole = span is not None and span[3] != "*" and not _is_part(span, seen)
        if answer.status == 206 and not whole and self._stream.paging.kind == "single_page":
            yield "206\na part of the whole by the status"
        for header, text in answer.headers.items():
            if header.lower() in self._used_headers:
                continue
            name = letters(header).removeprefix("x")
            if header.lower() == "link":
                if _NEXT_RELATION.search(text) and not ended:
                    yield f"{header}\na next link in the header"
            elif header.lower() == "content-range":
                if (match := _RANGE.fullmatch(text)) and _is_part(match, seen):
                    yield f"{header}\na range that is not the whole in the header"
            elif sign := _header_sign(name, text.strip(), ended, seen):
                yield f"{header}\n{sign}"

    def _in_body(self, page: CutPage, ended: bool, seen: Seen) -> Iterator[str]:
        if self._stream.format != "json" or not self._records or not page.body:
            return
        body = Raw(page.body)
        if _first(body) != b"[":
            yield from self._in_object(body, "", True, ended, seen)
            return
        for place, item in enumerate(_LIST.decode(body)[:_LONGEST_LIST]):
            if _first(item) == b"{":
                yield from self._in_object(item, f"[{place}]", True, ended, seen)

    def _in_object(self, text: Raw, path: str, around: bool, ended: bool, seen: Seen) -> Iterator[str]:
        """Signs in an object and those below it, except the records.

        Args:
            text: the object.
            path: of it.
            around: whether its counts are those of the records.
            ended: whether an end flag says that nothing follows.
            seen: what came.
        """
        try:
            found = _OBJECT.decode(text)
        except msgspec.MsgspecError:
            return
        names = {key: letters(key) for key in found}
        ended = ended or _says_the_end(found, names)
        for key, value in found.items():
            here = f"{path}.{key}" if path else key
            above = self._records.startswith((f"{here}.", f"{here}["))
            if here in self._used or here == self._records or not _PLAIN_KEY.fullmatch(key):
                continue
            if len(value) < _LARGEST and (sign := _sign(names[key], value, around, ended, seen)):
                yield f"{here}\n{sign}"
            if _first(value) == b"[" and names[key] in ("link", "links") and not ended:
                yield from self._in_links(value, here)
            if _first(value) == b"{" and here.count(".") < _DEEPEST and (above or len(value) < _LARGEST):
                inner = above or (around and AROUND.fullmatch(names[key]) is not None)
                yield from self._in_object(value, here, inner, ended, seen)

    def _in_links(self, value: Raw, path: str) -> Iterator[str]:
        """The next link of a list of links, by ``rel`` or ``relation``."""
        if any(one.startswith(f"{path}[") for one in self._used):
            return
        try:
            items = _LIST.decode(value)[:_LONGEST_LIST]
        except msgspec.MsgspecError:
            return
        for item in items:
            try:
                link = _OBJECT.decode(item)
            except msgspec.MsgspecError:
                return
            for key in ("rel", "relation"):
                if key in link and "next" in re.findall(r"[\w-]+", plain(link[key]).lower()):
                    yield f"{path}[{key}=next]\na next link in the body"


def _header_sign(name: str, text: str, ended: bool, seen: Seen) -> str:
    """What a header is a sign of, by its name in letters; "" if of nothing."""
    if not ended and MORE.fullmatch(name) and _TRUE.fullmatch(text):
        return "a flag in the header"
    if not ended and END.fullmatch(name) and _FALSE.fullmatch(text) and not text.isdigit():
        return "an end flag that says no, the header"
    if not ended and WAY.fullmatch(name) and _leads_on(name, text, seen):
        return "a way to the next page in the header"
    if not text.isdigit() or OTHER_COUNTS.search(name):
        return ""
    # many APIs put a word of their own before it: X-WP-Total
    if re.search(rf"(?:{PAGES.pattern})$", name) and "page" in name:
        return f"{_count(text)} pages by the header" if _count(text) > seen.pages else ""
    counts = re.search(r"total|count", name) and re.search(rf"(?:{RECORDS.pattern})$", name)
    return f"{_count(text)} records by the header" if counts and _count(text) > seen.records else ""


def _sign(name: str, value: Raw, around: bool, ended: bool, seen: Seen) -> str:
    """What a key of the body is a sign of, by its name in letters; "" if of nothing."""
    text = bytes(value).decode()
    if text.isdigit() and around:
        if PAGES.fullmatch(name):
            return f"{_count(text)} pages by the key" if _count(text) > seen.pages else ""
        if name == "value" or RECORDS.fullmatch(name):  # {"total": {"value": 57}}
            return f"{_count(text)} records by the key" if _count(text) > seen.records else ""
    if ended:
        return ""
    if MORE.fullmatch(name) and _TRUE.fullmatch(text):
        return "a flag in the body, the key"
    if END.fullmatch(name) and _FALSE.fullmatch(text) and not text.isdigit():
        return "an end flag that says no, the key"
    if WAY.fullmatch(name) and _leads_on_in_body(name, value, seen):
        return "a way to the next page in the body, the key"
    return ""


def _says_the_end(found: Mapping[str, Raw], names: Mapping[str, str]) -> bool:
    """Whether an object has a flag that says that nothing follows; such objects often repeat a cursor."""
    flags = [bytes(value).decode() for key, value in found.items() if MORE.fullmatch(names[key])]
    return "false" in flags and "true" not in flags


def _leads_on_in_body(name: str, value: Raw, seen: Seen) -> bool:
    text = bytes(value)
    if text[:1] == b"{":  # {"href": …}, or parameters; without any value it is none
        return any(_leads_on_in_body(name, inner, seen) for inner in _OBJECT.decode(value).values())
    if text[:1] == b"[" or text in (b"null", b"false", b"true"):
        return False
    return _leads_on(name, plain(value), seen)


def _leads_on(name: str, text: str, seen: Seen) -> bool:
    """Whether a text can be a link, a cursor or a number of a page that was not asked for yet."""
    said = text.strip()
    return (
        not {said, f"{name}={said}"} & seen.asked
        and says_yes(Raw(msgspec.json.encode(said)))
        and said != "-1"
    )


def _count(digits: str) -> int:
    """A number; one of more than 18 digits is only known to be large."""
    return int(digits[:18])


def _is_part(match: re.Match[str], seen: Seen) -> bool:
    return match[3] != "*" and _count(match[3]) > max(seen.records, _count(match[2]) + 1)


def _first(value: Raw) -> bytes:
    return bytes(memoryview(value)[:1])
