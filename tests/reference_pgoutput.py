"""A naive reader of PostgreSQL's plugin pgoutput (protocol 1, text): what a test holds others against.

It shares no code and no idea with the decoder under test: one message after another, `struct` and slices, and
a strict reading of the manual ("Logical Replication Message Formats"). Slow, and meant to be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

_Result = TypeVar("_Result")


class _Unchanged:
    """A value that the log did not repeat."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()
Value = str | None | _Unchanged
Record = dict[str, Value]


class Malformed(Exception):
    """Bytes that the manual does not allow."""


@dataclass(frozen=True)
class Relation:
    """A table as the stream describes it."""

    name: str
    """``schema.table``."""
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    """Columns of the replica identity."""
    identity: str
    """``d`` default, ``n`` nothing, ``f`` full, ``i`` index."""


@dataclass
class Event:
    """One change of one row, one truncated table, or one logical message."""

    kind: str
    """``insert update delete truncate message``."""
    table: str
    """``schema.name``; the prefix of a message."""
    old: Record | None
    """What the log says of the row before: None if nothing."""
    new: Record | None
    ordinal: int
    """Number of the change in its transaction, from 0; tables truncated together share one, and a message
    has that of the next change."""
    relation: Relation | None = None
    whole: bool = False
    """Whether ``old`` is the whole row (replica identity full), not its key with nulls around it."""
    content: bytes = b""
    """Of a message."""


@dataclass
class Transaction:
    """A transaction and what it did."""

    commit_lsn: int
    end_lsn: int
    """End of its commit record; 0 while it is open."""
    committed_at_us: int
    """Microseconds since 2000-01-01."""
    xid: int
    events: list[Event] = field(default_factory=list)


class Parser:
    """Takes one message after another."""

    def __init__(self) -> None:
        self.relations: dict[int, Relation] = {}
        self.open: Transaction | None = None
        self.messages: list[Event] = []
        """All logical messages, those outside of transactions too."""
        self._changes = 0

    def feed(self, lsn: int, payload: bytes) -> Transaction | None:
        """Read one message; the transaction that it ends, if it ends one."""
        try:
            return self._message(payload)
        except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
            raise Malformed(f"message at {lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}: {error}") from error

    def _message(self, payload: bytes) -> Transaction | None:
        kind, body = payload[:1], _Body(payload)
        if kind not in b"BCRYOIUDTM" or not kind:
            raise ValueError(f"a message of kind {kind!r}")
        if kind == b"B":
            if self.open:
                raise ValueError("a transaction within a transaction")
            self.open = Transaction(0, 0, 0, 0)
            self.open.commit_lsn, self.open.committed_at_us = body.number("Q"), body.number("q")
            self.open.xid, self._changes = body.number("I"), 0
            return body.done(None)
        if kind == b"M":
            self._logical(body)
            return None
        if not self.open:
            raise ValueError("a change outside of a transaction")
        if kind == b"C":
            body.number("B")
            done, self.open = self.open, None
            if body.number("Q") != done.commit_lsn:
                raise ValueError("the commit of another transaction")
            done.end_lsn = body.number("Q")
            body.number("q")
            return body.done(done)
        if kind == b"R":
            self._describe(body)
        elif kind == b"T":
            self._truncate(body)
        elif kind in b"YO" and len(payload) < 8:  # a type or an origin: nothing for us, but a name is in it
            raise ValueError("too short for a name")
        elif kind in b"IUD":
            self._change(body, {b"I": "insert", b"U": "update", b"D": "delete"}[kind])
        return None

    def _describe(self, body: _Body) -> None:
        identifier = body.number("I")
        schema, table, identity = body.name(), body.name(), chr(body.number("B"))
        columns, keys = [], []
        for _ in range(body.number("H")):
            in_key = body.number("B") & 1
            columns.append(body.name())
            body.number("I"), body.number("i")
            if in_key:
                keys.append(columns[-1])
        if len(set(columns)) != len(columns):
            raise ValueError("a column twice")
        name = f"{schema or 'pg_catalog'}.{table}"
        self.relations[identifier] = body.done(Relation(name, tuple(columns), tuple(keys), identity))

    def _change(self, body: _Body, kind: str) -> None:
        relation = self._relation(body.number("I"))
        old: Record | None = None
        mark = body.take(1)
        whole = mark == b"O"
        if kind != "insert" and mark in (b"K", b"O"):
            old = body.record(relation)
            mark = body.take(1) if kind == "update" else b""
        if mark != (b"" if kind == "delete" else b"N"):
            raise ValueError(f"mark {mark!r} in an {kind}")
        new = None if kind == "delete" else body.record(relation)
        self._add(body.done(Event(kind, relation.name, old, new, self._changes, relation, whole)))
        self._changes += 1

    def _truncate(self, body: _Body) -> None:
        count, _ = body.number("I"), body.number("B")
        if not count or len(body.left) != 4 * count:
            raise ValueError("another number of tables")
        for relation in [self._relation(body.number("I")) for _ in range(count)]:
            self._add(Event("truncate", relation.name, None, None, self._changes, relation))
        self._changes += 1

    def _logical(self, body: _Body) -> None:
        body.number("B"), body.number("Q")
        prefix, length = body.name(), body.number("I")
        event = Event("message", prefix, None, None, self._changes, content=body.take(length))
        self.messages.append(body.done(event))
        if self.open:
            self._add(event)

    def _relation(self, identifier: int) -> Relation:
        if identifier not in self.relations:
            raise ValueError("a table that was never described")
        return self.relations[identifier]

    def _add(self, event: Event) -> None:
        assert self.open
        self.open.events.append(event)


class _Body:
    """What of a message is not read yet."""

    def __init__(self, payload: bytes) -> None:
        self.left = memoryview(payload)[1:]

    def take(self, count: int) -> bytes:
        if count > len(self.left):
            raise ValueError(f"{count} bytes wanted, {len(self.left)} left")
        taken, self.left = self.left[:count], self.left[count:]
        return bytes(taken)

    def number(self, form: str) -> int:
        found: int = struct.unpack(f">{form}", self.take(struct.calcsize(f">{form}")))[0]
        return found

    def name(self) -> str:
        return self.take(bytes(self.left).index(0) + 1)[:-1].decode()

    def record(self, relation: Relation) -> Record:
        if self.number("H") != len(relation.columns):
            raise ValueError("another number of columns")
        return {column: self._value() for column in relation.columns}

    def _value(self) -> Value:
        kind = self.take(1)
        if kind == b"n":
            return None
        if kind == b"u":
            return UNCHANGED
        if kind != b"t":
            raise ValueError(f"a value of kind {kind!r}")
        return self.take(self.number("I")).decode()

    def done(self, result: _Result) -> _Result:
        if self.left:
            raise ValueError(f"{len(self.left)} bytes too many")
        return result


def parse(messages: Iterable[tuple[int, bytes]]) -> Iterator[Transaction]:
    """Committed transactions, in the order of their commits.

    Args:
        messages: position and payload of each message, as ``pg_logical_slot_peek_binary_changes`` gives
            them with ``proto_version '1'``.

    Raises:
        Malformed: naming the message's position.
    """
    parser = Parser()
    for lsn, payload in messages:
        done = parser.feed(lsn, payload)
        if done:
            yield done
