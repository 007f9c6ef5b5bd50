"""Deletes and updates that meet no live row in landing: looked for after each load, and kept until a copy.

The reader of the WAL knows positions only. Which rows are live is known where the history is: in landing.
Such a change means that history was lost, or that its rows are matched by something that was not so when it
was written. See docs/decisions/0050-unmatched-changes.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from groundwork.catalog import AnySource, PostgresSource
from groundwork.errors import ChangesUnmatched
from groundwork.manifest import batch_name, now
from groundwork.warehouses import INSTANT, LANDING, LANDING_METADATA, TEXT, WHOLE, Warehouse

log = logging.getLogger(__name__)

UNMATCHED = "_unmatched"
_COLUMNS = {
    "source": TEXT,
    "stream": TEXT,
    "batch_id": TEXT,
    "sequence": TEXT,
    "changes": WHOLE,
    "since": INSTANT,
}
"""One row per stream with such changes; one with an empty stream says up to which batch all was looked at."""


@dataclass(frozen=True)
class Unmatched:
    """Changes of one stream that met no live row, since its newest copy."""

    stream: str
    changes: int
    sequence: str
    """Of the newest of them."""
    batch: str
    """The newest batch when they were found."""
    since: datetime
    """UTC, without zone."""

    @property
    def complaint(self) -> str:
        """What is to be said of them."""
        return (
            f"stream {self.stream}: {self.changes} deletes or updates met no live row"
            f" (found up to batch {self.batch}, since {self.since:%Y-%m-%dT%H:%M:%S}+00:00)"
        )


def look(entry: AnySource, warehouse: Warehouse, known: int, loaded: Collection[str]) -> dict[str, Unmatched]:
    """Look at what was loaded, and at streams that had such changes before; by stream, what is open.

    Args:
        entry: the catalog's entry of the source.
        warehouse: holds its landing tables.
        known: the newest batch before this load.
        loaded: streams that this load brought rows of.
    """
    if not isinstance(entry, PostgresSource):
        return {}
    streams = [name for name, stream in entry.streams.items() if stream.replication == "log_based"]
    fresh = [name for name in streams if name in loaded]
    seen, marks = _remembered(warehouse, entry.source)
    if not fresh and not marks:
        return {}
    newest = batch_name(warehouse.loaded(entry.source))
    before = seen if seen is not None else batch_name(known)
    if before < batch_name(known):  # a load ended before it had looked
        fresh = streams
    found = {name: _count(entry, warehouse, name, before) for name in fresh}
    lasting = {name: mark for name, mark in marks.items() if not _copied_since(entry, warehouse, mark)}
    opened = _joined(lasting, found, newest)
    for name in opened.keys() & {name for name, (changes, _) in found.items() if changes}:
        log.error(
            "unmatched source=%s stream=%s batch=%s changes=%d",
            entry.source,
            name,
            newest,
            found[name][0],
        )
    if seen is None or before != newest or opened != marks:
        _remember(warehouse, entry.source, newest, opened)
    return opened


def insist(source: str, found: Mapping[str, Unmatched]) -> None:
    """Fail if changes met no live row; to be called when all other work is done.

    Raises:
        ChangesUnmatched: naming each stream and how many.
    """
    if found:
        streams = " ".join(f"--stream {name}" for name in found)
        raise ChangesUnmatched(
            f"source '{source}'",
            "; ".join(mark.complaint for mark in found.values()),
            why="landing lacks rows that the source had, or shows rows that the source deleted",
            fix=f"run `python -m groundwork full-refresh {source} {streams}`: it reads the tables again",
        )


def _remembered(warehouse: Warehouse, source: str) -> tuple[str | None, dict[str, Unmatched]]:
    """Up to which batch all was looked at, None when never; and what was found."""
    if not warehouse.columns(LANDING, UNMATCHED):
        return None, {}
    rows = warehouse.query(
        f"select stream, changes, sequence, batch_id, since from {LANDING}.{UNMATCHED} where source = ?",
        [source],
    )
    marks = {row[0]: Unmatched(row[0], int(row[1]), *row[2:]) for row in rows if row[0]}
    return next((row[3] for row in rows if not row[0]), None), marks


def _remember(warehouse: Warehouse, source: str, newest: str, marks: Mapping[str, Unmatched]) -> None:
    warehouse.widen(UNMATCHED, _COLUMNS)
    rows = [["", newest, "", 0, now().replace(tzinfo=None, microsecond=0)]]
    rows += [[m.stream, m.batch, m.sequence, m.changes, m.since] for m in marks.values()]
    warehouse.query(f"delete from {LANDING}.{UNMATCHED} where source = ?", [source])
    for row in rows:
        warehouse.query(
            f"insert into {LANDING}.{UNMATCHED} (source, stream, batch_id, sequence, changes, since)"
            " values (?, ?, ?, ?, ?, ?)",
            [source, *row],
        )


def _joined(
    marks: Mapping[str, Unmatched], found: Mapping[str, tuple[int, str]], newest: str
) -> dict[str, Unmatched]:
    """What was open, and what was found now."""
    opened, moment = dict(marks), now().replace(tzinfo=None, microsecond=0)
    for name, (changes, sequence) in found.items():
        if changes:
            before = marks.get(name)
            total, since = (before.changes, before.since) if before else (0, moment)
            opened[name] = Unmatched(name, total + changes, sequence, newest, since)
    return opened


def _table(entry: AnySource, warehouse: Warehouse, stream: str) -> str:
    return f"{LANDING}.{warehouse.quoted(f'{entry.source}__{stream}')}"


def _own(entry: AnySource, warehouse: Warehouse, stream: str) -> list[str]:
    """The source's columns of a landing table, which a catalog need not list."""
    there = warehouse.columns(LANDING, f"{entry.source}__{stream}")
    return [name for name in there if name not in LANDING_METADATA]


def _copied_since(entry: AnySource, warehouse: Warehouse, mark: Unmatched) -> bool:
    """Whether a copy or a truncate came after the changes: earlier history decides nothing then."""
    if mark.stream not in entry.streams:
        return True
    table, newest = _table(entry, warehouse, mark.stream), "_operation = 'truncate' and _sequence > ?"
    return bool(warehouse.query(f"select 1 from {table} where {newest} limit 1", [mark.sequence]))


def _count(entry: PostgresSource, warehouse: Warehouse, stream: str, before: str) -> tuple[int, str]:
    """How many changes after a batch met no live row, and the sequence of the newest of them."""
    table, described = _table(entry, warehouse, stream), entry.streams[stream]
    changed = warehouse.query(
        f"select max(_sequence) from {table} where _batch_id > ? and _operation in ('delete', 'update')",
        [before],
    )[0][0]
    # The copy of a partition that was attached has its rows; what the WAL says of them before met none.
    floor, began = warehouse.query(
        f"select max(_sequence), max(case when _operation = 'truncate' then _sequence end) from {table}"
        " where _operation in ('truncate', 'snapshot')"
    )[0]
    if changed is None or (floor is not None and changed <= floor):
        return 0, ""
    statement = _KEYED if described.primary_key else _KEYLESS
    columns = described.primary_key or list(described.columns) or _own(entry, warehouse, stream)
    names = [warehouse.quoted(name) for name in columns]
    same = " and ".join(f"history.{name} is not distinct from changed.{name}" for name in names)
    of_history = ", ".join(f"history.{name}" for name in names)
    filled = statement.format(table=table, names=", ".join(names), same=same, of_history=of_history)
    (changes, newest), *_ = warehouse.query(filled, [before, floor or "", began or ""])
    return int(changes or 0), newest or ""


_KEYED = """
with changed as (
    select {names}, _operation, _sequence,
        -- a change of key is a delete at an odd place and, right behind it, an update (sources/tuples.py)
        coalesce(
            lag(_operation) over (order by _sequence) = 'delete'
            and right(lag(_sequence) over (order by _sequence), 1) in ('1', '3', '5', '7', '9', 'b', 'd', 'f')
            and left(lag(_sequence) over (order by _sequence), 16) = left(_sequence, 16),
            false
        ) as _moved
    from {table}
    where _batch_id > ? and _operation in ('delete', 'update') and _sequence > ?
),

touched as (select distinct {names} from changed),

versions as (
    select {of_history}, history._operation, history._sequence,
        lag(history._operation) over (
            partition by {of_history}
            order by history._sequence, history._batch_id, history._file, history._row
        ) as _before
    from {table} as history
    inner join touched as changed on {same}
    where history._operation <> 'truncate' and history._sequence >= ?
)

select count(*), max(changed._sequence)
from changed
inner join versions as history on {same} and history._sequence = changed._sequence
where coalesce(history._before, 'delete') = 'delete'
    and not (changed._operation = 'update' and changed._moved)
"""
"""A change of a key whose version before is a delete, or that has none."""

_KEYLESS = """
with changed as (
    select {names}, count(*) as _changes, max(_sequence) as _newest
    from {table}
    where _batch_id > ? and _operation = 'delete' and _sequence > ?
    group by {names}
),

totals as (
    select {of_history}, sum(case when history._operation = 'delete' then 1 else -1 end) as _excess
    from {table} as history
    inner join changed on {same}
    where history._operation <> 'truncate' and history._sequence >= ?
    group by {of_history}
)

select sum(least(changed._changes, history._excess)), max(changed._newest)
from changed
inner join totals as history on {same}
where history._excess > 0
"""
"""Deletes of a text beyond the rows that have it."""
