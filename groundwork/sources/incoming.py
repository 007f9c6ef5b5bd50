"""Bytes from a server, gathered in one flat buffer at a time."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable

import numpy as np

from groundwork.errors import ProtocolError, SourceUnreachable
from groundwork.sources.framing import LARGEST
from groundwork.sources.views import PADDING, Buffer, Bytes

CHUNK = 8 << 20
"""Bytes received before they are decoded, when the server has that many. Columns of so many rows fit the
processor's cache: 24 MB take a quarter more time, and more memory."""

SILENT_SECONDS = 7200.0
"""How long to wait for a server that says nothing. A connection that is gone shows within a minute; this is
for a server that is stopped, or searches a large table for rows that a row filter lets through."""

_READY = b"Z\0\0\0\5"
"""Beginning of the message that ends every answer ("ReadyForQuery"); seeing it saves waiting for more."""

GATHER_SECONDS = 0.2
"""How long to gather bytes before decoding what there is."""

_SIP = 64 << 10
"""After fewer bytes than this the next ones are waited for a little."""

_SIP_SECONDS = 0.001


class Incoming:
    """Bytes from a socket, gathered in one flat buffer at a time."""

    def __init__(self, sock: socket.socket, where: str) -> None:
        """Begin with nothing received."""
        self._socket, self._where = sock, where
        self._content: Bytes = np.empty(CHUNK + PADDING, np.uint8)
        self._filled, self._heard = 0, time.monotonic()

    def gather(self, wanted: bytes = b"") -> tuple[Buffer, int, bool]:
        """Receive until the buffer is full, or ``wanted`` came, or bytes have waited long enough.

        Args:
            wanted: bytes that end the wait.

        Returns:
            The buffer, how many bytes of it are data (perhaps no more than before), and whether ``wanted``
            is among those that came.
        """
        searched, seen = self._filled, False

        def came() -> bool:
            nonlocal searched, seen
            seen = wanted in self._content[searched : self._filled].tobytes()
            searched = max(self._filled - len(wanted), 0)
            return seen

        self._fill(GATHER_SECONDS, came if wanted else bool)
        return Buffer(self._content), self._filled, seen

    def gather_answer(self, seconds: float) -> tuple[Buffer, int]:
        """Receive until the buffer is full, or the server's answer ends, or bytes have waited long enough.

        Args:
            seconds: how long they may wait.

        Returns:
            The buffer, and how many bytes of it are data.
        """
        # Nothing follows the end of an answer, so to look at the last bytes is enough.
        self._fill(0 if self._ended() else seconds, self._ended)
        return Buffer(self._content), self._filled

    def _ended(self) -> bool:
        return self._content[max(self._filled - len(_READY) - 1, 0) : self._filled].tobytes()[:-1] == _READY

    def _fill(self, seconds: float, done: Callable[[], bool]) -> None:
        """Receive until ``done``, asked after each time that something came, or the time is over."""
        deadline = time.monotonic() + seconds
        if self._filled >= len(self._content) // 2:  # what is left is the beginning of a large message
            self._grow()
        before = self._filled
        while self._filled < len(self._content) - PADDING:
            if not self._arrived(max(deadline - time.monotonic(), 0)):
                if time.monotonic() - self._heard > SILENT_SECONDS:
                    raise broken(self._where, TimeoutError())
                return
            try:
                count = self._receive()
            except SourceUnreachable:
                if self._filled > before:  # the last thing said may be why; the next call raises
                    return
                raise
            if done() or time.monotonic() > deadline:
                return
            if count < _SIP and not self._arrived(0):
                # The log comes a message at a time: to be woken for each would cost more than to decode it.
                time.sleep(_SIP_SECONDS)

    def keep(self, consumed: int, *, fresh: bool = True) -> None:
        """Drop received bytes up to a position.

        Args:
            consumed: that position.
            fresh: go on in a new buffer, because columns point into this one. Else it is used again: memory
                that was never touched costs more than the bytes that are copied into it.
        """
        rest = self._content[consumed : self._filled]
        size = max(CHUNK, 2 * len(rest)) + PADDING
        if fresh or len(self._content) != size:
            content = np.empty(size, np.uint8)
            content[: len(rest)] = rest
            self._content = content
        else:
            self._content[: len(rest)] = rest.copy()
        self._filled = len(rest)

    def message(self) -> tuple[str, bytes]:
        """One whole message from the beginning of the buffer: letter and body.

        Raises:
            ProtocolError: when its length cannot be true.
        """
        while self._filled < 5:
            self._receive()
        length = int.from_bytes(self._content[1:5].tobytes(), "big")
        if not 4 <= length <= LARGEST:
            raise ProtocolError(self._where, f"a message of {length} bytes is impossible")
        while self._filled < 1 + length:
            if 1 + length > len(self._content) - PADDING:
                self._grow()
            self._receive()
        letter, body = chr(self._content[0]), self._content[5 : 1 + length].tobytes()
        self._content[: self._filled - 1 - length] = self._content[1 + length : self._filled].copy()
        self._filled -= 1 + length
        return letter, body

    def next_is_data(self) -> bool:
        """Whether a data message is at hand."""
        return self._filled > 0 and self._content[0] == ord("d")

    def _grow(self) -> None:
        larger = np.empty(2 * len(self._content), np.uint8)
        larger[: self._filled] = self._content[: self._filled]
        self._content = larger

    def _arrived(self, seconds: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], seconds)[0])

    def _receive(self) -> int:
        room = self._content.data[self._filled : len(self._content) - PADDING]
        try:
            count = self._socket.recv_into(room)
        except OSError as error:
            raise broken(self._where, error) from error
        if not count:
            raise broken(self._where)
        self._filled, self._heard = self._filled + count, time.monotonic()
        return count


def broken(where: str, error: BaseException | None = None) -> SourceUnreachable:
    """What is to be said of a connection that ended without a word, or on which none came for too long."""
    if isinstance(error, TimeoutError):
        return SourceUnreachable(
            where, f"the server said nothing for {SILENT_SECONDS / 60:.0f} minutes",
            why="it is stopped or overloaded; nothing was committed since the last manifest",
            fix="look at the server, then run again: it goes on from there",
        )  # fmt: skip
    return SourceUnreachable(
        where, "the connection broke", why="nothing was committed since the last manifest",
        fix="run again: it goes on from there",
    )  # fmt: skip
