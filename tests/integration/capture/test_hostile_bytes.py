# ruff: noqa: E501 (statements and messages read better in one line)
"""Damaged and hostile bytes: an error that names the position, or exactly the rows a naive reader gives.

Real streams are captured once, then damaged by a seeded chance: bits flipped, lengths made huge, messages
cut, dropped, doubled, reordered, spliced, and values that are no UTF-8. The decoder and the naive reader of
``tests/reference_pgoutput.py`` must come to the same end, every time.
"""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import polars as pl
import pytest

from demo.postgres import Postgres
from groundwork.errors import ProtocolError, SourceRefused
from groundwork.sources import copytext
from groundwork.sources.framing import frame, padded, row_candidates, stream_candidates
from groundwork.sources.pgoutput import Decoder
from groundwork.sources.tuples import POSTGRES_EPOCH
from tests.capture import UNESCAPED, Database
from tests.reference_pgoutput import UNCHANGED, Event, Malformed, Parser, Transaction

SEED = int(os.environ.get("GROUNDWORK_SEED", "20251122"))
ROUNDS = int(os.environ.get("GROUNDWORK_FUZZ", "4000"))
KEYS: dict[str, list[str]] = {"public.keyless": []}
HUGE = [0x7FFFFFFF, 0xFFFFFFFF, 0x40000000, 0x3FFFFFF0, 0x80000000, 128, 0]
NOT_UTF8 = [b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\x80"]
Outcome = tuple[list[tuple[Any, ...]], list[tuple[str, bytes]]]


class Refused(Exception):
    """The naive reader's own: a change that does not say which record it is about."""


@pytest.fixture(scope="module")
def streams(server: Postgres) -> list[list[bytes]]:
    """What a server really sends, one list of messages per scene."""
    database = Database(server, "hostile")
    server.sql('create database "hostile"')
    try:
        return list(scenes(database))
    finally:
        database.drop()


def scenes(database: Database) -> Iterator[list[bytes]]:
    database.sql(
        "create table keyed (id int primary key, name text, long text); create table plain (id int primary key);"
        "create table keyless (a text, b text); alter table keyless replica identity full;"
        "create table whole (id text primary key, long text, n numeric); alter table whole replica identity full;"
        "alter table keyed alter long set storage external; alter table whole alter long set storage external;"
        "create table wide (id int primary key, " + ", ".join(f"c{i} text" for i in range(150)) + ");"
        "create publication groundwork for all tables"
    )
    for scene in (
        "insert into keyed values (1, 'a', repeat('x', 3000)), (2, 'é💥', ''), (3, null, null);"
        "update keyed set name = 'b' where id = 1; update keyed set id = 7 where id = 1; delete from keyed where id < 4",
        "insert into keyless values ('1', '2'), (null, ''), ('1', '2'); update keyless set a = 'ü' where b = '2';"
        "delete from keyless; insert into whole values ('k', repeat('y', 2500), 'NaN'); update whole set n = 1;"
        "update whole set id = 'moved'; delete from whole",
        "insert into plain select generate_series(1, 20); truncate plain, keyed;"
        "insert into plain values (1); select pg_logical_emit_message(true, 'groundwork', 'barrier')",
        "insert into keyed values (1, 'a', 'b'); alter table keyed add extra text default 'd';"
        "insert into keyed values (2, 'b', 'c', 'e'); alter table keyed drop name; update keyed set long = '' where id = 2",
        "insert into wide values (1, 'first'); update wide set c1 = 'second', c149 = repeat('z', 200)",
    ):  # fmt: skip
        database.sql("select pg_create_logical_replication_slot('hostile', 'pgoutput')")
        with database.connection() as connection:
            connection.run("set synchronous_commit = on")  # only what is flushed can be decoded
            for statement in scene.split(";"):
                connection.run(statement)
        found = database.sql(
            "select lsn - '0/0', data from pg_logical_slot_peek_binary_changes('hostile', null, null,"
            " 'proto_version', '1', 'publication_names', 'groundwork', 'messages', 'true')"
        )
        database.sql("select pg_drop_replication_slot('hostile')")
        yield [wrapped(int(lsn), bytes(payload)) for lsn, payload in found]


def message(body: bytes) -> bytes:
    return b"d" + struct.pack(">I", len(body) + 4) + body


def wrapped(lsn: int, payload: bytes) -> bytes:
    return message(b"w" + struct.pack(">QQq", lsn, lsn + 9, 816_000_000_000_000 + lsn) + payload)


# -- what the naive reader makes of bytes ---------------------------------------------------------------


def cut(content: bytes) -> Iterator[bytes]:
    """Bodies of whole messages, up to something else."""
    at = 0
    while at + 5 <= len(content) and content[at : at + 1] == b"d":
        (length,) = struct.unpack_from(">I", content, at + 1)
        if not 4 <= length <= 1 << 30:
            raise Malformed("an impossible length")
        if at + 1 + length > len(content):
            return
        yield content[at + 5 : at + 1 + length]
        at += 1 + length


def naive(content: bytes) -> Outcome:
    parser, done = Parser(), []
    for body in cut(content):
        if body[:1] == b"k" and len(body) == 18:
            continue
        if body[:1] != b"w" or len(body) < 26:
            raise Malformed("neither data nor a keepalive")
        transaction = parser.feed(struct.unpack_from(">Q", body, 1)[0], body[25:])
        done += [transaction] if transaction else []
    done += [parser.open] if parser.open else []
    rows = [
        row for transaction in done for event in transaction.events for row in rows_of(transaction, event)
    ]
    return sorted(rows, key=repr), [(m.table, m.content) for m in parser.messages]


def rows_of(transaction: Transaction, event: Event) -> Iterator[tuple[Any, ...]]:
    """Rows of landing that an event means."""
    if event.kind == "message":
        return
    assert event.relation
    key, old, new = KEYS.get(event.table, ["id"]), event.old, event.new
    columns = event.relation.columns

    def row(operation: str, record: dict[str, Any], place: int) -> tuple[Any, ...]:
        unchanged = [name for name in columns if record[name] is UNCHANGED]
        at = (transaction.committed_at_us + POSTGRES_EPOCH + 2**63) % 2**64 - 2**63
        values = [None if record[name] is UNCHANGED else record[name] for name in columns]
        sequence = f"{transaction.commit_lsn:016x}/{event.ordinal * 2 + place:08x}"
        return (
            event.table,
            operation,
            sequence,
            json.dumps(unchanged) if unchanged else None,
            at,
            columns,
            *values,
        )

    if event.kind == "truncate":
        yield row("truncate", dict.fromkeys(columns), 2)
        return
    if event.kind != "insert" and not (set(key) <= set(event.relation.keys) if key else event.whole):
        raise Refused
    if event.kind == "delete":
        assert old
        yield row("delete", old, 2)
        return
    assert new
    if old:
        new = {n: old[n] if v is UNCHANGED and isinstance(old[n], str) else v for n, v in new.items()}
        before, after = [old[n] for n in key], [new[n] for n in key]
        pairs = [
            (a, b) for a, b in zip(before, after, strict=True) if isinstance(a, str) and isinstance(b, str)
        ]
        if not key or any(a != b for a, b in pairs):
            yield row("delete", {n: None if v is UNCHANGED else v for n, v in old.items()}, 1)
    yield row("insert" if event.kind == "insert" or not key else "update", new, 2)


# -- and the decoder --------------------------------------------------------------------------------------


def decoded(content: bytes, cuts: list[int] | None = None) -> Outcome:
    """By the decoder, in one piece or cut behind some messages."""
    decoder = Decoder(lambda name: KEYS.get(name, ["id"]))
    rows: list[tuple[Any, ...]] = []
    messages: list[tuple[str, bytes]] = []
    for part in pieces(content, cuts or []):
        buffer = padded(part)
        framed = frame(buffer, len(part), stream_candidates(buffer.bytes, len(part)))
        result = decoder.decode(buffer, framed, len(framed.starts))
        messages += [(m.prefix, m.content) for m in result.messages]
        for change in result.changes:
            frame_ = change.frame.with_columns(pl.col("_committed_at").to_physical())
            names = tuple(n for n in frame_.columns if n not in METADATA)
            found = frame_.select(*METADATA, *names).rows()
            rows += [(change.relation.name, *row[:4], names, *row[4:]) for row in found]
        if framed.consumed < len(part):  # something else, or less than a message: the rest is never read
            break
    return sorted(rows, key=repr), messages


METADATA = ["_operation", "_sequence", "_unchanged", "_committed_at"]


def pieces(content: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The stream in several buffers, each of whole messages."""
    ends, at = [], 0
    while at + 5 <= len(content):
        at += 1 + max(4, struct.unpack_from(">I", content, at + 1)[0])
        ends.append(at)
    chosen = sorted({ends[number % len(ends)] for number in cuts}) if ends else []
    chosen = [place for place in chosen if place < len(content)]
    for begin, end in zip([0, *chosen], [*chosen, len(content)], strict=True):
        yield content[begin:end]


def outcome(act: Any, content: bytes, *more: Any) -> Outcome | str:
    try:
        rows: Outcome = act(content, *more)
        return rows
    except ProtocolError as error:
        assert re.search(r"byte \d+ of the stream", str(error)), error
        return "malformed"
    except Malformed:
        return "malformed"
    except (SourceRefused, Refused):
        return "refused"


def damaged(chance: Random, messages: list[bytes]) -> bytes:
    """The stream, with one or two kinds of damage."""
    parts = list(messages)
    content = b""
    for _ in range(chance.choice([1, 1, 2])):
        content = b""
        number = chance.randrange(len(parts))
        kind = chance.choice(
            ["drop", "double", "move", "bits", "huge", "cut", "splice", "noise", "letters", "inner"]
        )
        body = bytearray(parts[number])
        if kind == "drop":
            parts[number : number + chance.choice([1, 1, 3])] = []
        elif kind == "double":
            parts.insert(chance.randrange(len(parts)), parts[number])
        elif kind == "move":
            parts.insert(chance.randrange(len(parts)), parts.pop(number))
        elif kind == "bits":
            for _ in range(chance.choice([1, 1, 2, 5])):
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        elif kind == "huge":
            at = chance.randrange(1, max(2, len(body) - 3))
            body[at : at + 4] = struct.pack(">I", chance.choice(HUGE))[: max(0, len(body) - at)]
        elif kind == "cut":
            content = b"".join(parts)
            content = content[: chance.randrange(len(content))]
        elif kind == "splice":  # the end of another message, in a frame of the right length
            other = parts[chance.randrange(len(parts))]
            body = bytearray(
                message(bytes(body[5 : chance.randrange(6, 60)]) + other[chance.randrange(30, 60) :])
            )
        elif kind == "noise":
            body[chance.randrange(30, 40) : 40] = chance.randbytes(chance.randrange(12))
            body = bytearray(message(bytes(body[5:])))
        elif kind == "letters":
            at = chance.randrange(len(body))
            body[at] = chance.choice(b"BCRYOIUDTMKNOtunbdwk\0\n")
        else:
            broken = chance.choice(NOT_UTF8)
            at = chance.randrange(len(body) // 2, len(body))
            body[at : at + len(broken)] = broken[: len(body) - at]
        if number < len(parts) and kind not in ("drop", "double", "move"):
            parts[number] = bytes(body)
        if not parts:
            break
    return content or b"".join(parts)


def test_the_naive_reader_and_the_decoder_agree_on_what_a_server_sends(streams: list[list[bytes]]) -> None:
    for messages in streams:
        content = b"".join(messages)
        rows, _ = naive(content)
        assert rows
        assert decoded(content) == naive(content)
        for place in range(len(messages)):
            assert decoded(content, [place]) == naive(content)


def test_damaged_streams_are_refused_with_the_place_or_read_as_a_naive_reader_would(
    streams: list[list[bytes]],
) -> None:
    print(f"GROUNDWORK_SEED={SEED}")
    ends = {"malformed": 0, "refused": 0, "rows": 0}
    for number in range(ROUNDS):
        chance = Random(f"{SEED}/{number}")
        wide = chance.random() < 0.05  # its many columns take their time
        content = damaged(chance, streams[-1] if wide else chance.choice(streams[:-1]))
        cuts = [chance.randrange(100) for _ in range(chance.choice([0, 0, 1, 3]))]
        expected, got = outcome(naive, content), outcome(decoded, content, cuts)
        # Which of two things that are wrong is told first does not matter.
        if got != expected and not (isinstance(expected, str) and isinstance(got, str)):
            stream = base64.b85encode(zlib.compress(content)).decode()  # positions and times are the server's
            pytest.fail(f"round {number} of seed {SEED}, cut at {cuts}: {stream}", pytrace=False)
        ends[expected if isinstance(expected, str) else "rows"] += 1
    print(ends)
    assert min(ends["malformed"], ends["rows"]) > ROUNDS // 10


def test_a_value_that_is_not_utf8_is_refused_with_its_place(streams: list[list[bytes]]) -> None:
    for text in (b"moved", b"x" * 3000, b"y" * 2500, b"second"):
        content = b"".join(next(messages for messages in streams if text in b"".join(messages)))
        at = content.index(text)
        for broken in NOT_UTF8:
            place = at + len(text) - len(broken)
            bad = content[:place] + broken + content[place + len(broken) :]
            with pytest.raises(ProtocolError, match=rf"byte {at} of the stream, .*: .* is not UTF-8"):
                decoded(bad)


def test_no_length_however_hostile_takes_memory(streams: list[list[bytes]]) -> None:
    content = b"".join(streams[1])
    tracemalloc.start()
    try:
        for at in range(1, len(content) - 4, 97):
            for length in (0x3FFFFFFF, 0xFFFFFFFF):
                outcome(decoded, content[:at] + struct.pack(">I", length) + content[at + 4 :])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20, f"{peak >> 20} MB"


# -- rows of a copy ---------------------------------------------------------------------------------------

COLUMNS = ["a", "b", "c"]


def copied(content: bytes) -> list[tuple[str | None, ...]]:
    buffer = padded(content)
    framed = frame(buffer, len(content), row_candidates(buffer.bytes, len(content)))
    if not len(framed.starts):
        return []
    return pl.DataFrame(pl.from_arrow(copytext.decode(buffer, framed, COLUMNS, "table t"))).rows()


def meant(field: str) -> str | None:
    """What a field says; an escape that the server never sends is left as it is."""
    if field == "\\N":
        return None
    return re.sub(r"\\(.)", lambda pair: UNESCAPED.get(pair[1], pair[0]), field, flags=re.DOTALL)


def copied_naively(content: bytes) -> list[tuple[str | None, ...]]:
    rows = []
    for body in cut(content):
        line = body.decode()
        fields = line[:-1].split("\t")
        if line[-1:] != "\n" or set("\n\r") & set(line[:-1]) or len(fields) != len(COLUMNS):
            raise Malformed("another shape")
        rows.append(tuple(map(meant, fields)))
    return rows


def test_damaged_copies_are_refused_or_read_as_a_naive_reader_would() -> None:
    print(f"GROUNDWORK_SEED={SEED}")
    lines = [
        "1\té💥\t\\N\n",
        "\\\\\t\\n\\t\t\n",
        "d\tlonger than twelve letters\tx\n",
        "\t\t\n",
        "\\\\N\t\\N\t2\n",
    ]
    read = 0
    for number in range(ROUNDS // 2):
        chance = Random(f"{SEED}/{number}")
        bodies = [bytearray(chance.choice(lines).encode()) for _ in range(chance.randrange(1, 6))]
        for _ in range(chance.choice([0, 1, 1, 2])):
            body = chance.choice(bodies)
            place = chance.randrange(len(body))
            body[place] = chance.choice([*b"\t\n\\Nd-\0\r\"'", 0xFF, 0xC3, chance.randrange(256)])
        content = bytearray(b"".join(message(bytes(body)) for body in bodies))
        if chance.random() < 0.2:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        try:
            expected: Any = copied_naively(bytes(content))
        except (Malformed, UnicodeDecodeError):
            expected = None
        try:
            got: Any = copied(bytes(content))
        except ProtocolError:
            got = None
        assert got == expected, f"round {number} of seed {SEED}"
        read += expected is not None
    assert read > ROUNDS // 20
