"""Columns that point into a buffer hold the same text as columns that own it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groundwork.sources.framing import padded
from groundwork.sources.views import constants, nulls, sequences

pieces = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)


@given(st.lists(st.none() | pieces, max_size=60))
def test_texts_of_any_length_and_nulls_come_out(values: list[str | None]) -> None:
    content, at, lengths = b"", [], []
    for value in values:
        encoded = (value or "").encode()
        at.append(len(content))
        lengths.append(len(encoded))
        content += encoded
    buffer = padded(content)
    valid = np.array([value is not None for value in values], bool)
    column = buffer.texts(np.array(at, np.int64), np.array(lengths, np.int64), valid)
    assert column.to_list() == values
    assert column.to_arrow().to_pylist() == values


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=50))
def test_sequences_are_fixed_width_and_sort_as_their_numbers(places: list[tuple[int, int]]) -> None:
    commits = np.array([commit for commit, _ in places], np.uint64)
    ordinals = np.array([ordinal for _, ordinal in places], np.int64)
    texts = sequences(commits, ordinals).to_list()
    assert texts == [f"{commit:016x}/{ordinal:08x}" for commit, ordinal in places]
    assert [places[i] for i in sorted(range(len(places)), key=lambda i: texts[i])] == sorted(places)


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=20))
def test_constants_are_chosen_by_number(codes: list[int]) -> None:
    words = ["insert", "", "twelve bytes"]
    assert constants(words, np.array(codes, np.intp)).to_list() == [words[code] for code in codes]


def test_a_column_of_nulls_has_only_nulls() -> None:
    assert nulls(3).to_list() == [None] * 3


def test_big_endian_numbers_are_read_at_any_position() -> None:
    buffer = padded(b"\x00\x01\x02\x03\x04\x05\x06\x07\x08")
    assert buffer.int16(np.array([0, 1, 7])).tolist() == [1, 0x0102, 0x0708]
    assert buffer.int32(np.array([0, 3])).tolist() == [0x00010203, 0x03040506]
    assert buffer.int64(np.array([1])).tolist() == [0x0102030405060708]
