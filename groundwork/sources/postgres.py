"""PostgreSQL: a snapshot of each table, handed over to the log without a gap or a duplicate.

A new stream is copied within the snapshot that a new slot exports (`snapshot`), so log and snapshot meet in
one exact position. After that only the log is read (`changes`). See docs/change-capture.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from groundwork import catalog
from groundwork.settings import Resolve
from groundwork.sources import Checkpoint, Cursors, Rows, slot
from groundwork.sources.address import Address
from groundwork.sources.changes import checked_position, read_log
from groundwork.sources.reading import LOG, Reading
from groundwork.sources.shapes import reshaped
from groundwork.sources.snapshot import history, whole_table
from groundwork.sources.tables import published
from groundwork.sources.wire import Connection

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
        reading = self._reading(cursors)
        state = reading.state
        with Connection(self._address, self._where) as sql:
            for further in range(_ROUNDS):
                copied = {name for name, cursor in state.items() if "snapshot" in cursor}
                tables, bad = published(sql, self._entry, copied)
                for error in bad.values():
                    raise error
                logged = {n: t for n, t in tables.items() if self._replication(n) == "log_based"}
                for name, table in tables.items():
                    if name not in logged and not further:
                        yield from whole_table(reading, table)
                if not logged:
                    yield Checkpoint(state)
                    return
                slot.wait_until_free(sql, self._slot, self._where)
                reading.system = self._system()
                if reading.has_slot:
                    checked_position(reading, sql)
                reading.events += reshaped(logged, state, sql)
                yield from history(reading, logged)
                if not (yield from read_log(reading, sql, logged)):
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
        """The cursors that a full refresh begins with."""
        return self._reading(cursors).without_log()

    def _reading(self, cursors: Cursors) -> Reading:
        # A stream that is left out for a while misses changes: it must begin anew when it comes back.
        state = {n: known for n, known in cursors.items() if n == LOG or n in self._entry.streams}
        return Reading(self._entry, self._address, self._where, self._slot, state)

    def _system(self) -> str:
        """The cluster's own number; this way needs no right but REPLICATION."""
        with Connection(self._address, self._where, replication=True) as stream:
            return str(stream.run("IDENTIFY_SYSTEM")[0][0])

    def _replication(self, stream: str) -> str:
        return self._entry.streams[stream].replication
