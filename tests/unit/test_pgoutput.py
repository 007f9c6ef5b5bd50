# ruff: noqa: E501 (statements and messages read better in one line)
"""The decoder of the log: right rows or an error that names the place, whatever the bytes are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundwork.errors import ProtocolError, SourceRefused
from groundwork.sources.framing import frame, padded, stream_candidates
from groundwork.sources.pgoutput import Decoder

TABLE, OTHER = 16400, 16500
Row = list[str | bytes | None]  # bytes: sent as they are, for unchanged ("u") and bad ones


def wrap(payload: bytes) -> bytes:
    body = b"w" + struct.pack(">QQq", 1, 2, 3) + payload
    return b"d" + struct.pack(">I", len(body) + 4) + body


def keepalive() -> bytes:
    body = b"k" + struct.pack(">QqB", 1, 2, 0)
    return b"d" + struct.pack(">I", len(body) + 4) + body


def begin(lsn: int, at: int = 0) -> bytes:
    return wrap(b"B" + struct.pack(">QqI", lsn, at, 7))


def commit(lsn: int) -> bytes:
    return wrap(b"C\0" + struct.pack(">QQq", lsn, lsn + 10, 0))


def relation(
    table: int = TABLE, columns: str = "id name", keys: str = "id", name: str = "t", identity: str = "d"
) -> bytes:
    names = columns.split()
    described = b"".join(
        bytes([column in keys.split()]) + column.encode() + b"\0" + struct.pack(">Ii", 25, -1)
        for column in names
    )
    return wrap(
        b"R"
        + struct.pack(">I", table)
        + b"public\0"
        + name.encode()
        + b"\0"
        + identity.encode()
        + struct.pack(">H", len(names))
        + described
    )


def row(values: Row) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, bytes):
            parts.append(value)
        else:
            encoded = value.encode()
            parts.append(b"t" + struct.pack(">I", len(encoded)) + encoded)
    return b"".join(parts)


def insert(values: Row, table: int = TABLE) -> bytes:
    return wrap(b"I" + struct.pack(">I", table) + b"N" + row(values))


def update(values: Row, old: Row | None = None, mark: bytes = b"K", table: int = TABLE) -> bytes:
    before = b"" if old is None else mark + row(old)
    return wrap(b"U" + struct.pack(">I", table) + before + b"N" + row(values))


def delete(values: Row, mark: bytes = b"K", table: int = TABLE) -> bytes:
    return wrap(b"D" + struct.pack(">I", table) + mark + row(values))


def truncate(*tables: int) -> bytes:
    return wrap(b"T" + struct.pack(">IB", len(tables), 0) + b"".join(struct.pack(">I", t) for t in tables))


def logical(prefix: str, content: bytes) -> bytes:
    return wrap(
        b"M\1" + struct.pack(">Q", 9) + prefix.encode() + b"\0" + struct.pack(">I", len(content)) + content
    )


def decoded(content: bytes, key: list[str] | None = None, decoder: Decoder | None = None) -> Any:
    buffer = padded(content)
    framed = frame(buffer, len(content), stream_candidates(buffer.bytes, len(content)))
    decoder = decoder or Decoder(lambda _: ["id"] if key is None else key)
    return decoder.decode(buffer, framed, len(framed.starts))


def rows(result: Any) -> list[dict[str, Any]]:
    found = [r for change in result.changes for r in change.frame.to_dicts()]
    return sorted(found, key=lambda r: r["_sequence"])


def told(result: Any) -> list[tuple[Any, ...]]:
    return [
        (r["_operation"], *(v for n, v in r.items() if n[0] != "_"), r["_unchanged"]) for r in rows(result)
    ]


def test_a_transaction_becomes_rows_in_its_order() -> None:
    result = decoded(
        begin(256, 5) + relation() + insert(["1", "a"]) + update(["1", "b"]) + insert(["2", None])
        + update(["3", ""], old=["2", None]) + delete(["1", None]) + keepalive() + commit(256)
    )  # fmt: skip
    assert told(result) == [
        ("insert", "1", "a", None),
        ("update", "1", "b", None),
        ("insert", "2", None, None),
        ("delete", "2", None, None),
        ("update", "3", "", None),
        ("delete", "1", None, None),
    ]
    assert [r["_sequence"] for r in rows(result)] == [
        f"0000000000000100/{n:08x}" for n in (2, 4, 6, 7, 8, 10)
    ]
    assert {r["_committed_at"].isoformat() for r in rows(result)} == {"2000-01-01T00:00:00.000005"}
    assert result.end_lsn == 266


def test_a_transaction_may_be_cut_anywhere_between_messages() -> None:
    messages = [
        begin(256), relation(), insert(["1", "a"]), update(["9", "a"], old=["1", None]), truncate(TABLE),
        logical("x", b"y"), insert(["2", "b"]), commit(256), begin(300), insert(["3", "c"]), commit(300),
    ]  # fmt: skip
    whole = told(decoded(b"".join(messages)))
    for cut in range(len(messages) + 1):
        decoder = Decoder(lambda _: ["id"])
        parts = [decoded(b"".join(part), decoder=decoder) for part in (messages[:cut], messages[cut:])]
        assert [line for part in parts for line in told(part)] == whole
        places = [r["_sequence"] for part in parts for r in rows(part)]
        assert places == sorted(set(places))


def test_a_change_of_shape_within_a_buffer_is_followed() -> None:
    result = decoded(
        begin(1) + relation() + insert(["1", "a"]) + relation(columns="id name extra") + insert(["2", "b", "c"])
        + relation(columns="id") + insert(["3"]) + commit(1)
    )  # fmt: skip
    assert [change.frame.columns[:-4] for change in result.changes] == [
        ["id", "name"],
        ["id", "name", "extra"],
        ["id"],
    ]
    assert [r["id"] for r in rows(result)] == ["1", "2", "3"]


def test_an_old_row_fills_in_what_the_new_one_does_not_repeat() -> None:
    content = (
        begin(1)
        + relation(keys="id name")
        + update(["1", b"u"], ["1", "long"], b"O")
        + insert(["2", "x"])
        + commit(1)
    )
    assert told(decoded(content)) == [("update", "1", "long", None), ("insert", "2", "x", None)]
    assert told(decoded(content, key=[])) == [
        ("delete", "1", "long", None),
        ("insert", "1", "long", None),
        ("insert", "2", "x", None),
    ]


def test_an_unchanged_value_without_an_old_row_is_named() -> None:
    result = decoded(begin(1) + relation() + update(["1", b"u"]) + update(["2", "x"]) + commit(1))
    assert told(result) == [("update", "1", None, '["name"]'), ("update", "2", "x", None)]


def test_tables_that_nobody_wants_are_left_out() -> None:
    content = (
        begin(1)
        + relation()
        + relation(OTHER, name="other")
        + insert(["1", "a"], OTHER)
        + truncate(TABLE, OTHER)
        + commit(1)
    )
    result = decoded(content, decoder=Decoder(lambda name: ["id"] if name == "public.t" else None))
    assert told(result) == [("truncate", None, None, None)]


def test_positions_can_be_raised_above_those_of_another_cluster() -> None:
    result = decoded(
        begin(5) + relation() + insert(["1", "a"]) + commit(5), decoder=Decoder(lambda _: ["id"], 1 << 56)
    )
    assert rows(result)[0]["_sequence"] == "0100000000000005/00000002"


@pytest.mark.parametrize("key", [["name"], []])
def test_a_change_that_does_not_name_its_record_is_refused(key: list[str]) -> None:
    with pytest.raises(SourceRefused, match=r"public.t: an update or delete does not name its record"):
        decoded(begin(1) + relation() + delete(["1", None]) + commit(1), key=key)


OPEN = begin(1) + relation()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (insert(["1", "a"]), "message 'I' does not follow from what came before"),
        (OPEN + begin(2), "message 'B' does not follow"),
        (commit(1), "message 'C' does not follow"),
        (OPEN + commit(2), "a commit at another position"),
        (OPEN + insert(["1"]), "a row with another number of columns"),
        (OPEN + insert(["1", "a"], OTHER), "a row of table 16500, which was never described"),
        (OPEN + truncate(OTHER), "a truncation of table 16500, which was never described"),
        (OPEN + wrap(b"T" + struct.pack(">IB", 0xFFFFFFFF, 0) + b"abcd"), "a truncation of 4294967295 tables in 10 bytes"),
        (OPEN + wrap(b"Z..."), "message 'Z' of .* is not understood"),
        (OPEN + wrap(b"I\0"), "message 'I' of .* is not understood"),
        (OPEN + wrap(b""), "a message is too short"),
        (OPEN + b"d\0\0\0\5x", "neither log data nor a keepalive"),
        (OPEN + b"d\0\0\0\4", "neither log data nor a keepalive"),
        (OPEN + insert(["1", b"t\xff\xff\xff\xff"]), "column 'name' passes its row's end"),
        (OPEN + insert(["1", b"t\0\0\0\x09abc"]), "column 'name' passes its row's end"),
        (OPEN + insert(["1", b"bxxxx"]), "column 'name' is not text"),
        (OPEN + insert(["1", b""]), "a row ends before column 'name'"),
        (OPEN + insert(["1", "a" ]).replace(b"N\0\2", b"K\0\2"), "a change without its row"),
        (OPEN + delete(["1", None], b"N"), "a change without its row"),
        (OPEN + update(["1", "a"], ["1", None], b"X"), "an old row that is not one"),
        (OPEN + wrap(b"U" + struct.pack(">I", TABLE) + b"K" + row(["1", None])), "a change without its row|a row without columns"),
        (OPEN + wrap(b"I" + struct.pack(">I", TABLE) + b"N" + row(["1", "a"]) + b"!"), "a row does not fill its message"),
        (OPEN + wrap(b"M\1" + struct.pack(">Q", 9) + b"p\0" + struct.pack(">I", 100) + b"x"), "a logical message does not fill"),
        (OPEN + wrap(b"R" + struct.pack(">I", 1) + b"public\0t\0d" + struct.pack(">H", 900)), "a table's description does not fill"),
    ],
)  # fmt: skip
def test_bytes_that_the_protocol_does_not_allow_are_named_with_their_place(
    content: bytes, message: str
) -> None:
    with pytest.raises(ProtocolError, match=rf"byte \d+ of the stream.*: ({message})"):
        decoded(content)


# -- random streams: an independent model of what they mean ------------------------------------------

values = st.none() | st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[Any, ...]]]:
    """Messages of some transactions, and what they should become."""
    messages, meaning, shape = [], [], ["id", "name"]
    messages += [begin(1), relation(), commit(1)]
    for number in range(draw(st.integers(1, 4))):
        lsn = 100 + number
        messages.append(begin(lsn))
        for _ in range(draw(st.integers(0, 6))):
            action = draw(
                st.sampled_from(
                    ["insert", "update", "move", "delete", "truncate", "shape", "message", "keepalive"]
                )
            )
            name = [draw(values) for _ in shape[1:]]
            empty: list[None] = [None] * len(name)
            identity, other = draw(st.sampled_from("123456789")), draw(st.sampled_from("abc"))
            if action == "insert":
                messages.append(insert([identity, *name]))
                meaning.append(("insert", identity, *name))
            elif action == "update":
                messages.append(update([identity, *name]))
                meaning.append(("update", identity, *name))
            elif action == "move":
                messages.append(update([other, *name], [identity, *empty]))
                meaning += [("delete", identity, *empty), ("update", other, *name)]
            elif action == "delete":
                messages.append(delete([identity, *empty]))
                meaning.append(("delete", identity, *empty))
            elif action == "truncate":
                messages.append(truncate(TABLE))
                meaning.append(("truncate", None, *empty))
            elif action == "shape":
                shape = ["id", *(f"c{i}" for i in range(draw(st.integers(0, 3))))]
                messages.append(relation(columns=" ".join(shape)))
            else:
                messages.append(logical("p", b"c") if action == "message" else keepalive())
        messages.append(commit(lsn))
    return messages, meaning


def outcome(act: Callable[[], Any]) -> list[tuple[Any, ...]] | ProtocolError:
    try:
        return [line[:-1] for line in told(act())]
    except ProtocolError as error:
        assert "byte " in str(error)
        return error


@given(streams(), st.integers(0, 30))
def test_random_streams_become_what_they_mean_however_they_are_cut(
    stream: tuple[list[bytes], list[tuple[Any, ...]]], cut: int
) -> None:
    messages, meaning = stream
    decoder = Decoder(lambda _: ["id"])
    parts = [decoded(b"".join(part), decoder=decoder) for part in (messages[:cut], messages[cut:])]
    assert [line[:-1] for part in parts for line in told(part)] == meaning


@settings(max_examples=200)
@given(streams(), st.data())
def test_a_stream_cut_within_a_message_gives_the_rows_before_or_an_error(
    stream: tuple[list[bytes], list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    messages, meaning = stream
    content = b"".join(messages)
    got = outcome(lambda: decoded(content[: data.draw(st.integers(0, len(content)))]))
    assert isinstance(got, ProtocolError) or got == meaning[: len(got)]


@settings(max_examples=200)
@given(streams(), st.data())
def test_messages_in_another_order_give_an_error_or_only_rows_that_were_sent(
    stream: tuple[list[bytes], list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    messages, meaning = stream
    got = outcome(lambda: decoded(b"".join(data.draw(st.permutations(messages)))))
    assert isinstance(got, ProtocolError) or sorted(map(repr, got)) == sorted(map(repr, meaning))


@settings(max_examples=400)
@given(
    streams(),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4),
)
@example((([begin(1), relation(), insert(["1", "a"]), commit(1)]), []), [(0.5, 7)])
def test_flipped_bits_give_rows_or_an_error_and_nothing_else(
    stream: tuple[list[bytes], list[tuple[Any, ...]]], flips: list[tuple[float, int]]
) -> None:
    content = bytearray(b"".join(stream[0]))
    for place, bit in flips:
        content[int(place * len(content))] ^= 1 << bit
    try:
        result = decoded(bytes(content))
    except (ProtocolError, SourceRefused):
        return
    assert sum(c.frame.height for c in result.changes) <= 2 * len(stream[0])


@given(st.binary(max_size=400))
def test_random_bytes_give_an_error_or_nothing(noise: bytes) -> None:
    for content in (noise, OPEN + wrap(noise), OPEN + wrap(b"I" + struct.pack(">I", TABLE) + b"N" + noise)):
        try:
            decoded(content)
        except (ProtocolError, SourceRefused):
            continue
