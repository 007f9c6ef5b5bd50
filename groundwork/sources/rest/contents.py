"""From an answer to records, whatever its format: unpacked, checked against what is expected, cut."""

from __future__ import annotations

import dataclasses
import io
import re

from msgspec import Raw

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.bodies import LARGEST_BODY
from groundwork.sources.rest.expected import Required, check_content, check_emptiness
from groundwork.sources.rest.formats import pieces, unpacked
from groundwork.sources.rest.records import NOTHING, CutPage, PageCutter
from groundwork.sources.rest.transport import Answer


class Contents:
    """Reads the answers of one stream."""

    def __init__(self, stream: RestStream) -> None:
        """Prepare for the stream's format."""
        self._stream = stream
        self._cutter = PageCutter(stream)
        self._required = Required(stream)

    def cut(self, answer: Answer, where: str) -> CutPage:
        """Find the records and the way on.

        Raises:
            CutOff: when the answer ends too early.
            AnswerUnusable: when it is not what the catalog describes.
        """
        body = unpacked(answer.body, where)
        check_content(answer, body, self._stream, where)
        if self._stream.format == "json":
            page = self._cutter.cut(
                answer if body is answer.body else dataclasses.replace(answer, body=body), where
            )
            if not page.records:
                check_emptiness(page.body, where)
        else:
            found = pieces(io.BytesIO(body), self._stream, where, LARGEST_BODY)
            page = as_page([record for piece in found for record in piece])
        self._required.check(page.records, where)
        if header := self._stream.paging.total_header:
            page = dataclasses.replace(page, total=_counted(answer.headers.get(header, ""), header, where))
        return page


_COUNT = re.compile(r"(?:.*/)?\s*([0-9]{1,18})\s*")


def _counted(text: str, header: str, where: str) -> int:
    match = _COUNT.fullmatch(text)
    if match is None:
        raise AnswerUnusable(
            where, f"the header '{header}' gives no total where the catalog says it would",
            fix="check paging.total_header, or take it out",
        )  # fmt: skip
    return int(match[1])


def as_page(records: list[Raw]) -> CutPage:
    """Records that no envelope surrounds, as if they were one JSON array."""
    body = b"[" + b",".join(records) + b"]"
    return dataclasses.replace(NOTHING, records=records, data=b"".join(records), body=body)
