"""What an answer must be to count as data: its type, its keys, its number of records.

An API that fails politely (status 200, an empty list, a page for people) must not be read as one that has
nothing to say.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
from msgspec import Raw

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.paths import split_path
from groundwork.sources.rest.json_text import decoded
from groundwork.sources.rest.transport import Answer

_NO_DATA = ("application/xml", "text/xml", "application/pdf", "image/", "video/", "audio/")
_OTHER = {
    "json": ("text/csv", *_NO_DATA),
    "ndjson": ("text/csv", *_NO_DATA),
    "csv": ("application/json", *_NO_DATA),
}
"""Types that an answer of each format never has; many are too vague to tell (``text/plain``)."""

_FAILED = ("error", "errors")
_FINE = ("ok", "success")


def check_content(answer: Answer, body: bytes, stream: RestStream, where: str) -> None:
    """Refuse what is plainly something else.

    Raises:
        AnswerUnusable: for a page for people, nothing at all, or another type than the one expected.
    """
    kind, declared = answer.content_type.lower(), stream.expect.content_type.lower()
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if declared and kind != declared:
        raise AnswerUnusable(
            where, f"the answer is of type {kind or 'none'}, not {declared}",
            fix="ask the same with curl; if the type is right, mend expect.content_type",
        )  # fmt: skip
    if not declared and kind.startswith(_OTHER[stream.format]):
        raise AnswerUnusable(
            where, f"the answer is of type {kind}, which is not {stream.format}",
            fix="check the endpoint and 'format'; if the type is wrong, write it in expect.content_type",
        )  # fmt: skip
    if stream.format == "json":
        return  # the cutter tells the rest
    if "html" in kind or start[:1] == b"<":
        raise AnswerUnusable(
            where, f"the API answered {answer.status} with a page ({kind or 'no type'}), not {stream.format}",
            why="often a login page or a maintenance page, or the path of a website",
            fix="check connection.base_url, the endpoint and the secret",
        )  # fmt: skip
    if stream.format == "csv" and start[:1] in (b"{", b"["):
        raise AnswerUnusable(
            where, "the answer is JSON, not CSV", why="often an error that came with status 200",
            fix="ask the same with curl to read it, and check the secret",
        )  # fmt: skip


class Required:
    """Keys that records must have: declared ones in each record, the primary key in the first and last."""

    def __init__(self, stream: RestStream) -> None:
        """Compile what is to be looked for."""
        declared = [split_path(path) for path in stream.expect.required]
        columns = {name: stream.columns[name] for name in stream.primary_key}
        key = [one.keys(name) for name, one in columns.items() if not one.parent]
        self._ends = msgspec.json.Decoder(_having(declared + key) if declared + key else Raw)
        self._each = msgspec.json.Decoder(_having(declared)) if declared else None

    def check(self, records: list[Raw], where: str) -> None:
        """Look at a page's records.

        Raises:
            AnswerUnusable: naming the key that is missing, and in which record.
        """
        if not records:
            return
        problem, number = "", 0
        try:
            decoded(self._ends, records[0], where)
            number = len(records) - 1
            decoded(self._ends, records[-1], where)
            if self._each:
                for number, record in enumerate(records):  # noqa: B007
                    decoded(self._each, record, where)
        except msgspec.ValidationError as error:
            # Names of places and kinds of value, never values.
            problem = str(error).replace("`", "'")
        if problem:
            raise AnswerUnusable(
                where, f"record {number + 1} of the page is not what is expected: {problem}",
                why="an error looks like this, or another endpoint",
                fix="check 'records', 'primary_key' and expect.required against an answer of the API",
            )  # fmt: skip


def check_emptiness(body: bytes, where: str) -> None:
    """Refuse a JSON answer without records that says beside them that something went wrong.

    Raises:
        AnswerUnusable: when it does.
    """
    try:
        top = msgspec.json.decode(body, type=dict[str, Raw])
    except msgspec.MsgspecError:
        return
    nothing = (b"null", b"false", b"0", b'""', b"[]", b"{}")
    said = [name for name in _FAILED if name in top and bytes(top[name]) not in nothing]
    said += [name for name in _FINE if name in top and bytes(top[name]) == b"false"]
    if said:
        raise AnswerUnusable(
            where, f"the answer holds no records, but '{said[0]}' says that something is wrong",
            why="a bad token often looks like this", fix="ask the same with curl to read it",
        )  # fmt: skip


def enough(pages: Generator[Any, None, None], stream: RestStream, where: str) -> Generator[Any, None, None]:
    """The pages of a pull, with the last held back if there were too few records in all.

    Raises:
        AnswerUnusable: when the pull has fewer records than expected.
    """
    least = stream.expect.minimum
    try:
        for page in pages:
            if page.following is None and not page.unchanged and page.received < least:
                raise AnswerUnusable(
                    where, f"the pull brought {page.received} records, at least {least} are expected",
                    why="an API that does not know a token often has nothing to say to it",
                    fix="check the secret; if so few are right, lower expect.minimum",
                )  # fmt: skip
            yield page
    finally:
        pages.close()


def _having(paths: list[tuple[str, ...]]) -> Any:
    """A type that asks for these paths and skips whatever else stands in the record."""
    if () in paths:
        return Raw
    below: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    fields = [(f"f{number}", _having(inner)) for number, inner in enumerate(below.values())]
    rename = {f"f{number}": key for number, key in enumerate(below)}
    return msgspec.defstruct("Expected", fields, rename=rename, gc=False)
