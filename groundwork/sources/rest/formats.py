"""Records of what is not one JSON text: lines of JSON, rows of CSV; packed or not, in bounded pieces.

A line of NDJSON is a record as it stands. A row of CSV becomes a JSON object whose values are all text, in
the order of the header, so that staging reads it like any other record; which fields were quoted is not
kept, because CSV gives it no meaning. A name that stands twice in the header gets its number, ``total#2``,
and a column without a name is ``#3``, its place.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import msgspec
from msgspec import Raw

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.bodies import LARGEST_BODY
from groundwork.sources.rest.content_encoding import CutOff
from groundwork.sources.rest.json_text import check_utf8, decoded

PIECE = 8 << 20
"""Bytes of a file, unpacked, that are in memory at a time."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
"""How packed bytes begin; no JSON and no text does, so nothing need be declared."""

csv.field_size_limit(LARGEST_BODY)


def unpacked(body: bytes, where: str) -> bytes:
    """A body without gzip or zip around it; as it is if there is none.

    Raises:
        CutOff: when it ends too early.
        AnswerUnusable: when it is too large, damaged, or a zip of several files.
    """
    if not body.startswith((_GZIP, _ZIP)):
        return body
    with opened(io.BytesIO(body), where) as stream, damage(where):
        plain = stream.read(LARGEST_BODY + 1)
    if len(plain) > LARGEST_BODY:
        raise AnswerUnusable(
            where, f"the answer is larger than {LARGEST_BODY >> 20} MB once unpacked",
            fix="ask for smaller pages (paging.size), or read it as one of a list of 'files'",
        )  # fmt: skip
    return plain


def opened(packed: BinaryIO, where: str) -> BinaryIO:
    """A file to read from its beginning, without gzip or zip around it.

    Raises:
        CutOff: when a zip ends too early.
        AnswerUnusable: when a zip holds none or several files.
    """
    start = packed.read(4)
    packed.seek(0)
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=packed))
    if not start.startswith(_ZIP):
        return packed
    with damage(where):
        archive = zipfile.ZipFile(packed)
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) == 1:
            return cast(BinaryIO, archive.open(members[0]))
    raise AnswerUnusable(
        where, f"the zip holds {len(members)} files", why="which of them has the records is not said",
        fix="ask for one file, or for a zip of one",
    )  # fmt: skip


class damage:  # noqa: N801
    """Errors of packed bytes, as ours."""

    def __init__(self, where: str) -> None:
        """Remember where, for messages."""
        self._where = where

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise `CutOff` or `AnswerUnusable` instead of what the library raised."""
        if isinstance(error, EOFError | zlib.error | zipfile.BadZipFile | gzip.BadGzipFile):
            raise CutOff("packed bytes end too early, or are damaged") from None
        if isinstance(error, RuntimeError | NotImplementedError):
            raise AnswerUnusable(self._where, "the zip is encrypted, or packed in an unknown way") from None


def pieces(stream: BinaryIO, entry: RestStream, where: str, size: int = PIECE) -> Iterator[list[Raw]]:
    """The records of a file in its order, some at a time.

    Args:
        stream: the file, unpacked.
        entry: the catalog's entry; its format is not ``json``.
        where: source, stream and page or file, for messages.
        size: bytes of records in one piece, about.

    Raises:
        CutOff: when the file ends too early.
        AnswerUnusable: when it is not what the catalog says.
    """
    found = _lines(stream, where, size) if entry.format == "ndjson" else _rows(stream, entry, where, size)
    with damage(where):
        yield from found


_DECODER = msgspec.json.Decoder(Raw)


def _lines(stream: BinaryIO, where: str, size: int) -> Iterator[list[Raw]]:
    rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
    before = 0
    while True:
        more = stream.read(size)
        whole, end, rest = (rest + more).rpartition(b"\n") if more else (rest, b"", b"")
        if len(rest) > LARGEST_BODY:
            raise AnswerUnusable(where, f"one line is longer than {LARGEST_BODY >> 20} MB")
        if whole.strip():
            yield _decoded(whole, before, not more, where)
        before += len(whole) + len(end)
        if not more:
            return


def _decoded(lines: bytes, before: int, ends: bool, where: str) -> list[Raw]:
    check_utf8(lines, where, before)
    try:
        return _DECODER.decode_lines(lines)
    except (msgspec.DecodeError, RecursionError):
        pass
    found: list[Raw] = []
    all_lines = lines.split(b"\n")
    for number, line in enumerate(all_lines, 1):
        if text := line.strip():
            last = ends and number == len(all_lines)
            found.append(_line(text, last, before, where))
        before += len(line) + 1
    return found


def _line(text: bytes, last: bool, at: int, where: str) -> Raw:
    """One line as it was sent; only the last one of all may be cut off."""
    try:
        decoded(_DECODER, text, f"{where}, line at byte {at}")
    except CutOff as cut:
        if last:
            raise CutOff(f"lines after byte {at} are not one JSON text each: {cut}") from None
    else:
        return Raw(text)
    raise AnswerUnusable(
        where, f"the line at byte {at} is not one JSON text", why="the line ends before its text does",
        fix="check 'format': a JSON text over several lines is 'json', and one record a line is 'ndjson'",
    )  # fmt: skip


def _rows(stream: BinaryIO, entry: RestStream, where: str, size: int) -> Iterator[list[Raw]]:
    encoding = "utf-8-sig" if entry.encoding.lower() in ("utf-8", "utf8") else entry.encoding
    text = io.TextIOWrapper(stream, encoding, newline="")
    reader = csv.reader(text, delimiter=entry.delimiter, strict=True)
    encoder = msgspec.json.Encoder()
    problem = ""
    try:
        header = next(reader, None)
        if header is None:
            raise AnswerUnusable(
                where, "the answer is empty", why="a CSV without records still has its header"
            )
        names, rows, length = _names(header), [], 0
        width = len(names)
        for row in reader:
            if len(row) != width:
                if not row:
                    continue
                _check_end(reader, len(row) < width)
                raise AnswerUnusable(
                    where, f"line {reader.line_num} has {len(row)} fields, the header has {width}",
                    fix="check 'delimiter', or tell the API's owner",
                )  # fmt: skip
            rows.append(Raw(encoder.encode(dict(zip(names, row, strict=True)))))
            length += len(rows[-1])
            if length >= size:
                yield rows
                rows, length = [], 0
        yield rows
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise CutOff(f"the CSV ends within quotes that began before line {reader.line_num}") from None
        problem = f"line {reader.line_num} is not CSV"
    except UnicodeError:  # the error itself holds the bytes
        problem = f"the answer is not {entry.encoding} (after line {reader.line_num})"
    finally:
        text.detach()  # whoever opened the file closes it
    if problem:
        raise AnswerUnusable(where, problem, fix="check the stream's 'delimiter' and 'encoding'")


def _check_end(reader: Iterator[list[str]], short: bool) -> None:
    """A last row that is short is the middle of one."""
    if short and next(reader, None) is None:
        raise CutOff("the last row of the CSV is not whole")


def _names(header: list[str]) -> list[str]:
    names: list[str] = []
    for place, name in enumerate(header, 1):
        known, number = name or f"#{place}", 1
        while (shown := known if number == 1 else f"{known}#{number}") in names:
            number += 1
        names.append(shown)
    return names
