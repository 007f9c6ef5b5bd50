"""Cut a flat buffer of PostgreSQL's CopyData messages into messages, all at once.

A message is ``d``, a 32-bit length that counts itself, and a body (PostgreSQL manual, "Message Formats").
Each message says where the next begins, which would ask for a loop; instead every place that *looks like*
a beginning is found by a vector comparison, and the chain from each to the next is then checked in full.
So a false candidate is dropped, and a message the search cannot see (16 MB and more) is stepped over singly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundwork.errors import ProtocolError
from groundwork.sources.views import PADDING, Buffer, Bytes, Positions

HEADER = 5
"""Bytes before a message's body: the letter and the length."""

LARGEST = 1 << 30
"""Bytes of the longest message there can be: no value of PostgreSQL is longer than 1 GB."""

_COPY_DATA = ord("d")


@dataclass(frozen=True)
class Framed:
    """Complete messages of a buffer."""

    starts: Positions
    """Where each message begins (its letter)."""
    ends: Positions
    """Where each message ends (the next begins)."""
    consumed: int
    """Bytes of all complete messages."""
    other: bool
    """Whether what follows is a message of another kind than CopyData."""


def frame(buffer: Buffer, filled: int, candidates: Positions) -> Framed:
    """Find all complete CopyData messages at the beginning of a buffer.

    Args:
        buffer: the bytes received.
        filled: how many of them are data.
        candidates: where messages may begin, see `stream_candidates` and `row_candidates`. Too many or
            too few change nothing but the time it takes.

    Raises:
        ProtocolError: when a length is impossible.
    """
    content = buffer.bytes
    found: list[Positions] = []
    at = 0
    while at + HEADER <= filled and content[at] == _COPY_DATA:
        chain = _chain(buffer, candidates, at)
        if len(chain):
            found.append(chain)
            at = int(chain[-1])
        else:
            found.append(np.array([at], np.int64))
        length = int(buffer.int32(np.array([at + 1]))[0])
        if not 4 <= length <= LARGEST:
            raise ProtocolError(f"byte {at} of the stream", f"a message of {length} bytes is impossible")
        if at + 1 + length > filled:
            found[-1] = found[-1][:-1]
            break
        at += 1 + length
    starts = np.concatenate(found) if found else np.empty(0, np.int64)
    ends = np.append(starts[1:], at) if len(starts) else starts
    other = at < filled and content[at] != _COPY_DATA
    return Framed(starts, ends, at, other)


def _candidates(content: Bytes, filled: int) -> Positions:
    """Places where a message of less than 16 MB may begin."""
    looks = content[: max(filled - HEADER, 0)] == _COPY_DATA
    places = np.flatnonzero(looks)
    kept: Positions = places[content[places + 1] == 0]
    return kept


def stream_candidates(content: Bytes, filled: int) -> Positions:
    """`_candidates` of a replication stream: the body begins with ``w`` (data) or ``k`` (keepalive)."""
    places = _candidates(content, filled)
    kinds = content[places + HEADER]
    kept: Positions = places[(kinds == ord("w")) | (kinds == ord("k"))]
    return kept


def row_candidates(content: Bytes, filled: int) -> Positions:
    """Places where a row of COPY TO in text format may begin: the one before ended with a line feed."""
    places = np.flatnonzero(content[: max(filled - HEADER, 0)] == ord("\n")) + 1
    kept: Positions = places[(content[places] == _COPY_DATA) & (content[places + 1] == 0)]
    return np.concatenate([np.zeros(1, np.int64), kept])


def _chain(buffer: Buffer, candidates: Positions, at: int) -> Positions:
    """The messages from ``at`` on, as far as each one's length leads to the next candidate.

    The last one is in the result although where it leads is not a candidate.
    """
    first = int(np.searchsorted(candidates, at))
    if first == len(candidates) or candidates[first] != at:
        return np.empty(0, np.int64)
    places = candidates[first:]
    leads_to = places + 1 + buffer.int32(places + 1)
    wrong = np.flatnonzero(leads_to[:-1] != places[1:])
    if not len(wrong):
        return places
    keep = np.ones(len(places), bool)
    end = len(places)
    for index in wrong.tolist():
        if not keep[index] or index >= end:
            continue
        target = int(np.searchsorted(places, leads_to[index]))
        keep[index + 1 : target] = False
        if target == len(places) or places[target] != leads_to[index]:
            end = index + 1
            break
    keep[end:] = False
    return places[keep]


def padded(content: bytes) -> Buffer:
    """A buffer around bytes, for tests and single messages."""
    return Buffer(np.frombuffer(content + bytes(PADDING), np.uint8).copy())
