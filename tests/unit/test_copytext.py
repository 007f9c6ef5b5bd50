# ruff: noqa: E501 (statements and messages read better in one line)
"""COPY's text format: what comes out is what a naive parser reads."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork.errors import ProtocolError
from groundwork.sources import copytext
from groundwork.sources.framing import frame, padded, row_candidates
from tests.capture import unescaped

ESCAPED = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}

hard = st.sampled_from(
    ["", "\\N", "\\", "\\\\", "\t", "\n", "\\n", "\r\n", "N", "\\.", "d", "ü", "💥", "d\n", "'\"", "x" * 13]
)
texts = st.one_of(
    hard,
    st.lists(hard, max_size=4).map("".join),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40),
)


def line(row: list[str | None]) -> bytes:
    """A row as PostgreSQL sends it."""
    fields = ["\\N" if v is None else "".join(ESCAPED.get(c, c) for c in v) for v in row]
    return "\t".join(fields).encode() + b"\n"


def decoded(lines: list[bytes], width: int) -> list[tuple[str | None, ...]]:
    content = b"".join(b"d" + struct.pack(">I", len(body) + 4) + body for body in lines)
    buffer = padded(content)
    framed = frame(buffer, len(content), row_candidates(buffer.bytes, len(content)))
    table = copytext.decode(buffer, framed, [f"c{i}" for i in range(width)], "table t")
    assert {field.type for field in table.schema} == {pa.string()}
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@given(st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.none() | texts, min_size=width, max_size=width), min_size=1, max_size=50)
))  # fmt: skip
def test_random_rows_come_out_as_they_went_in(rows: list[list[str | None]]) -> None:
    lines = [line(row) for row in rows]
    assert decoded(lines, len(rows[0])) == [tuple(row) for row in rows]
    naive = [tuple(map(unescaped, one.decode()[:-1].split("\t"))) for one in lines]
    assert decoded(lines, len(rows[0])) == naive


def test_lengths_that_look_like_tabs_and_backslashes_are_not_taken_for_text() -> None:
    rows = [["x" * (size - 5 - 4), "y"] for size in (9 + 9, 92 + 9, 9 * 256 + 9, 92 * 256 + 92, 9 * 256 + 92)]
    assert decoded([line(row) for row in rows], 2) == [tuple(row) for row in rows]


def test_long_values_are_whole() -> None:
    rows = [["é" * 9_000_000, None], ["\\" * 1_000_000, "\t"], ["", "end"]]
    assert decoded([line(row) for row in rows], 2) == [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b"a\tb\n", b"a\n"], "a row has another number of columns"),
        ([b"a\tb\tc\n", b"a\n"], "a row has another number of columns"),
        ([b"a\n", b"a\tb\tc\n"], "a row has another number of columns"),
        ([b"a\tb\n", b"a\tb"], "a row does not end with a line feed"),
    ],
)
def test_a_row_of_another_shape_is_refused(lines: list[bytes], message: str) -> None:
    with pytest.raises(ProtocolError, match=f"table t: {message}"):
        decoded(lines, 2)


def test_three_rows_whose_separators_only_add_up_are_refused() -> None:
    with pytest.raises(ProtocolError, match="another number of columns"):
        decoded([b"a\tb\n", b"a\tb\tc\n", b"a\n", b"a\tb\n"], 2)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"ok\xe4\xf6"])
def test_bytes_that_are_not_utf8_are_refused_by_their_place(bad: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"table t: byte [24] of row 1 of a message is not UTF-8"):
        decoded([b"a\tgeheim\n", b"b\t" + bad + b"\n"], 2)


def test_an_error_says_nothing_of_what_is_in_the_row() -> None:
    with pytest.raises(ProtocolError) as caught:
        decoded([b"a\tb\n", b"geheim\n"], 2)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "geheim" not in str(caught.value)
