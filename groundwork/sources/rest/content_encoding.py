"""The body of an answer, unpacked as its ``Content-Encoding`` says (RFC 9110 §8.4), to its true end.

The HTTP client could do it, but it accepts a gzip body that ends too early: lines of JSON or CSV that are cut
at the end of a row would be fewer rows, and no error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from groundwork.errors import AnswerUnusable

ACCEPTED = "gzip, deflate"
"""What we ask for, and can unpack."""
_PIECE = 1 << 20
"""Most bytes that come out at a time, however far they were packed."""
_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Formats, as zlib numbers them."""


class CutOff(Exception):
    """An answer that is not whole: worth asking again."""


class Unpacker:
    """Unpacks one body, piece by piece."""

    def __init__(self, encoding: str, where: str) -> None:
        """Prepare.

        Args:
            encoding: the header's value; "" for none.
            where: the request, for messages.

        Raises:
            AnswerUnusable: when it is an encoding that was not asked for.
        """
        self._encoding, self._where = encoding.strip().lower(), where
        self._packed = self._encoding not in ("", "identity")
        if self._packed and self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise AnswerUnusable(
                where,
                "the body is packed in a way that was not asked for (Content-Encoding)",
                why=f"we accept {ACCEPTED}",
                fix="tell the API's owner, or send another Accept-Encoding under connection.headers",
            )
        self._member: Any = None
        self._any = self._begins_well = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some bytes become.

        Raises:
            AnswerUnusable: when the body does not begin as its encoding does.
            CutOff: when it is damaged further on.
        """
        if not self._packed:
            yield data
            return
        while data:
            if self._member is None:
                data = data.lstrip(b"\0") if self._any else data  # gzip files may be padded with zeros
                if not data:
                    return
                self._begins_well = self._encoding == "deflate" or _MAGIC.startswith(data[:2])
                self._member = zlib.decompressobj(self._format(data))
            for piece in self._pieces(data):
                self._any = True
                yield piece
            data = self._member.unused_data
            if self._member.eof:
                self._any, self._member = True, None

    def finish(self) -> None:
        """Note that nothing follows.

        Raises:
            CutOff: when the packed bytes end too early.
        """
        if self._member is not None:
            raise CutOff("the packed body ends too early")

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        member = self._member
        while True:
            piece = None
            try:
                piece = member.decompress(data, _PIECE)
            except zlib.error:
                pass
            if piece is None:
                raise self._damaged()
            if piece:
                yield piece
            data = member.unconsumed_tail
            if member.eof or (not data and len(piece) < _PIECE):
                return

    def _damaged(self) -> Exception:
        if self._any or self._begins_well:
            return CutOff("the packed body is damaged")
        return AnswerUnusable(
            self._where,
            f"the body is not {self._encoding}, though its Content-Encoding says so",
            fix="tell the API's owner",
        )

    def _format(self, data: bytes) -> int:
        if self._encoding != "deflate":
            return _GZIP
        return _ZLIB if data[0] & 0x0F == 8 and (data[0] >> 4) <= 7 else _RAW
