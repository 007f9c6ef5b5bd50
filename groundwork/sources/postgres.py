"""PostgreSQL: a snapshot of each table, handed over to the log without a gap or a duplicate.

A new stream is copied within the snapshot that a new slot exports, so log and snapshot meet in one exact
position. After that only the log is read, up to a message that we write into it ourselves: when it comes
back we are caught up. See docs/change-capture.md.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from groundwork import catalog
from groundwork.errors import CatalogError, SlotLost
from groundwork.settings import Resolve
from groundwork.sources import Checkpoint, Cursors, Rows, copytext, slot
from groundwork.sources.address import Address
from groundwork.sources.pgoutput import Decoded, Decoder
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.tables import Table, check_names, published
from groundwork.sources.tuples import Changes, Relation
from groundwork.sources.views import nulls
from groundwork.sources.wire import Connection, quoted

log = logging.getLogger(__name__)

LOG = "_log"
"""The cursor of the log itself, beside those of the streams."""

BATCH_ROWS = 1_000_000
"""A batch ends with the first transaction that brings it to this many rows."""

HEARTBEAT_BYTES = 16 << 20
"""With nothing new for us, the slot is moved on once the server keeps this much log."""

_BARRIER = "groundwork"

_EPOCH = 1 << 56
"""Added to every position for each time the log began anew below where it had been; no log is that long."""

_ROUNDS = 3
"""How often a run looks again at tables whose shape changed while it read."""


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
        # A stream that is left out for a while misses changes: it must begin anew when it comes back.
        state = {n: known for n, known in cursors.items() if n == LOG or n in self._entry.streams}
        with Connection(self._address, self._where) as sql:
            for further in range(_ROUNDS):
                history = {name for name, known in state.items() if "snapshot" in known}
                tables = published(sql, self._entry, history)
                logged = {n: t for n, t in tables.items() if self._replication(n) == "log_based"}
                for name, table in tables.items():
                    if name not in logged and not further:
                        yield from self._whole_table(table, state)
                if not logged:
                    yield Checkpoint(state)
                    return
                slot.wait_until_free(sql, self._slot, self._where)
                system = self._system()
                if "slot" in state.get(LOG, {}):
                    self._checked_position(sql, state, system)
                events = _reshaped(logged, state)
                yield from self._snapshot(sql, logged, state, system, events)
                if not (yield from self._log(sql, logged, state, system, events)):
                    return

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other runs of this source out.

        Raises:
            SourceBusy: when another run is in.
        """
        with Connection(self._address, self._where) as holding:
            slot.claim(holding, self._slot, self._where)
            yield

    def forget(self, cursors: Cursors) -> Cursors:
        """What must outlive a full refresh: that sequences go on rising, even in another cluster."""
        if LOG not in cursors:
            return {}
        return {LOG: {name: cursors[LOG][name] for name in ("lsn", "epoch") if name in cursors[LOG]}}

    def _system(self) -> str:
        """The cluster's own number; this way needs no right but REPLICATION."""
        with Connection(self._address, self._where, replication=True) as stream:
            return str(stream.run("IDENTIFY_SYSTEM")[0][0])

    def _replication(self, stream: str) -> str:
        return self._entry.streams[stream].replication

    # -- whole tables ------------------------------------------------------------------------------

    def _whole_table(self, table: Table, state: dict[str, Any]) -> Iterator[Rows]:
        if "snapshot" in state.get(table.stream, {}):
            raise CatalogError(
                f"catalog: {self._entry.source}.streams.{table.stream}.replication",
                "was 'log_based' so far, and cannot become 'full_table'",
                why="what was read from the log would count as newer",
                fix="give the stream another name",
            )
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
        self, sql: Connection, tables: dict[str, Table], state: dict[str, Any], system: str,
        events: list[dict[str, Any]],
    ) -> Iterator[Rows | Checkpoint]:  # fmt: skip
        """Copy the streams that have no history yet; make the slot if this is the first time."""
        new = [table for name, table in tables.items() if "snapshot" not in state.get(name, {})]
        if not new:
            return
        first = "slot" not in state.get(LOG, {})
        temporary = f"{self._slot[:50]}_{uuid.uuid4().hex[:8]}"
        with (
            Connection(self._address, self._where, replication=True) as keeper,
            Connection(self._address, self._where) as copying,
        ):
            position, name = slot.create_temporary(keeper, temporary)
            if first:
                state[LOG] = _begun_anew(state.get(LOG, {}), position)
            place = position + state[LOG].get("epoch", 0) * _EPOCH
            copying.run("begin isolation level repeatable read read only")
            copying.run(f"set transaction snapshot '{name}'")
            for table in new:
                log.info("copying source=%s stream=%s", self._entry.source, table.stream)
                yield Rows(table.stream, _gone(table, place))
                yield from self._copy(copying, table, place)
                state[table.stream] = {"snapshot": lsn_text(position)} | _known(table)
            if first:
                # A slot of this name is of before a refresh, or of an attempt that was never committed.
                slot.drop(sql, self._slot)
                slot.make_permanent(keeper, temporary, self._slot)
                state[LOG] |= {"lsn": lsn_text(position), "slot": self._slot, "system": system}
            yield Checkpoint(dict(state), list(events), heartbeat=True)
            events.clear()

    # -- log ---------------------------------------------------------------------------------------

    def _log(
        self, sql: Connection, tables: dict[str, Table], state: dict[str, Any], system: str,
        events: list[dict[str, Any]],
    ) -> Generator[Rows | Checkpoint, None, bool]:  # fmt: skip
        """Read the log from the manifest's position to the message that we write into it now.

        Returns:
            Whether a table must be looked at again: it has another shape than ``tables`` say, or a value that
            only a copy can tell.
        """
        start = self._checked_position(sql, state, system)
        streams = {table.full_name: table.stream for table in tables.values()}
        keys = {t.full_name: self._entry.streams[t.stream].primary_key for t in tables.values()}
        decoder = Decoder(keys.get, state[LOG].get("epoch", 0) * _EPOCH)
        shapes: dict[str, Relation] = {}
        barrier = uuid.uuid4().hex
        with Connection(self._address, self._where, replication=True) as stream:
            stream.start_stream(
                f"START_REPLICATION SLOT {quoted(self._slot)} LOGICAL {lsn_text(start)}"
                " (proto_version '1', messages 'true', publication_names"
                f" '{quoted(self._entry.connection.publication)}')",
                start,
            )
            sql.run(
                "select pg_logical_emit_message(true, cast(:prefix as text), cast(:content as text))",
                prefix=_BARRIER, content=barrier,
            )  # fmt: skip
            pending, caught_up = 0, False
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
                for change in decoded.changes:
                    events += _unknown(change, streams, state)
                for relation in decoded.relations:
                    if relation.name in streams:
                        shapes[streams[relation.name]] = relation
                        check_names(f"{self._where}, table {relation.name}", relation.columns)
                caught_up = caught_up or _holds(decoded, barrier)
                stream.keep(int(framed.ends[count - 1]))
                # The barrier may come unseen, with bytes that were at hand: what was decoded counts.
                whole = decoded.end_lsn and not decoder.inside
                if not whole or not (caught_up or pending >= BATCH_ROWS):
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
                    unread = any("snapshot" not in state[name] for name in tables)
                    return unread or any(_differs(tables[name], shape) for name, shape in shapes.items())

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


def _begun_anew(log_before: dict[str, Any], position: int) -> dict[str, Any]:
    """The log's cursor for a new slot: in another epoch if its positions would not rise."""
    epoch = log_before.get("epoch", 0)
    if position <= lsn_number(log_before.get("lsn", "0/0")):
        epoch += 1
    return {"epoch": epoch}


def _known(table: Table) -> dict[str, Any]:
    """What the cursor remembers of a table, to see how it changes."""
    last = max(number for _, _, number in table.shape.values())
    return {"oid": table.oid, "member": table.member, "shape": table.shape, "last": last}


def _differs(table: Table, relation: Relation) -> bool:
    shape = {n: tuple(kind[:2]) for n, kind in table.shape.items()}
    return relation.id != table.oid or dict(zip(relation.columns, relation.types, strict=True)) != shape


def _unknown(change: Changes, streams: dict[str, str], state: dict[str, Any]) -> list[dict[str, Any]]:
    """Forget the history of a stream whose record got a new key, and a value that the log did not repeat.

    The value is known under the old key only. A copy tells it, and this is rare enough.
    """
    stream = streams[change.relation.name]
    if not change.unknown or "snapshot" not in state[stream]:
        return []
    log.warning("moved rows with unrepeated values stream=%s rows=%d", stream, change.unknown)
    state[stream] = {name: value for name, value in state[stream].items() if name != "snapshot"}
    return [{"event": "values_unknown", "stream": stream, "rows": change.unknown, "copied_again": True}]


def _reshaped(tables: dict[str, Table], state: dict[str, Any]) -> list[dict[str, Any]]:
    """Tell how tables differ from what we knew; forget the history of those that must be copied again.

    The log says nothing of rows that a change of the table itself altered: those that got a default, were
    rewritten in another type, or have their value under another name now.
    """
    events = []
    for stream, table in tables.items():
        known, now = state.get(stream, {}), table.shape
        if "snapshot" not in known:
            continue
        if known.get("oid", table.oid) != table.oid:
            events.append({"event": "table_recreated", "stream": stream, "copied_again": True})
        elif known.get("member", table.member) != table.member:
            events.append({"event": "published_anew", "stream": stream, "copied_again": True})
        elif (before := known.get("shape", now)) != now:
            added = sorted(now.keys() - before.keys())
            retyped = sorted(n for n in now.keys() & before.keys() if now[n] != before[n])
            # A column is null in all older rows only if it is new and came without a value.
            filled = [n for n in added if n in table.filled or now[n][2] <= known["last"]]
            events.append(
                {
                    "event": "columns_changed",
                    "stream": stream,
                    "added": added,
                    "gone": sorted(before.keys() - now.keys()),
                    "retyped": retyped,
                    "copied_again": bool(retyped or filled),
                }
            )
        else:
            state[stream] = known | _known(table)
            continue
        log.warning("table changed %s", " ".join(f"{k}={v}" for k, v in events[-1].items()))
        state[stream] = known | _known(table)
        if events[-1]["copied_again"]:
            del state[stream]["snapshot"]
    return events
