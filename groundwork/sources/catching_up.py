"""How a run knows that it has read all there was when it began: never by a timer.

On a primary a message of our own is written into the log: when it comes back we are caught up. On a standby
nothing can be written; there it is the position that it had replayed when the run began.
"""

from __future__ import annotations

import time
import uuid
from typing import Protocol

import numpy as np

from groundwork.errors import SourceUnreachable
from groundwork.sources import cluster
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.pgoutput import Decoded
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.views import Buffer
from groundwork.sources.wire import Connection

_PREFIX = "groundwork"

_CHECKPOINT = b"checkpoint"
"""A message that asks for a manifest and an acknowledgement though nothing is new, before an upgrade."""


class Mark(Protocol):
    """What must come by before a run has caught up."""

    wanted: bytes
    """Bytes that are in it, for the receiver to look out for; empty when there are none."""

    def passed(self, decoded: Decoded, position: int, /) -> bool:
        """Whether it has come by, when ``decoded`` is the newest and the log is known up to a position."""
        ...


class Barrier:
    """A message in the log of a primary."""

    def __init__(self, sql: Connection) -> None:
        """Write it (PostgreSQL manual, "Replication Management Functions")."""
        content = uuid.uuid4().hex
        self.wanted = content.encode()
        sql.run(
            "select pg_logical_emit_message(true, cast(:prefix as text), cast(:content as text))",
            prefix=_PREFIX, content=content,
        )  # fmt: skip

    def passed(self, decoded: Decoded, _: int, /) -> bool:
        """Whether the message was decoded."""
        return any(m.prefix == _PREFIX and m.content == self.wanted for m in decoded.messages)


class Replayed:
    """A position in the log of a standby."""

    wanted = b""

    def __init__(self, sql: Connection) -> None:
        """Ask for it."""
        (found,) = sql.run("select cast(pg_last_wal_replay_lsn() as text)")[0]
        self._lsn = lsn_number(found)

    def passed(self, _: Decoded, position: int, /) -> bool:
        """Whether the log is known up to there."""
        return position >= self._lsn


STALLED_SECONDS = 3600.0
"""How long the server may send nothing and come no further. A large transaction of tables that are not ours
takes minutes; a server that waits for a standby (`synchronized_standby_slots`) may never come further."""


class Stalled:
    """Watches that the stream comes further, so that no run waits for ever."""

    def __init__(self, where: str) -> None:
        """Begin now.

        Args:
            where: the source, for errors.
        """
        self._where, self._position, self._since = where, 0, time.monotonic()

    def check(self, position: int, framed: Framed, buffer: Buffer) -> None:
        """Look at what came last.

        Args:
            position: up to where the log is known.
            framed: the messages that came last.
            buffer: their bytes.

        Raises:
            SourceUnreachable: when the server has sent nothing and come no further for too long.
        """
        data = (buffer.bytes[framed.starts + HEADER] == ord("w")).any()
        if data or position > self._position:
            self._position, self._since = position, time.monotonic()
        elif time.monotonic() - self._since > STALLED_SECONDS:
            raise SourceUnreachable(
                self._where, "the server sends nothing, though its WAL has more for us",
                why=f"for {STALLED_SECONDS:.0f} seconds it stood at {lsn_text(self._position)}; perhaps it"
                " waits for a standby that synchronized_standby_slots names",
                fix="look at pg_stat_replication there, then run again",
            )  # fmt: skip


def mark(sql: Connection) -> Mark:
    """What must come by before a run that begins now has caught up."""
    return Replayed(sql) if cluster.in_recovery(sql) else Barrier(sql)


def asked_for(decoded: Decoded) -> bool:
    """Whether somebody wrote ``pg_logical_emit_message(true, 'groundwork', 'checkpoint')``."""
    return any(m.prefix == _PREFIX and m.content == _CHECKPOINT for m in decoded.messages)


def position(buffer: Buffer, framed: Framed, count: int, decoded: Decoded) -> int:
    """Up to where the log is known after the first ``count`` messages; 0 when they do not tell.

    All transactions that were committed before it have come: a commit says where it ends, a keepalive how far
    the server has read (PostgreSQL manual, "Streaming Replication Protocol").
    """
    starts = framed.starts[:count]
    keepalives = starts[buffer.bytes[starts + HEADER] == ord("k")]
    if not len(keepalives):
        return decoded.end_lsn
    (told,) = buffer.int64(np.array([keepalives[-1] + HEADER + 1]))
    return max(decoded.end_lsn, int(told))
