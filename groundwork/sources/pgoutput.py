"""Decode the logical replication stream (plugin pgoutput, text format) into columns. No I/O here.

All messages of a buffer are decoded together: rows are grouped by table, and each tuple is walked column by
column over all its rows at once. Values stay the exact text PostgreSQL sent; they are pointed at, not copied.
Formats: PostgreSQL manual, "Logical Replication Message Formats" and "Streaming Replication Protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from groundwork.errors import ProtocolError, about
from groundwork.sources.described import Described, Parts
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.tuples import Changes, Relation, Stamp, Walk, byte, check_identity
from groundwork.sources.views import Buffer, Positions, nulls

PAYLOAD = HEADER + 1 + 24
"""From a message's start to its payload: header, ``w``, and three 64-bit numbers."""

_KEEPALIVE = HEADER + 18
"""Bytes of a keepalive: header, ``k``, two 64-bit numbers, and a flag."""

_HEAD = 8
"""Bytes that every payload has; a row's first text comes behind them."""

_SMALLEST = {"B": 21, "C": 26, "I": 8, "U": 8, "D": 8, "T": 10, "M": 15, "R": 10, "Y": 8, "O": 8}
"""Bytes of a payload, by its letter."""


@dataclass(frozen=True)
class Message:
    """A logical decoding message that somebody wrote into the log."""

    prefix: str
    content: bytes


@dataclass
class Position:
    """Where in the log the decoder stands; carried from buffer to buffer."""

    commit_lsn: int = 0
    """Position of the commit record of the transaction at hand."""
    committed_at: int = 0
    """Its time, microseconds since 2000-01-01."""
    ordinal: int = 0
    """Changes of it seen so far."""
    open: bool = False
    """Whether it is still going on."""


@dataclass
class Decoded:
    """What one buffer held."""

    changes: list[Changes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    """Tables described for the first time, or anew with another shape."""
    parts: Parts = field(default_factory=dict)
    """Partitions whose rows are told as another table's."""
    end_lsn: int = 0
    """End of the last transaction committed here, 0 when none was."""
    rows: int = 0
    """Rows of the wanted tables, those before a table's copy too."""


class Decoder:
    """Turns framed messages into rows; remembers tables and the open transaction between buffers."""

    def __init__(
        self, key_of: Callable[[str], list[str] | None], raised: int = 0,
        names: Mapping[int, str] | None = None, copied: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Prepare to decode.

        Args:
            key_of: for ``schema.table``, the columns that identify a record (empty: none do), or None
                when the table is not wanted.
            raised: added to every position in `_sequence`.
            names: the wanted tables by OID, and what they are called now: when the log was written, they
                may have had other names, and other tables theirs. None when the names alone decide.
            copied: per ``schema.table`` the position of its copy; what was committed before is in the copy,
                and may have been written under another key.
        """
        self._copied = copied or {}
        self.names, self._described = names, Described()
        self._raised = np.uint64(raised)
        self._key_of = key_of
        self._relations: dict[int, Relation] = {}
        self._at = Position()

    def decode(self, buffer: Buffer, framed: Framed, count: int) -> Decoded:
        """Decode the first ``count`` messages.

        Raises:
            ProtocolError: when bytes are not what the protocol allows; names the position.
        """
        result = Decoded()
        starts, ends = framed.starts[:count], framed.ends[:count]
        letters = buffer.bytes[starts + HEADER]
        data = letters == ord("w")
        alive = (letters == ord("k")) & (ends - starts == _KEEPALIVE)
        strange = np.flatnonzero(~data & ~alive | (ends - starts <= HEADER))
        if len(strange):
            raise ProtocolError(byte(starts[strange[0]]), "neither log data nor a keepalive")
        kept, end = starts[alive], int(ends[-1]) if len(ends) else 0
        starts, ends = starts[data], ends[data]
        if not len(starts):
            return result
        short = np.flatnonzero(ends - starts <= PAYLOAD)
        if len(short):
            raise ProtocolError(byte(starts[short[0]]), "a message is too short")
        kinds = buffer.bytes[starts + PAYLOAD]
        self._check(kinds, starts, ends)
        result.parts = self._described.parts(buffer, starts + PAYLOAD, kinds, self._at.commit_lsn)
        walks: list[Walk] = []
        for first, last in self._stretches(buffer, starts, ends, kinds, result):
            part = slice(first, last)
            walks += self._stretch(buffer, starts[part], ends[part], kinds[part], result)
        # With all numbers gone, one pass over the bytes tells whether there is any text beyond ASCII.
        _blank_numbers(buffer, starts, ends, kinds, kept)
        if not buffer.is_ascii(int(starts[0]), end):
            for walk in walks:
                walk.check_text()
        return result

    @property
    def inside(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._at.open

    def commits(self, buffer: Buffer, framed: Framed) -> Positions:
        """Numbers of the messages that end a transaction."""
        at = framed.starts
        inside = np.minimum(at + PAYLOAD, len(buffer.bytes) - 1)
        found = (buffer.bytes[at + HEADER] == ord("w")) & (buffer.bytes[inside] == ord("C"))
        return np.flatnonzero(found & (framed.ends - at > PAYLOAD))

    def _check(self, kinds: npt.NDArray[np.uint8], starts: Positions, ends: Positions) -> None:
        """Refuse unknown messages and ones too short for their kind."""
        known = np.zeros(256, np.int64)
        for letter, size in _SMALLEST.items():
            known[ord(letter)] = size
        least = known[kinds]
        sizes = ends - starts - PAYLOAD
        exact = (kinds == ord("B")) | (kinds == ord("C"))
        bad = np.flatnonzero((least == 0) | (sizes < least) | exact & (sizes != least))
        if len(bad):
            at = int(bad[0])
            what = f"message {chr(kinds[at])!r} of {int(ends[at] - starts[at])} bytes is not understood"
            raise ProtocolError(byte(starts[at]), what)

    def _check_order(self, starts: Positions, kinds: npt.NDArray[np.uint8]) -> bool:
        """Refuse transactions that overlap or have no beginning; whether one is open at the end."""
        begins, commits = kinds == ord("B"), kinds == ord("C")
        depth = np.cumsum(begins.astype(np.int64) - commits) + self._at.open
        inside = np.isin(kinds, np.frombuffer(b"BIUDTRYO", np.uint8))
        # A logical message may stand anywhere: it need not belong to a transaction.
        bad = np.flatnonzero((depth < 0) | (depth > 1) | (inside & (depth != 1)))
        if len(bad):
            what = f"message {chr(kinds[bad[0]])!r} does not follow from what came before"
            raise ProtocolError(byte(starts[bad[0]]), what)
        return bool(depth[-1]) if len(depth) else self._at.open

    def _stretches(
        self, buffer: Buffer, starts: Positions, ends: Positions, kinds: npt.NDArray[np.uint8],
        result: Decoded,
    ) -> Iterator[tuple[int, int]]:  # fmt: skip
        """Stretches of messages within which no table is described, or described anew."""
        begin = 0
        for index in np.flatnonzero(kinds == ord("R")).tolist():
            body = buffer.bytes[starts[index] + PAYLOAD : ends[index]].tobytes()
            relation = self._named(_relation(body, int(starts[index])))
            if self._relations.get(relation.id) == relation:
                continue
            yield begin, index
            begin = index
            self._relations[relation.id] = relation
            result.relations.append(relation)
        yield begin, len(starts)

    def _named(self, relation: Relation) -> Relation:
        """The table under the name that it has now."""
        name = (self.names or {}).get(relation.id, relation.name)
        schema, _, table = name.partition(".")
        return replace(relation, schema=schema, table=table)

    def _key(self, relation: Relation) -> list[str] | None:
        key = self._key_of(relation.name)
        if self.names is None or relation.id in self.names or key is None:
            return key
        # A table of this name that is gone: what happened to it before it was made anew is history too, as
        # long as it tells which records it is about.
        told = set(key or relation.columns) <= set(relation.keys)
        return key if told else None

    def _stretch(
        self, buffer: Buffer, starts: Positions, ends: Positions, kinds: npt.NDArray[np.uint8],
        result: Decoded,
    ) -> list[Walk]:  # fmt: skip
        body, walks = starts + PAYLOAD, []
        still_open = self._check_order(starts, kinds)
        begins = np.flatnonzero(kinds == ord("B"))
        changing = np.isin(kinds, np.frombuffer(b"IUDT", np.uint8))
        # Per message: its transaction (0 is the one left open before), and its number in there.
        transaction = np.cumsum(kinds == ord("B"))
        counted = np.cumsum(changing)
        commit_lsn = np.concatenate(
            [np.array([self._at.commit_lsn], np.uint64), buffer.int64(body[begins] + 1)]
        )
        committed_at = np.concatenate(
            [np.array([self._at.committed_at], np.int64), buffer.int64(body[begins] + 9).view(np.int64)]
        )
        before = np.concatenate([[-self._at.ordinal], counted[begins]])
        ordinal = counted - 1 - before[transaction]
        commits = np.flatnonzero(kinds == ord("C"))
        foreign = np.flatnonzero(buffer.int64(body[commits] + 2) != commit_lsn[transaction[commits]])
        if len(foreign):
            where = byte(starts[commits[foreign[0]]])
            raise ProtocolError(where, "a commit at another position than its transaction announced")
        self._at = Position(
            int(commit_lsn[-1]), int(committed_at[-1]),
            int(counted[-1] - before[-1]) if len(counted) else self._at.ordinal, still_open,
        )  # fmt: skip
        chosen = np.flatnonzero(changing & (kinds != ord("T")))
        tables = buffer.int32(body[chosen] + 1)
        for table in _distinct(tables):
            rows = chosen[tables == table]
            relation = self._relations.get(table)
            if relation is None:
                what = f"a row of table {table}, which was never described"
                raise ProtocolError(byte(starts[rows[0]]), what)
            key = self._key(relation)
            if key is None:
                continue
            own = transaction[rows]
            result.rows += len(rows)
            if copied := self._copied.get(relation.name):
                later = commit_lsn[own] >= copied
                rows, own = rows[later], own[later]
                if not len(rows):
                    continue
            stamp = Stamp(commit_lsn[own] + self._raised, committed_at[own], ordinal[rows])
            with about(relation.name):
                check_identity(relation, key, kinds[rows], buffer.bytes[body[rows] + 5])
                walked = Walk(buffer, relation, body[rows], ends[rows], kinds[rows], stamp, key)
                result.changes.extend(walked.changes())
            walks.append(walked)
        for index in np.flatnonzero((kinds == ord("T")) | (kinds == ord("M"))).tolist():
            text = buffer.bytes[body[index] : ends[index]].tobytes()
            if kinds[index] == ord("M"):
                result.messages.append(_message(text, int(starts[index])))
                continue
            own = transaction[[index]]
            stamp = Stamp(commit_lsn[own] + self._raised, committed_at[own], ordinal[[index]])
            committed = int(commit_lsn[own][0])
            result.changes.extend(
                change
                for change in self._truncations(text, stamp, int(starts[index]))
                if committed >= self._copied.get(change.relation.name, 0)
            )
        if len(commits):
            result.end_lsn = int(buffer.int64(body[commits[-1:]] + 10)[0])
        return walks

    def _truncations(self, text: bytes, stamp: Stamp, at: int) -> Iterator[Changes]:
        import polars as pl

        (count,) = struct.unpack_from(">I", text, 1)
        if len(text) != 6 + 4 * count:
            raise ProtocolError(byte(at), f"a truncation of {count} tables in {len(text)} bytes")
        for table in struct.unpack_from(f">{count}I", text, 6):
            relation = self._relations.get(table)
            if relation is None:
                raise ProtocolError(byte(at), f"a truncation of table {table}, which was never described")
            if self._key(relation) is not None:
                columns = {name: nulls(1) for name in relation.columns}
                yield Changes(relation, stamp.on(pl.DataFrame(columns), ["truncate"], None, last=True))


def _blank_numbers(
    buffer: Buffer, starts: Positions, ends: Positions, kinds: npt.NDArray[np.uint8], keepalives: Positions
) -> None:
    """Overwrite everything that is a number, so that only text can hold bytes above 127."""
    buffer.blank(keepalives + 1, _KEEPALIVE - 1)
    buffer.blank(starts + 1, PAYLOAD - 1 + _HEAD)
    for letter in b"BC":
        rest = _SMALLEST[chr(letter)] - _HEAD
        buffer.blank(starts[kinds == letter] + PAYLOAD + _HEAD, rest)
    for index in np.flatnonzero(np.isin(kinds, np.frombuffer(b"RTMYO", np.uint8))).tolist():
        buffer.bytes[starts[index] + 1 : ends[index]] = 0


def _distinct(numbers: Positions | npt.NDArray[np.uint8]) -> list[int]:
    if len(numbers) and (numbers == numbers[0]).all():  # the common case, without a sort
        return [int(numbers[0])]
    # not np.unique: its first call loads a module that takes longer than all else in a run with nothing new
    ordered = np.sort(numbers)
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]
    found: list[int] = ordered[first].tolist()
    return found


def _relation(body: bytes, at: int) -> Relation:
    try:
        (identifier,) = struct.unpack_from(">I", body, 1)
        schema, offset = _cstring(body, 5)
        table, offset = _cstring(body, offset)
        (count,) = struct.unpack_from(">H", body, offset + 1)
        offset += 3
        names, types, keys = [], [], []
        for _ in range(count):
            flags = body[offset]
            name, offset = _cstring(body, offset + 1)
            types.append(struct.unpack_from(">Ii", body, offset))
            offset += 8
            names.append(name)
            if flags & 1:
                keys.append(name)
        if offset != len(body):
            raise ValueError("more bytes than columns")
        if len(set(names)) < count:
            raise ValueError("a column twice")
    except (struct.error, ValueError, IndexError) as error:
        raise ProtocolError(byte(at), "a table's description does not fill its message") from error
    # pg_catalog's schema is sent as an empty name
    return Relation(identifier, schema or "pg_catalog", table, tuple(names), tuple(types), tuple(keys))


def _message(body: bytes, at: int) -> Message:
    try:
        prefix, offset = _cstring(body, 10)
        (length,) = struct.unpack_from(">I", body, offset)
        if offset + 4 + length != len(body):
            raise ValueError("another length than announced")
    except (struct.error, ValueError) as error:
        raise ProtocolError(byte(at), "a logical message does not fill its message") from error
    return Message(prefix, body[offset + 4 : offset + 4 + length])


def _cstring(body: bytes, offset: int) -> tuple[str, int]:
    end = body.index(0, offset)
    return body[offset:end].decode("utf-8"), end + 1
