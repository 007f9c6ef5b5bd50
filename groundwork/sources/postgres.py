"""PostgreSQL: a snapshot of each table, handed over to the log without a gap or a duplicate.

A new stream is copied within the snapshot that a new slot exports, so log and snapshot meet in one exact
position. After that only the log is read, up to a message that we write into it ourselves: when it comes
back we are caught up. See docs/change-capture.md.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from groundwork import catalog
from groundwork.errors import SlotLost
from groundwork.settings import Resolve
from groundwork.sources import Checkpoint, Cursors, Rows, copytext, slot
from groundwork.sources.pgoutput import Changes, Decoded, Decoder, Relation
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.tables import Table, published
from groundwork.sources.views import nulls
from groundwork.sources.wire import Address, Connection, quoted

log = logging.getLogger(__name__)

LOG = "_log"
"""The cursor of the log itself, beside those of the streams."""

BATCH_ROWS = 1_000_000
"""A batch ends with the first transaction that brings it to this many rows."""

HEARTBEAT_BYTES = 16 << 20
"""With nothing new for us, the slot is moved on once the server keeps this much log."""

_BARRIER = "groundwork"


class PostgresSource:
    """Reads the tables of one catalog entry."""

    def __init__(self, entry: catalog.PostgresSource, resolve: Resolve, bucket_url: str) -> None:
        """Prepare; nothing is connected before `read`.

        Raises:
            SettingMissing: when the connection's secret has no value.
            SourceRefused: when it is not a URL.
        """
        self._entry, self._where = entry, f"source '{entry.source}'"
        self._address = Address.parse(resolve(entry.connection.url), self._where)
        self._slot = entry.connection.slot or slot.slot_name(entry.source, bucket_url)

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
        """Yield snapshots of what has none yet, then the log until caught up.

        Raises:
            SourceUnreachable, SourceRefused, SourceBusy, SlotLost: see `groundwork.errors`.
        """
        state = dict(cursors)
        with Connection(self._address, self._where) as sql:
            tables = published(sql, self._entry)
            logged = {n: t for n, t in tables.items() if self._replication(n) == "log_based"}
            for name, table in tables.items():
                if name not in logged:
                    yield from self._whole_table(table, state)
            if logged:
                slot.wait_until_free(sql, self._slot, self._where)
                system = str(sql.run("select system_identifier from pg_control_system()")[0][0])
                yield from self._snapshot(sql, logged, state, system)
                yield from self._log(sql, logged, state, system)
            else:
                yield Checkpoint(state)

    def _replication(self, stream: str) -> str:
        return self._entry.streams[stream].replication

    # -- whole tables ------------------------------------------------------------------------------

    def _whole_table(self, table: Table, state: dict[str, Any]) -> Iterator[Rows]:
        with Connection(self._address, self._where) as copying:
            yield Rows(table.stream, _gone(table, None))
            yield from self._copy(copying, table, None)
        state[table.stream] = {"columns": table.columns}

    def _copy(self, copying: Connection, table: Table, position: int | None) -> Iterator[Rows]:
        where = f"{self._where}, table {table.full_name}"
        for buffer, framed in copying.copy_rows(table.copy_statement()):
            frame = copytext.decode(buffer, framed, list(table.columns), where)
            stamps = [pl.lit("snapshot").alias("_operation")]
            if position is not None:
                stamps.append(pl.lit(_at(position)).alias("_sequence"))
            yield Rows(table.stream, frame.with_columns(stamps))

    # -- snapshot ----------------------------------------------------------------------------------

    def _snapshot(
        self, sql: Connection, tables: dict[str, Table], state: dict[str, Any], system: str
    ) -> Iterator[Rows | Checkpoint]:
        """Copy the streams that have no history yet; make the slot if this is the first time."""
        new = [table for name, table in tables.items() if name not in state]
        if not new:
            return
        first = LOG not in state
        if first:
            slot.drop(sql, self._slot)  # of an attempt that was never committed, or of before a refresh
        temporary = f"{self._slot[:50]}_{uuid.uuid4().hex[:8]}"
        with (
            Connection(self._address, self._where, replication=True) as keeper,
            Connection(self._address, self._where) as copying,
        ):
            position, name = slot.create_temporary(keeper, temporary)
            copying.run("begin isolation level repeatable read read only")
            copying.run(f"set transaction snapshot '{name}'")
            for table in new:
                log.info("copying source=%s stream=%s", self._entry.source, table.stream)
                yield Rows(table.stream, _gone(table, position))
                yield from self._copy(copying, table, position)
                state[table.stream] = {"snapshot": lsn_text(position), "columns": table.columns}
            if first:
                slot.make_permanent(keeper, temporary, self._slot)
                state[LOG] = {"lsn": lsn_text(position), "slot": self._slot, "system": system}
            yield Checkpoint(dict(state), heartbeat=True)

    # -- log ---------------------------------------------------------------------------------------

    def _log(
        self, sql: Connection, tables: dict[str, Table], state: dict[str, Any], system: str
    ) -> Iterator[Rows | Checkpoint]:
        """Read the log from the manifest's position to the message that we write into it now."""
        start = self._checked_position(sql, state, system)
        streams = {table.full_name: table.stream for table in tables.values()}
        keys = {t.full_name: self._entry.streams[t.stream].primary_key for t in tables.values()}
        decoder = Decoder(keys.get)
        barrier = uuid.uuid4().hex
        with Connection(self._address, self._where, replication=True) as stream:
            stream.start_stream(
                f"START_REPLICATION SLOT {quoted(self._slot)} LOGICAL {lsn_text(start)}"
                " (proto_version '1', messages 'true', publication_names"
                f" '{quoted(self._entry.connection.publication)}')"
            )
            sql.run(
                "select pg_logical_emit_message(true, cast(:prefix as text), cast(:content as text))",
                prefix=_BARRIER, content=barrier,
            )  # fmt: skip
            pending, events, caught_up = 0, [], False
            while True:
                buffer, framed, seen = stream.receive(barrier.encode())
                if not len(framed.starts):
                    continue
                commits = decoder.commits(buffer, framed)
                # Cut behind the last commit when a batch is to end there; else take all there is.
                ending = len(commits) > 0 and (seen or caught_up or pending >= BATCH_ROWS)
                count = int(commits[-1]) + 1 if ending else len(framed.starts)
                decoded = decoder.decode(buffer, framed, count)
                yield from _rows(decoded.changes, streams)
                pending += decoded.rows
                events += _shape_changes(decoded.relations, streams, state)
                caught_up = caught_up or _holds(decoded, barrier)
                stream.keep(int(framed.ends[count - 1]))
                if not ending or not (caught_up or pending >= BATCH_ROWS):
                    continue
                state[LOG] = state[LOG] | {"lsn": lsn_text(decoded.end_lsn)}
                behind = decoded.end_lsn - start
                checkpoint = Checkpoint(
                    dict(state), events, heartbeat=pending > 0 or behind > HEARTBEAT_BYTES
                )
                yield checkpoint
                if checkpoint.committed:
                    stream.acknowledge(decoded.end_lsn)
                    start, pending, events = decoded.end_lsn, 0, []
                if caught_up:
                    stream.end_stream()
                    return

    def _checked_position(self, sql: Connection, state: dict[str, Any], system: str) -> int:
        """Where the log is to be read from, once it is sure that it can be."""
        cursor = state[LOG]
        if cursor["system"] != system:
            raise SlotLost(
                self._where, "this is another database cluster than the one read so far",
                why="its system identifier differs; positions in the log mean nothing here",
                fix="correct the connection URL, or run `python -m groundwork full-refresh` for it",
            )  # fmt: skip
        start = lsn_number(cursor["lsn"])
        slot.check(sql, self._slot, start, self._where)
        return start


def _at(position: int) -> str:
    """The sequence of everything in a snapshot: before the first change after it."""
    return f"{position:016x}/{0:08x}"


def _gone(table: Table, position: int | None) -> pl.DataFrame:
    """The row that ends all earlier records of a stream: what follows is all there is."""
    frame = pl.DataFrame({name: nulls(1) for name in table.columns})
    frame = frame.with_columns(pl.lit("truncate").alias("_operation"))
    if position is not None:
        frame = frame.with_columns(pl.lit(_at(position)).alias("_sequence"))
    return frame


def _rows(changes: Iterable[Changes], streams: dict[str, str]) -> Iterator[Rows]:
    for change in changes:
        yield Rows(streams[change.relation.name], change.frame)


def _holds(decoded: Decoded, barrier: str) -> bool:
    return any(m.prefix == _BARRIER and m.content == barrier.encode() for m in decoded.messages)


def _shape_changes(
    relations: list[Relation], streams: dict[str, str], state: dict[str, Any]
) -> list[dict[str, Any]]:
    """Tell how tables differ from what we knew, and know it from now on."""
    events = []
    for relation in relations:
        stream = streams.get(relation.name)
        if stream is None:
            continue
        now = {n: oid for n, (oid, _) in zip(relation.columns, relation.types, strict=True)}
        known: dict[str, int] = state[stream].get("columns", now)
        if now != known:
            event = {
                "event": "columns_changed",
                "stream": stream,
                "added": sorted(now.keys() - known.keys()),
                "gone": sorted(known.keys() - now.keys()),
                "retyped": sorted(n for n in now.keys() & known.keys() if now[n] != known[n]),
            }
            events.append(event)
            log.warning("columns changed stream=%s added=%s gone=%s", stream, event["added"], event["gone"])
        state[stream] = state[stream] | {"columns": now}
    return events
