"""Proof that the server's WAL still is the one that was read.

A server whose disk was set back to an older snapshot keeps its system identifier and its timeline, so it
looks like the server that was read. While its WAL ends before the cursor, `cluster.check_position` sees it.
Once it has passed the cursor again, its slot still stands where the snapshot left it, before the cursor: then
the WAL between the two is read once more, and its last transaction must be the one that the cursor remembers,
by position and commit time. A crash also takes a slot back, because the server writes a slot to its disk at a
checkpoint only; then that transaction is there.
"""

from __future__ import annotations

import logging

import numpy as np

from groundwork.sources import catching_up, slot
from groundwork.sources.cluster import went_back
from groundwork.sources.framing import Framed
from groundwork.sources.pgoutput import PAYLOAD, Decoded, Decoder
from groundwork.sources.reading import LOG, Reading
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.views import Buffer, Positions

log = logging.getLogger(__name__)

COMMIT = "commit"
"""The part of the log's cursor that names the last transaction that was read: ``end of its commit@µs``."""


def last_commit(buffer: Buffer, commits: Positions, starts: Positions) -> str:
    """The last of some transactions, as the cursor names it.

    Args:
        buffer: the bytes, before they are decoded.
        commits: numbers of the messages that end a transaction, see `Decoder.commits`; not empty.
        starts: where each message begins.
    """
    body = starts[commits[-1:]] + PAYLOAD
    (end,), (at,) = buffer.int64(body + 10), buffer.int64(body + 18).view(np.int64)
    return f"{lsn_text(int(end))}@{int(at)}"


def check_transactions(reading: Reading, confirmed: int) -> None:
    """Refuse a server whose WAL up to the cursor is not the one that was read.

    Args:
        reading: the run.
        confirmed: where the slot stands. At the cursor itself the server has stored our acknowledgement of
            it, so its disk is not older.

    Raises:
        SlotLost: when it is another.
    """
    cursor = reading.state[LOG]
    end = lsn_number(cursor["lsn"])
    if confirmed >= end or COMMIT not in cursor:
        return
    known = cursor[COMMIT]
    expected = known if known and lsn_number(known.partition("@")[0]) > confirmed else ""
    found = _read_again(reading, confirmed, end)
    log.info(
        "compared what was read before source=%s from=%s to=%s same=%s",
        reading.source, lsn_text(confirmed), lsn_text(end), found == expected,
    )  # fmt: skip
    if found != expected:
        last = found.partition("@")[0] or "none"
        raise went_back(
            reading, f"the last transaction before {lsn_text(end)} is not the one that was read there"
            f" (it ends at {last}, and was at {expected.partition('@')[0] or 'none'})",
        )  # fmt: skip


def _read_again(reading: Reading, start: int, end: int) -> str:
    """The last transaction between two positions, as the cursor names it; empty when there is none."""
    decoder, last, position = Decoder(lambda _: None), "", 0
    with reading.replication() as stream:
        stream.start_stream(slot.streaming(reading.slot, start, reading.entry.connection.publication), start)
        stalled = catching_up.Stalled(reading.where)
        while position < end:
            stream.acknowledge(start, answer=True)
            buffer, framed, _ = stream.receive(b"")
            commits = decoder.commits(buffer, framed)
            if len(commits):
                ends = buffer.int64(framed.starts[commits] + PAYLOAD + 10)
                within = commits[ends.astype(np.int64) <= end]
                last = last_commit(buffer, within, framed.starts) if len(within) else last
                position = max(position, int(ends[-1]))
            if len(framed.starts):
                position = max(position, _keepalive(buffer, framed))
                stream.keep(int(framed.ends[-1]))
            stalled.check(position, framed, buffer)
        stream.end_stream()
    return last


def _keepalive(buffer: Buffer, framed: Framed) -> int:
    return catching_up.position(buffer, framed, len(framed.starts), Decoded())
