"""Addresses and receiving: what needs no server."""

from __future__ import annotations

import pickle
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundwork.errors import ProtocolError, SlotLost, SourceRefused, SourceUnreachable
from groundwork.sources import incoming
from groundwork.sources.address import Address
from groundwork.sources.incoming import Incoming
from groundwork.sources.slot import lsn_number, lsn_text, slot_name
from groundwork.sources.wire import quoted


def test_an_address_is_read_whole_and_shown_without_its_password() -> None:
    address = Address.parse(
        "postgresql://me%40x:p%2Fw%3A@db.example:6543/my%20db?sslmode=verify-full&sslrootcert=/ca", "here"
    )
    assert (address.user, address.password, address.host, address.port) == (
        "me@x",
        "p/w:",
        "db.example",
        6543,
    )
    assert (address.database, address.sslmode, address.sslrootcert) == ("my db", "verify-full", "/ca")
    assert "p/w" not in f"{address} {address!r}"
    assert Address.parse("postgres://u@[::1]/d", "here").host == "::1"


@given(st.text(max_size=60).filter(lambda text: not {"/", "@"} & set(text)))
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    """Without these signs it is a user and a password, and there is no host."""
    with pytest.raises(SourceRefused) as caught:
        Address.parse("postgresql://" + text + "@", "here")
    assert caught.value.__cause__ is None
    assert str(caught.value).startswith("here: the connection URL is not understood")


@pytest.mark.parametrize(
    ("text", "number"), [("0/0", 0), ("16/B374D848", 0x16B374D848), ("FFFFFFFF/FFFFFFFF", 2**64 - 1)]
)
def test_positions_are_written_as_the_server_writes_them(text: str, number: int) -> None:
    assert (lsn_number(text), lsn_text(number)) == (number, text)


def test_a_slots_name_fits_and_differs_between_buckets() -> None:
    long = slot_name("x" * 41, "s3://lake/a")
    assert len(long) <= 63
    assert slot_name("shop", "s3://lake/a") != slot_name("shop", "s3://lake/b")


def test_identifiers_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'


def test_errors_survive_being_carried_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SlotLost("here", "gone", why="because", fix="do")))
    assert (type(error), str(error)) == (SlotLost, str(SlotLost("here", "gone", why="because", fix="do")))


def test_a_large_message_that_trickles_in_does_not_grow_the_buffer_beyond_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incoming, "CHUNK", 1 << 16)
    monkeypatch.setattr(incoming, "GATHER_SECONDS", 0.001)
    ours, theirs = socket.socketpair()
    body = b"x" * 300_000
    message = b"d" + struct.pack(">I", len(body) + 4) + body

    def trickle() -> None:
        for start in range(0, len(message), 2000):
            theirs.sendall(message[start : start + 2000])
        theirs.close()

    sender = threading.Thread(target=trickle)
    with ours:
        received = Incoming(ours, "here")
        sender.start()
        rounds, filled = 0, 0
        while filled < len(message):
            buffer, filled, _ = received.gather()
            rounds += 1
            assert len(buffer.bytes) < 4 * len(message)
        assert buffer.bytes[:filled].tobytes() == message
        with pytest.raises(SourceUnreachable, match="here: the connection broke"):
            received.gather()
            received.gather()
    sender.join(60)


def test_what_is_wanted_ends_the_waiting_wherever_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "GATHER_SECONDS", 30)
    for cut in (1, 5, 9):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            received = Incoming(ours, "here")
            theirs.sendall(b"before " + b"the barrier"[:cut])
            sender = threading.Timer(0.05, theirs.sendall, [b"the barrier"[cut:] + b" after"])
            sender.start()
            buffer, filled, seen = received.gather(b"the barrier")
            sender.join(60)
            assert seen
            assert b"the barrier" in buffer.bytes[:filled].tobytes()


def test_kept_receivedstand_before_what_comes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received = Incoming(ours, "here")
        theirs.sendall(b"abcdef")
        first, filled, _ = received.gather(b"f")
        received.keep(4)
        theirs.sendall(b"gh")
        second, filled, _ = received.gather(b"h")
        assert second.bytes[:filled].tobytes() == b"efgh"
        assert first.bytes[:6].tobytes() == b"abcdef"  # columns may still point there


@pytest.mark.parametrize("length", [0, 3, (1 << 30) + 1, (1 << 32) - 1])
def test_a_length_that_cannot_be_is_no_reason_to_wait_or_to_take_memory(length: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"E" + struct.pack(">I", length) + b"SERROR")
        with pytest.raises(ProtocolError, match=f"here: a message of {length} bytes is impossible"):
            Incoming(ours, "here").message()
