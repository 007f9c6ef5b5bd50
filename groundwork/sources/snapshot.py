"""Copy tables as they stood at one exact position of the log.

A temporary slot exports a snapshot; whatever is copied within it fits the log from the slot's position on,
without a gap and without a duplicate (PostgreSQL manual, "Streaming Replication Protocol",
CREATE_REPLICATION_SLOT).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pyarrow as pa

from groundwork.errors import CatalogError, about
from groundwork.sources import Checkpoint, Rows, slot, waiting
from groundwork.sources.copying import Copying
from groundwork.sources.reading import Reading, at
from groundwork.sources.shapes import copied, uncopied
from groundwork.sources.slot import lsn_text
from groundwork.sources.tables import Table
from groundwork.sources.waiting import told_while_waiting

log = logging.getLogger(__name__)


def whole_table(reading: Reading, table: Table) -> Iterator[Rows]:
    """Read a ``full_table`` stream: all earlier records end, these are all there is.

    Raises:
        CatalogError: when the stream was read from the log before.
    """
    with about(table.full_name):
        yield from _whole_table(reading, table)


def _whole_table(reading: Reading, table: Table) -> Iterator[Rows]:
    if "snapshot" in reading.state.get(table.stream, {}):
        raise CatalogError(
            f"catalog: {reading.source}.streams.{table.stream}.replication",
            "was 'log_based' so far, and cannot become 'full_table'",
            why="what was read from the log would count as newer",
            fix="give the stream another name",
        )
    with Copying(reading) as copying:
        yield _gone(table, None)
        for rows in copying.rows(table):
            yield Rows(table.stream, rows, _stamps("snapshot", None))
    reading.state[table.stream] = {"columns": table.columns}


def history(reading: Reading, tables: dict[str, Table]) -> Iterator[Rows | Checkpoint]:
    """Copy the log-based streams that have no history yet; make the slot if this is the first time."""
    state = reading.state
    new = uncopied(tables, state)
    if not new:
        return
    first = not reading.has_slot
    temporary = f"{reading.base[:50]}_{uuid.uuid4().hex[:8]}"
    with reading.replication() as keeper, reading.connection() as sql:
        with told_while_waiting(reading):
            position, name = slot.create_temporary(keeper, temporary, waiting.WAIT_SECONDS)
        if first:
            reading.begin_log(position)
        place = position + reading.raised
        with Copying(reading, name) as copying:
            for table, whole in new:
                log.info("copying source=%s stream=%s", reading.source, table.stream)
                with about(table.full_name):
                    if whole:
                        yield _gone(table, place)
                    for rows in copying.rows(table):
                        yield Rows(table.stream, rows, _stamps("snapshot", place))
                if whole and _under_another_key(reading, table.stream):
                    reading.copied[table.stream] = position
                cursor = state.get(table.stream, {})
                state[table.stream] = copied(table, cursor, lsn_text(position), whole=whole)
        if first:
            # Under the name that is not in use: the newest manifest's slot stays until there is a newer one.
            fresh = reading.next_slot
            slot.make_permanent(keeper, temporary, fresh)
            reading.follow(fresh, position)
        yield reading.checkpoint(heartbeat=True)
        reading.settled()
        if first:
            slot.drop_others(sql, reading.slots, reading.slot, reading.where)


def _under_another_key(reading: Reading, stream: str) -> bool:
    """Whether the log before a copy may identify rows by other columns than the catalog says now."""
    events = (event["event"] for event in reading.events if event.get("stream") == stream)
    return bool({"key_changed", "back"}.intersection(events))


def _gone(table: Table, position: int | None) -> Rows:
    """The row that ends all earlier records of a stream: what follows is all there is."""
    nothing = pa.table({name: pa.nulls(1, pa.string()) for name in table.columns})
    return Rows(table.stream, nothing, _stamps("truncate", position))


def _stamps(operation: str, position: int | None) -> dict[str, str]:
    return {"_operation": operation} | ({} if position is None else {"_sequence": at(position)})
