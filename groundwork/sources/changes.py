"""Read the log from the manifest's position to where it ended when the run began (`catching_up`).

A batch ends at the end of a transaction, and the slot is acknowledged once the batch's manifest is durable.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from groundwork.errors import SlotLost, SourceError, about
from groundwork.sources import Checkpoint, Rows, catching_up, continuity, slot
from groundwork.sources.pgoutput import Decoder
from groundwork.sources.reading import LOG, Reading
from groundwork.sources.shapes import differs, unseen_parts
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.tables import Table, check_names, has_column_lists
from groundwork.sources.tuples import Relation
from groundwork.sources.wire import Connection

BATCH_ROWS = 1_000_000
"""A batch ends with the first transaction that brings it to this many rows."""

HEARTBEAT_BYTES = 16 << 20
"""With nothing new for us, the slot is moved on once the server keeps this much log."""

_UNDEFINED_OBJECT = "(42704)"


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
    copied = {t.full_name: reading.copied[n] for n, t in tables.items() if n in reading.copied}
    decoder = Decoder(keys.get, reading.raised, oids, copied)
    shapes: dict[str, Relation] = {}
    unknown, lists = False, has_column_lists(sql)
    with reading.replication() as stream, _publication_was_there(reading):
        if reading.entry.connection.failover:
            slot.keep_on_standbys(stream, reading.slot, reading.where)
        _start(reading, stream, start)
        mark, stalled = catching_up.mark(sql), catching_up.Stalled(reading.where)
        pending, position, caught_up, asked = 0, 0, False, False
        commit = state[LOG].get("commit", "")
        while True:
            buffer, framed, seen = stream.receive(mark.wanted)
            if not len(framed.starts):
                stalled.check(position, framed, buffer)
                if not mark.wanted:  # then the server must say how far it is
                    stream.acknowledge(start, answer=True)
                continue
            commits = decoder.commits(buffer, framed)
            # Cut behind the last commit when a batch is to end there; else take all there is.
            ending = len(commits) > 0 and (seen or caught_up or pending >= BATCH_ROWS)
            count = int(commits[-1]) + 1 if ending else len(framed.starts)
            commit = continuity.last_commit(buffer, commits, framed.starts) if len(commits) else commit
            decoded = decoder.decode(buffer, framed, count)
            for change in decoded.changes:
                yield Rows(streams[change.relation.name], change.frame)
            pending += decoded.rows
            for relation in decoded.relations:
                if relation.name in streams:
                    shapes[streams[relation.name]] = relation
                if relation.id in oids:
                    with about(relation.name):
                        check_names(f"{reading.where}, table {relation.name}", relation.columns, lists=lists)
            unknown = unseen_parts(tables, decoded.parts, state) or unknown
            position = max(position, catching_up.position(buffer, framed, count, decoded))
            # The barrier may come unseen, with bytes that were at hand: what was decoded counts.
            caught_up = caught_up or mark.passed(decoded, position)
            asked = asked or catching_up.asked_for(decoded)
            stream.keep(int(framed.ends[count - 1]))
            stalled.check(position, framed, buffer)
            if decoder.inside or not position or not (caught_up or pending >= BATCH_ROWS):
                continue
            state[LOG] = state[LOG] | {
                "lsn": lsn_text(position), "timeline": reading.timeline, continuity.COMMIT: commit,
            }  # fmt: skip
            telling = asked or pending > 0 or position - start > HEARTBEAT_BYTES
            checkpoint = reading.checkpoint(heartbeat=telling)
            yield checkpoint
            if checkpoint.committed:
                stream.acknowledge(position)
                start, pending = position, 0
                reading.settled()
            if caught_up:
                stream.end_stream()
                return unknown or any(differs(tables[name], shape) for name, shape in shapes.items())


def checked_position(reading: Reading, sql: Connection) -> int:
    """Where the log is to be read from, once it is sure that it can be.

    Raises:
        SlotLost: when it cannot.
    """
    start = lsn_number(reading.state[LOG]["lsn"])
    found = slot.check(sql, reading.slot, start, reading.where)
    if not reading.compared:
        with _publication_was_there(reading):
            continuity.check_transactions(reading, found.confirmed_lsn)
        reading.compared = True
    return start


def _start(reading: Reading, stream: Connection, start: int) -> None:
    publication = reading.entry.connection.publication
    stream.start_stream(slot.streaming(reading.slot, start, publication), start)


@contextmanager
def _publication_was_there(reading: Reading) -> Iterator[None]:
    """Tell of log that cannot be read, because there was no publication when it was written.

    PostgreSQL looks at the publication as it was then, and up to 17 ends the stream when there was none.
    """
    try:
        yield
    except SourceError as error:
        if _UNDEFINED_OBJECT not in str(error):
            raise
        raise SlotLost(
            reading.where, f"publication '{reading.entry.connection.publication}' was gone for a while",
            why="what was written meanwhile cannot be read, nor what came after it",
            fix="run `python -m groundwork full-refresh` for this source: a new snapshot closes the gap",
        ) from error  # fmt: skip
