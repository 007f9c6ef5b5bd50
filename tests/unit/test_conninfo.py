"""Connection strings are read as libpq reads them; the witness is libpq itself, from the wheel.

``GROUNDWORK_TEST_CONNINFO`` is the number of strings; docs/development.md.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from demo.postgres import binaries
from groundwork.sources import conninfo

COUNT = int(os.environ.get("GROUNDWORK_TEST_CONNINFO", "300"))


class _Option(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "value", "label", "display")],
        ("size", ctypes.c_int),
    ]


@cache
def libpq() -> ctypes.CDLL:
    library = ctypes.CDLL(str(binaries().parent / "lib" / "libpq.so.5"))
    library.PQconninfoParse.restype = ctypes.POINTER(_Option)
    library.PQconndefaults.restype = ctypes.POINTER(_Option)
    library.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
    library.PQconninfoFree.argtypes = [ctypes.POINTER(_Option)]
    library.PQfreemem.argtypes = [ctypes.c_void_p]
    return library


def witness(text: str) -> dict[str, bytes] | None:
    """What libpq reads; None when it refuses."""
    error = ctypes.c_void_p()
    found = libpq().PQconninfoParse(text.encode("utf-8", "surrogateescape"), ctypes.byref(error))
    if not found:
        assert error.value
        libpq().PQfreemem(error)
        return None
    options: dict[str, bytes] = {}
    for option in found:
        if option.keyword is None:
            break
        if option.value is not None:
            options[option.keyword.decode()] = option.value
    libpq().PQconninfoFree(found)
    return options


def ours(text: str) -> dict[str, bytes] | None:
    try:
        read = conninfo.parse(text)
    except conninfo.NotUnderstood:
        return None
    return {name: value.encode("utf-8", "surrogateescape") for name, value in read.items()}


NAMES = st.sampled_from([*sorted(conninfo.OPTIONS), "ssl", "requiressl", "nothing", "Host", ""])
WORDS = st.one_of(
    st.sampled_from(
        ["a", "true", "1", "::1", "db.example", "5432", "%20", "%2F", "%", "%00", "%zz", "%ff", "ü", ""]
    ),
    st.text(st.sampled_from("ab1 %:@/?,&='\\[]\t\n\v.#+é"), max_size=6),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=4),
)
SPACE = st.sampled_from(["", "", "", " ", "\t", "\n ", "\v"])
QUOTED = WORDS.map(lambda word: "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'")
PAIR = st.tuples(
    SPACE, NAMES, SPACE, st.sampled_from(["=", "=", "=", ""]), SPACE, st.one_of(WORDS, QUOTED), SPACE
)
KEYWORDS = st.lists(PAIR.map("".join), max_size=4).map(" ".join)
NETLOC = st.tuples(
    st.one_of(WORDS, WORDS.map("[{}]".format)), st.sampled_from(["", "", ":", ":5432", ":é%31"])
)
QUERY = st.tuples(NAMES, st.sampled_from(["=", "=", "=", "", "=="]), WORDS).map("".join)
URIS = st.tuples(
    st.sampled_from(["postgresql://", "postgres://", "Postgres://", "postgresql:/"]),
    st.one_of(
        st.just(""), WORDS.map("{}@".format), st.tuples(WORDS, WORDS).map(lambda two: f"{two[0]}:{two[1]}@")
    ),
    st.lists(NETLOC.map("".join), max_size=3).map(",".join),
    st.one_of(st.just(""), WORDS.map("/{}".format)),
    st.one_of(st.just(""), st.lists(QUERY, max_size=3).map("&".join).map("?{}".format)),
).map("".join)


@pytest.mark.parametrize("number", range(max(1, COUNT // 1000)))
def test_every_string_is_read_as_libpq_reads_it(number: int) -> None:
    @seed(number)
    @settings(max_examples=min(COUNT, 1000), deadline=None, database=None)
    @given(st.one_of(URIS, KEYWORDS, WORDS))
    def compared(text: str) -> None:
        assert ours(text) == witness(text)

    compared()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql://",
        "postgresql:///mydb?host=/var/run&port=5433",
        "postgresql://u:p@h1:1,h2,[::1]:3/d",
        "postgresql://h/d?ssl=true",
        "postgresql://h/d?ssl=false",
        "host=h dbname='a b' password='it\\'s'user=x",
        "host = h",
        "postgresql://%2Fvar%2Frun/d",
        "postgresql://u@/d",
        "postgresql://:p@h",
        "postgresql://a%",
        "postgresql://h/d?a=b",
        "postgresql://u:p%40@h:5432/d?options=-c%20geqo%3Doff&channel_binding=require&sslmode=require",
        "host=a\\ b",
        "host='a",
        "postgresql://h/ d ?sslmode=require",
        "requiressl=1",
        "requiressl=0",
        "host",
        "host=h dbname",
        "user=\\",
    ],
)
def test_strings_as_providers_give_them(text: str) -> None:
    assert ours(text) == witness(text)


def test_the_options_are_those_of_libpq() -> None:
    known = set()
    for option in libpq().PQconndefaults():
        if option.keyword is None:
            break
        known.add(option.keyword.decode())
    assert known == conninfo.OPTIONS


def test_a_refusal_repeats_no_value() -> None:
    for text in ("postgresql://u:geheim%@h/d", "password='geheim", "geheim", "geheim=1 x", "geheim%1=x"):
        with pytest.raises(conninfo.NotUnderstood) as refused:
            conninfo.parse(text)
        assert "geheim" not in str(refused.value) or text.startswith("geheim=")
