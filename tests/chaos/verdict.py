"""The verdict: landing against the record of the source's history, event by event."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from groundwork.manifest import Manifest
from groundwork.sources.slot import lsn_number
from groundwork.warehouses.duckdb import DuckDB
from groundwork.warehouses.duckdb_text import quoted
from tests.chaos.record import Expected, differs, expected, landed
from tests.reference_pgoutput import Transaction

SHOWN = 12
"""Examples kept of each thing that is wrong."""

CHUNK = 60_000
"""Events compared at a time."""

Streams = dict[str, tuple[str, list[str]]]


@dataclass
class Verdict:
    """What was compared, and what was wrong. All but the first three must be zero."""

    transactions: int = 0
    events: int = 0
    """Rows of landing that the record asks for, within the windows of their streams."""
    per_stream: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicate: int = 0
    changed: int = 0
    """There once, at its place, with another value, operation or time."""
    invented: int = 0
    """In landing, and not in the record."""
    disordered: int = 0
    """A later place in the source's order in an earlier batch."""
    different: int = 0
    """Rows in which what landing amounts to differs from the source's tables."""
    rows: int = 0
    """Rows of the source's tables that were compared so."""
    staged: int = 0
    """Rows of base models compared with the source."""
    forgotten: int = 0
    """Objects that the S3 server had said to have stored, and lost."""
    beside: int = 0
    """Events of streams while they were not read (before their snapshot, after they left the catalog)."""
    examples: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, and something was compared."""
        return not self.wrong and self.events > 0

    @property
    def wrong(self) -> int:
        """All that must be zero."""
        return (
            self.lost + self.duplicate + self.changed + self.invented
            + self.disordered + self.different + self.forgotten
        )  # fmt: skip

    def tell(self, what: str) -> None:
        """Keep an example."""
        if len(self.examples) < SHOWN:
            self.examples.append(what[:300])


def windows(manifests: Iterable[Manifest]) -> dict[str, list[tuple[int, int | None]]]:
    """Per stream, from where to where in the log it was read: (snapshot, end of its last manifest)."""
    found: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    there: dict[str, int] = {}
    end = 0
    for manifest in manifests:
        live = {n: c for n, c in manifest.cursors.items() if not n.startswith("_") and "snapshot" in c}
        for gone in there.keys() - live.keys():
            found[gone].append((there.pop(gone), end))
        for stream, cursor in live.items():
            there.setdefault(stream, lsn_number(cursor["snapshot"]))
        end = lsn_number(manifest.cursors.get("_log", {}).get("lsn", "0/0"))
    for stream, start in there.items():
        found[stream].append((start, None))
    return found


def compare_events(
    history: Iterator[Transaction],
    warehouse: DuckDB,
    manifests: list[Manifest],
    streams: Streams,
    verdict: Verdict,
) -> None:
    """Hold landing against the record.

    Args:
        history: the record.
        warehouse: where landing is.
        manifests: all there are.
        streams: every stream there ever was: table and key.
        verdict: is added to.
    """
    when, names = windows(manifests), {table: stream for stream, (table, _) in streams.items()}
    previous = ""
    while chunk := _some(history):
        verdict.transactions += len(chunk)
        wanted: dict[str, list[tuple[Expected, bool]]] = defaultdict(list)
        for transaction in chunk:
            for event in transaction.events:
                stream = names.get(event.table)
                if stream is None or event.kind == "message":
                    continue
                due = any(
                    a <= transaction.commit_lsn and (b is None or transaction.commit_lsn < b)
                    for a, b in when.get(stream, [])
                )
                rows = expected(transaction, event, streams[stream][1])
                wanted[stream] += [(row, due) for row in rows]
        last = f"{chunk[-1].commit_lsn:016x}/~"
        for stream in streams:
            there = _landed(warehouse, stream, previous, last)
            compare_stream(stream, wanted[stream], there, verdict)
        previous = last
    for stream in streams:
        for row in _landed(warehouse, stream, previous, "~"):
            verdict.invented += 1
            verdict.tell(f"{stream}: {row.operation} at {row.sequence} is after all that happened")
        verdict.disordered += _disordered(warehouse, stream)
        _hold_against_manifests(warehouse, stream, manifests, verdict)


def _some(history: Iterator[Transaction]) -> list[Transaction]:
    found, events = [], 0
    for transaction in history:
        found.append(transaction)
        events += len(transaction.events)
        if events >= CHUNK:
            break
    return found


def _landed(warehouse: DuckDB, stream: str, after: str, up_to: str) -> list[Expected]:
    """Rows of the log in landing, from one place in the source's order to another."""
    table = f"shop__{stream}"
    columns = warehouse.columns("landing", table)
    if not columns:
        return []
    found = warehouse.query(
        f"select * from landing.{quoted(table)} where _sequence > ? and _sequence <= ?"
        " and _sequence not like '%/00000000' order by _sequence",
        [after, up_to],
    )
    return [landed(_in_utc(dict(zip(columns, row, strict=True)))) for row in found]


def _in_utc(row: dict[str, Any]) -> dict[str, Any]:
    at = row["_committed_at"]
    return row | {"_committed_at": at.replace(tzinfo=UTC) if at else None}


def compare_stream(
    stream: str, wanted: list[tuple[Expected, bool]], there: list[Expected], verdict: Verdict
) -> None:
    """Hold rows of landing against what is wanted; each of those comes with whether it must be there."""
    by_place: dict[str, list[Expected]] = defaultdict(list)
    for row in there:
        by_place[row.sequence].append(row)
    for row, due in wanted:
        found = by_place.pop(row.sequence, [])
        verdict.events += due
        verdict.per_stream[stream] += due
        verdict.beside += not due
        if not found and due:
            verdict.lost += 1
            verdict.tell(f"{stream}: {row.operation} at {row.sequence} is lost")
        if len(found) > 1:
            verdict.duplicate += len(found) - 1
            verdict.tell(f"{stream}: {row.operation} at {row.sequence} is there {len(found)} times")
        if found and (why := differs(row, found[0])):
            verdict.changed += 1
            verdict.tell(f"{stream}: {row.operation} at {row.sequence} differs: {why}")
    for sequence, found in by_place.items():
        verdict.invented += len(found)
        verdict.tell(f"{stream}: {found[0].operation} at {sequence} never happened")


def _hold_against_manifests(
    warehouse: DuckDB, stream: str, manifests: list[Manifest], verdict: Verdict
) -> None:
    """Each row of each object is in landing once: snapshots too, of which the record knows nothing."""
    objects = [stored for manifest in manifests for stored in manifest.objects if stored.stream == stream]
    wanted = sum(stored.rows for stored in objects)
    there, different = 0, 0
    if warehouse.columns("landing", f"shop__{stream}"):
        table = quoted(f"shop__{stream}")
        found = warehouse.query(f"select count(*), count(distinct (_file, _row)) from landing.{table}")
        there, different = found[0]
    if there > different:
        verdict.duplicate += there - different
        verdict.tell(f"{stream}: {there - different} rows of objects are there again")
    if different < wanted:
        verdict.lost += wanted - different
        verdict.tell(f"{stream}: {wanted - different} rows of objects are lost")


def _disordered(warehouse: DuckDB, stream: str) -> int:
    """Rows of the log that stand in an earlier batch than one that happened before."""
    table = f"shop__{stream}"
    if not warehouse.columns("landing", table):
        return 0
    found = warehouse.query(
        "select count(*) from (select _batch_id, max(_batch_id) over (order by _sequence rows between"
        f" unbounded preceding and 1 preceding) as before from landing.{quoted(table)}"
        " where _sequence not like '%/00000000') where before > _batch_id"
    )
    return int(found[0][0])


def difference(copies: Iterable[tuple[Any, ...]], truth: Iterable[tuple[Any, ...]]) -> tuple[int, int]:
    """How many rows one has that the other lacks, both ways, as a bag."""
    left, right = Counter(copies), Counter(truth)
    return (left - right).total(), (right - left).total()
