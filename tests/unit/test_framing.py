"""Cutting a buffer into messages: all at once, and always what a loop would have found."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork.errors import ProtocolError
from groundwork.sources.framing import frame, padded, row_candidates, stream_candidates


def message(body: bytes) -> bytes:
    return b"d" + struct.pack(">I", len(body) + 4) + body


def loop(content: bytes) -> tuple[list[int], list[int], int]:
    """The obvious way."""
    starts, ends, at = [], [], 0
    while at + 5 <= len(content) and content[at : at + 1] == b"d":
        (length,) = struct.unpack_from(">I", content, at + 1)
        if at + 1 + length > len(content):
            break
        starts.append(at)
        ends.append(at + 1 + length)
        at += 1 + length
    return starts, ends, at


def both(content: bytes) -> None:
    buffer = padded(content)
    for candidates in (stream_candidates, row_candidates):
        framed = frame(buffer, len(content), candidates(buffer.bytes, len(content)))
        starts, ends, at = loop(content)
        assert framed.starts.tolist() == starts
        assert framed.ends.tolist() == ends
        assert framed.consumed == at
        assert framed.other == (at < len(content) and content[at : at + 1] != b"d")


# Bodies made of what confuses: letters that begin messages, zero bytes, line feeds.
confusing = st.lists(
    st.sampled_from([b"d", b"\0", b"w", b"k", b"\n", b"d\0\0\0\5w", b"d\0\0\0\4", b"x" * 30]), max_size=40
)
bodies = st.one_of(confusing.map(b"".join), st.binary(max_size=300))


@given(st.lists(bodies.map(message), max_size=60), st.binary(max_size=8))
def test_random_messages_are_cut_as_a_loop_would_cut_them(messages: list[bytes], rest: bytes) -> None:
    content = b"".join(messages)
    try:
        both(content + rest)
    except ProtocolError as error:
        assert str(error).startswith(f"byte {len(content)} of the stream")


@given(st.lists(bodies.map(lambda body: message(b"w" + body)), min_size=1, max_size=20), st.data())
def test_a_buffer_cut_anywhere_gives_the_whole_messages_before_the_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    content = b"".join(messages)
    both(content[: data.draw(st.integers(0, len(content)))])


def test_false_beginnings_within_texts_are_not_taken() -> None:
    inner = message(b"w" + bytes(24) + b"I") * 50
    both(message(b"w" + inner) + message(b"k" + inner) + message(inner) * 3)


@pytest.mark.parametrize("size", [(16 << 20) - 6, (16 << 20) - 5, (16 << 20) - 4, (16 << 20) + 1, 40 << 20])
def test_messages_of_16_megabytes_and_more_are_stepped_over(size: int) -> None:
    small = b"".join(message(b"w" + bytes([65 + i % 26]) * 40) for i in range(200))
    both(small + message(b"w" + b"d\0\0\0\5w" * (size // 6)) + small + message(b"w" * size) + small[:-3])


@pytest.mark.parametrize("length", [0, 1, 2, 3, (1 << 30) + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_named_with_its_place(length: int) -> None:
    content = message(b"w123") * 3
    buffer = padded(content + b"d" + struct.pack(">I", length) + b"rest")
    with pytest.raises(
        ProtocolError, match=f"byte {len(content)} of the stream: a message of {length} bytes"
    ):
        frame(buffer, len(content) + 9, stream_candidates(buffer.bytes, len(content) + 9))


def test_nothing_received_is_no_message() -> None:
    assert frame(padded(b""), 0, np.empty(0, np.int64)).consumed == 0
