"""Read the log from the manifest's position to a message that we write into it ourselves.

When that message comes back we are caught up: no timer guesses it. A batch ends at the end of a transaction,
and the slot is acknowledged once the batch's manifest is durable.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator

from groundwork.errors import SlotLost, about
from groundwork.sources import Checkpoint, Rows, slot
from groundwork.sources.pgoutput import Decoded, Decoder
from groundwork.sources.reading import LOG, Reading
from groundwork.sources.shapes import differs, unseen_parts
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.tables import Table, check_names
from groundwork.sources.tuples import Relation
from groundwork.sources.wire import Connection, quoted

BATCH_ROWS = 1_000_000
"""A batch ends with the first transaction that brings it to this many rows."""

HEARTBEAT_BYTES = 16 << 20
"""With nothing new for us, the slot is moved on once the server keeps this much log."""

_BARRIER = "groundwork"


def read_log(
    reading: Reading, sql: Connection, tables: dict[str, Table]
) -> Generator[Rows | Checkpoint, None, bool]:
    """Yield all changes up to now, a `Checkpoint` every `BATCH_ROWS` and at the end.

    Args:
        reading: the run.
        sql: an ordinary connection.
        tables: the streams that are read from the log.

    Returns:
        Whether a table must be looked at again: it has another shape than ``tables`` say.

    Raises:
        SourceUnreachable, SlotLost, ProtocolError: see `groundwork.errors`.
    """
    state, start = reading.state, checked_position(reading, sql)
    streams = {table.full_name: table.stream for table in tables.values()}
    keys = {t.full_name: reading.entry.streams[t.stream].primary_key for t in tables.values()}
    oids = {table.oid: table.full_name for table in tables.values()}
    decoder = Decoder(keys.get, reading.raised, oids)
    shapes: dict[str, Relation] = {}
    unknown = False
    barrier = uuid.uuid4().hex
    with reading.connection(replication=True) as stream:
        _start(reading, stream, start)
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
            for change in decoded.changes:
                yield Rows(streams[change.relation.name], change.frame)
            pending += decoded.rows
            for relation in decoded.relations:
                if relation.name in streams:
                    shapes[streams[relation.name]] = relation
                if relation.id in oids:
                    with about(relation.name):
                        check_names(f"{reading.where}, table {relation.name}", relation.columns)
            unknown = unseen_parts(tables, decoded.parts, state) or unknown
            caught_up = caught_up or _holds(decoded, barrier)
            stream.keep(int(framed.ends[count - 1]))
            # The barrier may come unseen, with bytes that were at hand: what was decoded counts.
            whole = decoded.end_lsn and not decoder.inside
            if not whole or not (caught_up or pending >= BATCH_ROWS):
                continue
            state[LOG] = state[LOG] | {"lsn": lsn_text(decoded.end_lsn)}
            behind = decoded.end_lsn - start
            checkpoint = reading.checkpoint(heartbeat=pending > 0 or behind > HEARTBEAT_BYTES)
            yield checkpoint
            if checkpoint.committed:
                stream.acknowledge(decoded.end_lsn)
                start, pending = decoded.end_lsn, 0
                reading.settled()
            if caught_up:
                stream.end_stream()
                return unknown or any(differs(tables[name], shape) for name, shape in shapes.items())


def checked_position(reading: Reading, sql: Connection) -> int:
    """Where the log is to be read from, once it is sure that it can be.

    Raises:
        SlotLost: when it cannot.
    """
    cursor = reading.state[LOG]
    if cursor["system"] != reading.system:
        raise SlotLost(
            reading.where, "this is another database cluster than the one read so far",
            why="its system identifier differs; positions in the log mean nothing here",
            fix="correct the connection URL, or run `python -m groundwork full-refresh` for it",
        )  # fmt: skip
    start = lsn_number(cursor["lsn"])
    slot.check(sql, reading.slot, start, reading.where)
    return start


def _start(reading: Reading, stream: Connection, start: int) -> None:
    publication = quoted(reading.entry.connection.publication)
    stream.start_stream(
        f"START_REPLICATION SLOT {quoted(reading.slot)} LOGICAL {lsn_text(start)}"
        f" (proto_version '1', messages 'true', publication_names '{publication}')",
        start,
    )


def _holds(decoded: Decoded, barrier: str) -> bool:
    return any(m.prefix == _BARRIER and m.content == barrier.encode() for m in decoded.messages)
