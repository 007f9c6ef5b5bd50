"""Decode the logical replication stream (plugin pgoutput, text format) into columns. No I/O here.

All messages of a buffer are decoded together: rows are grouped by table, and each tuple is walked column by
column over all its rows at once. Values stay the exact text PostgreSQL sent; they are pointed at, not copied.
Formats: PostgreSQL manual, "Logical Replication Message Formats" and "Streaming Replication Protocol".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from groundwork.errors import ProtocolError
from groundwork.sources.framing import HEADER, Framed
from groundwork.sources.views import Buffer, Mask, Positions, constants, nulls, sequences

POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970-01-01; PostgreSQL counts from there."""

PAYLOAD = HEADER + 1 + 24
"""From a message's start to its payload: header, ``w``, and three 64-bit numbers."""

_SMALLEST = {"B": 21, "C": 26, "I": 8, "U": 8, "D": 8, "T": 9, "M": 15, "R": 9}  # bytes of a payload


@dataclass(frozen=True)
class Relation:
    """A table as the stream describes it before its first row."""

    id: int
    schema: str
    table: str
    columns: tuple[str, ...]
    types: tuple[tuple[int, int], ...]
    """Type OID and modifier of each column."""
    keys: tuple[str, ...]
    """Columns of the replica identity."""

    @property
    def name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.table}"


@dataclass
class Changes:
    """Rows of one table, as `groundwork.sources.Rows` wants them."""

    relation: Relation
    frame: pl.DataFrame


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


@dataclass
class Decoded:
    """What one buffer held."""

    changes: list[Changes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    """Tables described for the first time, or anew with another shape."""
    end_lsn: int = 0
    """End of the last transaction committed here, 0 when none was."""
    rows: int = 0


class Decoder:
    """Turns framed messages into rows; remembers tables and the open transaction between buffers."""

    def __init__(self, key_of: Callable[[str], list[str] | None]) -> None:
        """Prepare to decode.

        Args:
            key_of: for ``schema.table``, the columns that identify a record (empty: none do), or None
                when the table is not wanted.
        """
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
        data = buffer.bytes[starts + HEADER] == ord("w")
        starts, ends = starts[data], ends[data]
        if not len(starts):
            return result
        if (ends - starts <= PAYLOAD).any():
            raise ProtocolError(f"byte {int(starts[0])} of the stream", "a message is too short")
        kinds = buffer.bytes[starts + PAYLOAD]
        self._check(kinds, starts, ends)
        for first, last in self._stretches(buffer, starts, ends, kinds, result):
            part = slice(first, last)
            self._stretch(buffer, starts[part], ends[part], kinds[part], result)
        return result

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
        known[[ord("Y"), ord("O")]] = 1
        least = known[kinds]
        bad = np.flatnonzero((least == 0) | (ends - starts - PAYLOAD < least))
        if len(bad):
            at = int(bad[0])
            what = f"message {chr(kinds[at])!r} of {int(ends[at] - starts[at])} bytes is not understood"
            raise ProtocolError(f"byte {int(starts[at])} of the stream", what)

    def _stretches(
        self, buffer: Buffer, starts: Positions, ends: Positions, kinds: npt.NDArray[np.uint8],
        result: Decoded,
    ) -> Iterator[tuple[int, int]]:  # fmt: skip
        """Stretches of messages within which no table changes its shape."""
        begin = 0
        for index in np.flatnonzero(kinds == ord("R")).tolist():
            body = buffer.bytes[starts[index] + PAYLOAD : ends[index]].tobytes()
            relation = _relation(body, int(starts[index]))
            known = self._relations.get(relation.id)
            if known == relation:
                continue
            if known is not None:
                yield begin, index
                begin = index
            self._relations[relation.id] = relation
            result.relations.append(relation)
        yield begin, len(starts)

    def _stretch(
        self, buffer: Buffer, starts: Positions, ends: Positions, kinds: npt.NDArray[np.uint8],
        result: Decoded,
    ) -> None:  # fmt: skip
        body = starts + PAYLOAD
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
        self._at = Position(
            int(commit_lsn[-1]), int(committed_at[-1]), int(counted[-1] - before[-1]) if len(counted) else 0
        )
        chosen = np.flatnonzero(changing & (kinds != ord("T")))
        tables = buffer.int32(body[chosen] + 1)
        for table in _distinct(tables):
            rows = chosen[tables == table]
            relation = self._relations.get(table)
            if relation is None:
                where = f"byte {int(starts[rows[0]])} of the stream"
                raise ProtocolError(where, f"a row of table {table}, which was never described")
            key = self._key_of(relation.name)
            if key is None:
                continue
            stamp = _Stamp(commit_lsn[transaction[rows]], committed_at[transaction[rows]], ordinal[rows])
            walked = _Walk(buffer, relation, body[rows], ends[rows], kinds[rows], stamp, key)
            result.changes.extend(walked.changes())
            result.rows += len(rows)
        for index in np.flatnonzero((kinds == ord("T")) | (kinds == ord("M"))).tolist():
            text = buffer.bytes[body[index] : ends[index]].tobytes()
            if kinds[index] == ord("M"):
                result.messages.append(_message(text, int(starts[index])))
                continue
            stamp = _Stamp(*(of[[transaction[index]]] for of in (commit_lsn, committed_at)), ordinal[[index]])
            result.changes.extend(self._truncations(text, stamp))
        commits = np.flatnonzero(kinds == ord("C"))
        if len(commits):
            result.end_lsn = int(buffer.int64(body[commits[-1:]] + 10)[0])

    def _truncations(self, text: bytes, stamp: _Stamp) -> Iterator[Changes]:
        (count,) = struct.unpack_from(">I", text, 1)
        for table in struct.unpack_from(f">{count}I", text, 6):
            relation = self._relations.get(table)
            if relation is not None and self._key_of(relation.name) is not None:
                columns = {name: nulls(1) for name in relation.columns}
                yield Changes(relation, stamp.on(pl.DataFrame(columns), ["truncate"], None, last=True))


@dataclass(frozen=True)
class _Stamp:
    """Transaction and number of each row."""

    commit_lsn: npt.NDArray[np.uint64]
    committed_at: npt.NDArray[np.int64]
    ordinal: Positions

    def at(self, rows: npt.NDArray[np.intp]) -> _Stamp:
        return _Stamp(self.commit_lsn[rows], self.committed_at[rows], self.ordinal[rows])

    def on(
        self, frame: pl.DataFrame, operations: list[str] | pl.Series, unchanged: pl.Series | None, *,
        last: bool,
    ) -> pl.DataFrame:  # fmt: skip
        """Add the metadata columns.

        A change counts two places: an update that removes one record and makes another needs both, the
        removal first. ``last`` chooses the second place.
        """
        committed_at = pl.Series(self.committed_at + POSTGRES_EPOCH).cast(pl.Datetime("us"))
        return frame.with_columns(
            pl.Series("_operation", operations),
            sequences(self.commit_lsn, self.ordinal * 2 + last).alias("_sequence"),
            (nulls(frame.height) if unchanged is None else unchanged).alias("_unchanged"),
            committed_at.alias("_committed_at"),
        )


@dataclass(frozen=True)
class _Tuple:
    """One tuple per row, walked: per column where each value lies."""

    at: list[Positions]
    lengths: list[Positions]
    kinds: list[npt.NDArray[np.uint8]]
    end: Positions

    def texts(self, buffer: Buffer, column: int, rows: npt.NDArray[np.intp] | None = None) -> pl.Series:
        at, lengths, kinds = self.at[column], self.lengths[column], self.kinds[column]
        if rows is not None:
            at, lengths, kinds = at[rows], lengths[rows], kinds[rows]
        return buffer.texts(at, lengths, kinds == ord("t"))


class _Walk:
    """The rows of one table in one stretch."""

    def __init__(
        self, buffer: Buffer, relation: Relation, body: Positions, ends: Positions,
        kinds: npt.NDArray[np.uint8], stamp: _Stamp, key: list[str],
    ) -> None:  # fmt: skip
        self._buffer, self._relation, self._kinds = buffer, relation, kinds
        self._ends, self._stamp, self._key = ends, stamp, key
        self._body = body

    def changes(self) -> Iterator[Changes]:
        buffer, columns = self._buffer, self._relation.columns
        at = self._body + 5
        tag = buffer.bytes[at]
        before = np.flatnonzero((self._kinds == ord("U")) & (tag != ord("N")))
        if len(before):
            old = self._walk(at[before] + 1, self._ends[before])
            yield from self._removed(old, before)
            at = at.copy()
            at[before] = old.end
        updates = self._kinds != ord("D")
        if (buffer.bytes[at[updates]] != ord("N")).any():
            raise ProtocolError(f"table {self._relation.name}", "a change without its new row")
        new = self._walk(at + 1, self._ends)
        if (new.end != self._ends).any():
            raise ProtocolError(f"table {self._relation.name}", "a row does not fill its message")
        frame = pl.DataFrame({name: new.texts(buffer, i) for i, name in enumerate(columns)})
        codes = np.zeros(256, np.intp)
        # Without a key an update is one record gone (see `_removed`) and another one there.
        codes[[ord("U"), ord("D")]] = 1 if self._key else 0, 2
        operations = constants(["insert", "update", "delete"], codes[self._kinds])
        yield Changes(
            self._relation, self._stamp.on(frame, operations, self._unchanged(new), last=True)
        )

    def _removed(self, old: _Tuple, rows: npt.NDArray[np.intp]) -> Iterator[Changes]:
        """Records that an update took away: its key changed, or the table has no key."""
        buffer, columns = self._buffer, self._relation.columns
        kept = np.zeros(len(rows), bool)
        if self._key:
            new = self._walk(old.end + 1, self._ends[rows])
            kept[:] = True
            for name in self._key:
                column = columns.index(name)
                was, now = old.texts(buffer, column), new.texts(buffer, column)
                # A key column that is absent from the old tuple did not change.
                kept &= was.eq(now).fill_null(True).to_numpy()
        gone = np.flatnonzero(~kept)
        if len(gone):
            frame = pl.DataFrame({n: old.texts(buffer, i, gone) for i, n in enumerate(columns)})
            operations = constants(["delete"], np.zeros(len(gone), np.intp))
            stamped = self._stamp.at(rows[gone]).on(frame, operations, None, last=False)
            yield Changes(self._relation, stamped)

    def _walk(self, at: Positions, ends: Positions) -> _Tuple:
        """Walk one tuple per row, a column at a time over all rows."""
        buffer, width = self._buffer, len(self._relation.columns)
        if (at + 2 > ends).any() or (buffer.int16(at) != width).any():
            raise ProtocolError(f"table {self._relation.name}", "a row with another number of columns")
        walked = _Tuple([], [], [], at)
        at = at + 2
        for name in self._relation.columns:
            if (at >= ends).any():
                raise ProtocolError(f"table {self._relation.name}", f"a row ends before column '{name}'")
            kinds = buffer.bytes[at]
            text: Mask = kinds == ord("t")
            if text.all():
                lengths = buffer.int32(at + 1)
                value, after = at + 5, at + 5 + lengths
            else:
                if not (text | (kinds == ord("n")) | (kinds == ord("u"))).all():
                    raise ProtocolError(f"table {self._relation.name}", f"column '{name}' is not text")
                lengths = np.where(text, buffer.int32(at + 1), 0)
                value = at + 5
                after = np.where(text, value + lengths, at + 1)
            if (after > ends).any():
                raise ProtocolError(f"table {self._relation.name}", f"column '{name}' passes its row's end")
            walked.at.append(value)
            walked.lengths.append(lengths)
            walked.kinds.append(kinds)
            at = after
        return _Tuple(walked.at, walked.lengths, walked.kinds, at)

    def _unchanged(self, new: _Tuple) -> pl.Series | None:
        """Names of the columns the log did not repeat, as JSON, per row."""
        repeated = [kinds == ord("u") for kinds in new.kinds]
        concerned = [i for i, some in enumerate(repeated) if some.any()]
        if not concerned:
            return None
        table = np.stack([repeated[i] for i in concerned], axis=1)
        shapes, codes = np.unique(table, axis=0, return_inverse=True)
        names = np.array(self._relation.columns)[concerned]
        texts = [json.dumps(names[shape].tolist(), ensure_ascii=False) if shape.any() else None for shape in shapes]
        return pl.Series(texts, dtype=pl.String).gather(codes.ravel())


def _distinct(numbers: Positions) -> list[int]:
    if len(numbers) and (numbers == numbers[0]).all():  # the common case, without a sort
        return [int(numbers[0])]
    found: list[int] = np.unique(numbers).tolist()
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
    except (struct.error, ValueError, IndexError) as error:
        raise ProtocolError(f"byte {at} of the stream", "a table's description is cut short") from error
    # pg_catalog's schema is sent as an empty name
    return Relation(
        identifier, schema or "pg_catalog", table, tuple(names), tuple(types), tuple(keys)
    )


def _message(body: bytes, at: int) -> Message:
    try:
        prefix, offset = _cstring(body, 10)
        (length,) = struct.unpack_from(">I", body, offset)
    except (struct.error, ValueError) as error:
        raise ProtocolError(f"byte {at} of the stream", "a logical message is cut short") from error
    return Message(prefix, body[offset + 4 : offset + 4 + length])


def _cstring(body: bytes, offset: int) -> tuple[str, int]:
    end = body.index(0, offset)
    return body[offset:end].decode("utf-8"), end + 1
