"""A connection to PostgreSQL whose bulk data is received as raw bytes.

pg8000 signs in (SCRAM, MD5, certificates) and runs ordinary statements. Copies and the replication stream
are received here from the same socket straight into flat buffers, without a Python object per row: that is
where the speed comes from.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from groundwork.errors import ProtocolError
from groundwork.sources.address import Address
from groundwork.sources.framing import Framed, frame, row_candidates, stream_candidates
from groundwork.sources.incoming import GATHER_SECONDS, Incoming, broken
from groundwork.sources.server_errors import said, translated
from groundwork.sources.signing_in import sign_in
from groundwork.sources.views import Buffer

_SIGN_OF_LIFE_SECONDS = 10.0
"""How often the server hears from us in a long transaction; silent readers are cut off."""

_COPY_SECONDS = 5.0
"""The same for a copy, whose end shows itself: few large pieces cost less than many small ones."""

PINNED = {
    # The settings that decide how values are printed; a server's, role's or database's own would differ.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    "quote_all_identifiers": "off",
    # A policy that would hide rows from us raises an error instead.
    "row_security": "off",
    # Long work of ours must not be cut by limits that are meant for an application.
    "statement_timeout": "0",
    # Nor may a forgotten transaction with a lock hold us up for ever.
    "lock_timeout": "600s",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "wal_sender_timeout": "300s",
    # The barrier must be on the server's disk to come back to us; its standbys may be away.
    "synchronous_commit": "local",
}


class Connection:
    """One connection, for statements, copies, or the replication stream."""

    def __init__(self, address: Address, where: str, *, replication: bool = False) -> None:
        """Connect and sign in, with pinned settings.

        Raises:
            SourceUnreachable: when there is no connection.
            SourceRefused: when the server does not let us in.
        """
        self.where = where
        self._socket, self._driver = sign_in(address, where, PINNED, replication=replication)

    def run(self, sql: str, **parameters: Any) -> list[list[Any]]:
        """Run one statement (``:name`` for parameters; none on a replication connection).

        Raises:
            SourceError: as the server's error class says.
        """
        with said(self.where):
            return self._driver.run(sql, **parameters) or []

    def parameter(self, name: str) -> str:
        """A setting that the server reported when we signed in."""
        return str(self._driver.parameter_statuses.get(name, ""))

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self.interrupt()
        self._socket.close()

    def interrupt(self) -> None:
        """Break the connection off; a thread that waits for it gets `SourceUnreachable`."""
        # Not a polite goodbye: in the middle of a stream the server would not read one.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def __enter__(self) -> Connection:
        """Use as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def copy_rows(self, sql: str) -> Iterator[tuple[Buffer, Framed]]:
        """Run ``COPY … TO STDOUT`` and yield its rows, many at a time.

        A buffer is used again for the rows that follow: whoever wants to keep its bytes copies them.

        Raises:
            SourceError: as the server's error class says.
        """
        self._send(_query(sql))
        incoming = Incoming(self._socket, self.where)
        while True:
            buffer, filled = incoming.gather_answer(_COPY_SECONDS)
            framed = frame(buffer, filled, row_candidates(buffer.bytes, filled))
            if len(framed.starts):
                yield buffer, framed
            incoming.keep(framed.consumed, fresh=False)
            if framed.other and self._control(incoming) == "Z":
                return

    def start_stream(self, sql: str, lsn: int) -> None:
        """Run ``START_REPLICATION``; afterwards only `receive`, `acknowledge` and `end_stream` may be used.

        Args:
            sql: the statement.
            lsn: the position it begins at, which is durable here.

        Raises:
            SourceBusy: when another connection reads the slot.
            SourceError: as the server's error class says.
        """
        self._send(_query(sql))
        self._incoming = Incoming(self._socket, self.where)
        while self._control(self._incoming) != "W":
            pass
        self._durable, self._said = lsn, time.monotonic()

    def receive(self, wanted: bytes) -> tuple[Buffer, Framed, bool]:
        """The next messages of the stream, none when nothing came for a while; and whether it was seen.

        Args:
            wanted: bytes that, once received, make it return without waiting for more.
        """
        if time.monotonic() - self._said > _SIGN_OF_LIFE_SECONDS:
            self.acknowledge(self._durable)
        buffer, filled, seen = self._incoming.gather(wanted)
        framed = frame(buffer, filled, stream_candidates(buffer.bytes, filled))
        if framed.other and not len(framed.starts):
            self._control(self._incoming)
        return buffer, framed, seen

    def keep(self, consumed: int) -> None:
        """Drop received bytes up to a position; the rest is seen again with what comes."""
        self._incoming.keep(consumed)

    def acknowledge(self, lsn: int, *, answer: bool = False) -> None:
        """Tell the server that everything before a position is durable here; ask it for an answer if need be.

        ("Standby status update", PostgreSQL manual, Streaming Replication Protocol.)
        """
        since_2000 = int((time.time() - 946_684_800) * 1_000_000)
        body = struct.pack(">cQQQqc", b"r", lsn, lsn, lsn, since_2000, bytes([answer]))
        self._send(b"d" + struct.pack(">I", len(body) + 4) + body)
        self._durable, self._said = lsn, time.monotonic()

    def end_stream(self) -> None:
        """End the stream; on return the server has stored the last acknowledgement."""
        self._send(b"c\0\0\0\x04")
        while True:
            buffer, filled = self._incoming.gather_answer(GATHER_SECONDS)
            framed = frame(buffer, filled, stream_candidates(buffer.bytes, filled))
            self._incoming.keep(framed.consumed)
            if framed.other and self._control(self._incoming) == "Z":
                return

    def _control(self, incoming: Incoming) -> str:
        """Read messages that are not data, up to one that says how it goes on; return its letter."""
        while True:
            letter, body = incoming.message()
            if letter == "E":
                fields = {p[:1].decode(): p[1:].decode("utf-8", "replace") for p in body.split(b"\0") if p}
                raise translated(self.where, fields)
            if letter in "ZWH":
                return letter
            if letter not in "cCNSAT":
                raise ProtocolError(self.where, f"message {letter!r} was not expected here")
            # A notice may come alone in the middle of a stream, with nothing behind it to wait for.
            if letter == "N" or incoming.next_is_data():
                return letter

    def _send(self, message: bytes) -> None:
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise broken(self.where, error) from error


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal, whatever it holds and however ``standard_conforming_strings`` is set."""
    doubled = text.replace("'", "''")
    return f" E'{doubled.replace(chr(92), chr(92) * 2)}'" if chr(92) in text else f"'{doubled}'"


def _query(sql: str) -> bytes:
    encoded = sql.encode() + b"\0"
    return b"Q" + struct.pack(">I", len(encoded) + 4) + encoded
