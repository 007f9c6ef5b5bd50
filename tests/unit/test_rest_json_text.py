"""What is said of JSON texts that the parser refuses, and records with lone surrogates."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest.content_encoding import CutOff
from groundwork.sources.rest.json_text import decoded, fault_of, readable

DECODER = msgspec.json.Decoder(list[msgspec.Raw])
READS = "it cannot be read"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES), st.sampled_from([None, 1]), st.booleans())
def test_a_text_that_ends_early_is_cut_off_at_every_place(
    document: list[Any], indent: int | None, escaped: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=escaped).encode()
    assert fault_of(text).what.startswith(READS)
    for end in range(1, len(text)):
        assert fault_of(text[:end]).cut_off


@given(st.lists(VALUES, min_size=1), st.randoms(use_true_random=False))
def test_a_fault_is_found_where_the_parser_refuses_and_only_there(
    document: list[Any], random: Random
) -> None:
    text = bytearray(json.dumps(document).encode())
    for _ in range(10):
        changed = bytearray(text)
        changed[random.randrange(len(changed))] = random.choice(
            b"\"\\{}[],:0123456789.eE+-truefalsn \n\t\x01x'"
        )
        try:
            msgspec.json.Decoder(msgspec.Raw).decode(readable(bytes(changed)))
        except msgspec.DecodeError:
            assert not fault_of(bytes(changed)).what.startswith(READS), changed
        else:
            assert fault_of(bytes(changed)).what.startswith(READS), changed


@given(st.lists(st.sampled_from([r"\ud83d", r"\uDE00", r"\\", r"\n", r"\"", "ud83d", "é", "😀", r"A"])))
def test_only_lone_surrogates_are_replaced_and_all_of_them(parts: list[str]) -> None:
    text = f'"{"".join(parts)}"'
    replaced = readable(text.encode())
    assert len(replaced) == len(text.encode())
    value: str = json.loads(text)
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    expected = "".join("\ufffd" if 0xD800 <= ord(one) <= 0xDFFF else one for one in whole)
    assert msgspec.json.decode(replaced) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[NaN]", r"NaN is no JSON \(byte 1\)"),
        ("[1, -Infinity]", r"Infinity is no JSON \(byte 4\)"),
        ('["a\tb"]', r"control character 0x09 stands within a text, not escaped \(byte 3\)"),
        (r'["\x41"]', r"a backslash begins an escape that JSON does not have \(byte 2\)"),
        ("[{'a': 1}]", r"a single quote is no JSON \(byte 2\)"),
        ("[{a: 1}]", r"something stands there that is no JSON \(byte 2\)"),
        ("[1, ]", "a comma stands before the end"),
        ('[{"a" 1}]', "a colon is missing"),
        ("[1 2]", "a comma or a closing bracket is missing"),
        ("[01]", "a number is written as JSON does not allow"),
        ("[1] // done", "something follows the JSON text"),
        ("[1][2]", "something follows the JSON text"),
        ('[{"a": 1}, <br/>Fatal error', "a page or XML begins there"),
        ("\x00[\x001\x00]", "as in UTF-16"),
        ("[" * 5000 + "]" * 5000, "arrays and objects stand in each other 5000 levels deep"),
        ('[{"a":' * 1500 + "1" + "}]" * 1500, "3000 levels deep"),
    ],
)
def test_what_the_parser_refuses_is_named_and_is_not_cut_off(text: str, what: str) -> None:
    with pytest.raises(AnswerUnusable, match=what):
        decoded(DECODER, text.encode(), "here")


@pytest.mark.parametrize("text", ['[{"a', "[1, 2", '["\\u12', "[tru", "[-", '[{"a":1},', "["])
def test_what_ends_too_early_is_cut_off(text: str) -> None:
    with pytest.raises(CutOff):
        decoded(DECODER, text.encode(), "here")
