"""The source's own history, and what landing must say of it.

It is read from a second slot, made before the first row, by a parser that shares nothing with the engine.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.postgres import Postgres
from tests.chaos.workload import DATABASE, RECORD
from tests.reference_pgoutput import UNCHANGED, Event, Transaction, parse

CHUNK = 40_000
"""Changes asked for at a time; the server ends each answer at the end of a transaction."""

EPOCH_US = 946_684_800_000_000  # 2000-01-01, from where PostgreSQL counts, in microseconds since 1970


@dataclass(frozen=True)
class Expected:
    """One row that landing must hold."""

    sequence: str
    operation: str
    values: dict[str, str | None]
    unchanged: frozenset[str]
    committed_at_us: int


def transactions(server: Postgres) -> Iterator[Transaction]:
    """All transactions since the slot was made, in the order of their commits."""
    yield from parse(_messages(server))


def _messages(server: Postgres) -> Iterator[tuple[int, bytes]]:
    statement = (
        f"copy (select lsn, data from pg_logical_slot_get_binary_changes('{RECORD}', null, {CHUNK},"
        " 'proto_version', '1', 'publication_names', 'groundwork', 'messages', 'true')) to stdout"
    )
    with server.connection(DATABASE) as connection:
        while True:
            answer = io.BytesIO()
            connection.run(statement, stream=answer)
            answer.seek(0)
            nothing = True
            for line in answer:
                nothing = False
                lsn, _, data = line.rstrip(b"\n").partition(b"\t")
                high, _, low = lsn.decode().partition("/")
                yield int(high, 16) << 32 | int(low, 16), bytes.fromhex(data[3:].decode())
            if nothing:
                return


def expected(transaction: Transaction, event: Event, key: list[str]) -> list[Expected]:
    """What one event must be in landing (docs/change-capture.md, "What is stored")."""
    before = f"{transaction.commit_lsn:016x}/{2 * event.ordinal + 1:08x}"
    after = f"{transaction.commit_lsn:016x}/{2 * event.ordinal + 2:08x}"
    at = transaction.committed_at_us + EPOCH_US

    def row(sequence: str, operation: str, values: Any) -> Expected:
        unchanged = frozenset(name for name, value in values.items() if value is UNCHANGED)
        plain = {name: None if value is UNCHANGED else value for name, value in values.items()}
        return Expected(sequence, operation, plain, unchanged, at)

    old, new = event.old or {}, dict(event.new or {})
    if event.kind == "truncate":
        return [row(after, "truncate", {})]
    if event.kind == "delete":
        return [row(after, "delete", old)]
    if event.kind == "insert":
        return [row(after, "insert", new)]
    for name, value in new.items():
        if value is UNCHANGED and old.get(name) is not None:
            new[name] = old[name]
    if not key:
        return [row(before, "delete", old), row(after, "insert", new)]
    moved = old and any(new[name] is not UNCHANGED and old[name] != new[name] for name in key)
    return [row(before, "delete", old)] * bool(moved) + [row(after, "update", new)]


def landed(row: dict[str, Any]) -> Expected:
    """A row of landing in the same form."""
    at = row["_committed_at"]
    return Expected(
        row["_sequence"], row["_operation"],
        {name: value for name, value in row.items() if not name.startswith("_")},
        frozenset(json.loads(row["_unchanged"] or "[]")),
        int(at.timestamp() * 1_000_000 + 0.5) if at else 0,
    )  # fmt: skip


def differs(wanted: Expected, there: Expected) -> str:
    """What of a row is not as it must be; empty when all is. Columns it had at other times are null."""
    if wanted.operation != there.operation:
        return f"operation {there.operation}, not {wanted.operation}"
    if wanted.unchanged != there.unchanged:
        return f"_unchanged {sorted(there.unchanged)}, not {sorted(wanted.unchanged)}"
    if wanted.committed_at_us != there.committed_at_us:
        return f"_committed_at {there.committed_at_us}, not {wanted.committed_at_us}"
    names = [n for n in there.values if there.values[n] != wanted.values.get(n)]
    names += [n for n in wanted.values if n not in there.values]
    return f"values of {names}" if names else ""
