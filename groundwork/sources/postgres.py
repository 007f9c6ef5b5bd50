"""PostgreSQL: a snapshot of each table, handed over to the log without a gap or a duplicate.

A new stream is copied within the snapshot that a new slot exports (`snapshot`), so log and snapshot meet in
one exact position. After that only the log is read (`changes`). A table that cannot be read does not stop
the others (`quarantine`), and the log that the server keeps for us has an end (`retention`).
See docs/change-capture.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

from groundwork import catalog
from groundwork.errors import GroundworkError, SourceRefused
from groundwork.settings import Resolve
from groundwork.sources import Checkpoint, Cursors, Rows, Undo, cluster, quarantined, retention, slot
from groundwork.sources.address import Address
from groundwork.sources.changes import checked_position, read_log
from groundwork.sources.partitions import forgets_attachments
from groundwork.sources.quarantine import hold, let_back, of_one_table, unreadable
from groundwork.sources.reading import LOG, Reading
from groundwork.sources.refusals import complaints, refused
from groundwork.sources.shapes import attached, reshaped
from groundwork.sources.snapshot import history, whole_table
from groundwork.sources.tables import Table, published
from groundwork.sources.wire import Connection

log = logging.getLogger(__name__)

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
        self._held: Connection | None = None
        self.standing: dict[str, Any] = {}
        """How much log the server holds back for us: ``before`` the run and ``after`` it."""
        self.refused: list[str] = []
        """Statements of the application that fail now because of a publication, see `refusals`."""

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint | Undo]:
        """Yield snapshots of what has none yet, then the log until caught up.

        Raises:
            SourceUnreachable, SourceRefused, SourceBusy, SlotLost: see `groundwork.errors`.
        """
        reading = self.reading(cursors)
        with self._statements() as sql, closing(reading):
            slot.drop_others(sql, reading.slots, reading.needed, self._where)
            self.standing = reading.standing = retention.before(reading, sql)
            yield from retention.released(reading, sql)
            yield from self._rounds(reading, sql)
            retention.after(reading, sql)
            self.refused = self._harm(sql)

    def _harm(self, sql: Connection) -> list[str]:
        version = int(sql.run("select current_setting('server_version_num')")[0][0])
        found = complaints(refused(sql, self._entry.connection.publication, version))
        for complaint in found:
            log.error("the application's statements fail source=%s: %s", self._entry.source, complaint)
        return found

    def concern(self, cursors: Cursors) -> tuple[str, bool]:
        """What is to be feared of the slot, and whether it is past its policy; nothing without a slot."""
        reading = self.reading(cursors)
        with self._statements() as sql:
            return retention.look(reading, sql)

    def release(self, cursors: Cursors) -> Iterator[Checkpoint]:
        """Read nothing; drop the slot if it is past its policy."""
        reading = self.reading(cursors)
        with self._statements() as sql:
            yield from retention.released(reading, sql)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other runs of this source out.

        Raises:
            SourceBusy: when another run is in.
        """
        with Connection(self._address, self._where) as holding:
            slot.claim(holding, self._slot, self._where)
            self._held = holding
            try:
                yield
            finally:
                self._held = None

    @contextmanager
    def _statements(self) -> Iterator[Connection]:
        """A connection for statements: the one that holds the claim, so who loses the claim reads no more."""
        if self._held:
            yield self._held
            return
        with Connection(self._address, self._where) as sql:
            yield sql

    def forget(self, cursors: Cursors, streams: Collection[str] = ()) -> Cursors:
        """The cursors that a full refresh begins with: of some streams, or of all when none are named."""
        return self.reading(cursors).forget(streams)

    def reading(self, cursors: Cursors) -> Reading:
        """A run that begins at these cursors."""
        # A stream that is left out for a while misses changes: it must begin anew when it comes back.
        state = {n: known for n, known in cursors.items() if n == LOG or n in self._entry.streams}
        return Reading(self._entry, self._address, self._where, self._slot, state)

    def _rounds(self, reading: Reading, sql: Connection) -> Iterator[Rows | Checkpoint | Undo]:
        """Read until no table must be looked at again, without those that cannot be read."""
        bad: dict[str, GroundworkError] = {}
        # What comes back from quarantine waits until all others are up to date: its copy may fail again.
        waiting = set(quarantined(reading.state))
        looks, again = 0, True
        while again and looks < _ROUNDS:
            found = self._readable(reading, sql, bad)
            tables = {name: table for name, table in found.items() if name not in waiting}
            try:
                again = yield from self._round(reading, sql, tables)
            except GroundworkError as error:
                stream = next((n for n, t in tables.items() if t.full_name == error.table), "")
                if not stream or not of_one_table(error):
                    raise
                bad[stream] = error
                self._refuse_if_all(bad)
                reading.undo()
                yield Undo()
                continue
            again, waiting = again or bool(waiting & found.keys()), set()
            looks += 1

    def _readable(
        self, reading: Reading, sql: Connection, bad: dict[str, GroundworkError]
    ) -> dict[str, Table]:
        """The tables as they are now; the streams of those that cannot be read are put in quarantine."""
        copied = {name for name, cursor in reading.state.items() if "snapshot" in cursor}
        tables, unfit = published(sql, self._entry, copied)
        bad |= unfit
        bad |= unreadable(sql, {n: t for n, t in tables.items() if n not in copied and n not in bad})
        self._refuse_if_all(bad)
        hold(reading, bad)
        return {name: table for name, table in tables.items() if name not in bad}

    def _refuse_if_all(self, bad: dict[str, GroundworkError]) -> None:
        if bad.keys() != self._entry.streams.keys():
            return
        if len(bad) == 1:
            raise next(iter(bad.values()))
        named = "; ".join(f"stream {stream}: {str(error).rstrip('.')}" for stream, error in bad.items())
        raise SourceRefused(self._where, f"no stream can be read: {named}")

    def _round(
        self, reading: Reading, sql: Connection, tables: dict[str, Table]
    ) -> Generator[Rows | Checkpoint, None, bool]:
        """Read all there is of some tables; whether one must be looked at again."""
        let_back(reading, tables)
        logged = {n: t for n, t in tables.items() if self._replication(n) == "log_based"}
        for name, table in tables.items():
            if name not in logged and name not in reading.whole:
                yield from whole_table(reading, table)
                reading.whole.add(name)
        if not logged and not reading.has_slot:
            yield reading.checkpoint()
            reading.settled()
            return False
        if reading.has_slot:
            slot.wait_until_free(sql, reading.slot, self._where)
        cluster.meet(reading, sql, LOG)
        if reading.has_slot:
            checked_position(reading, sql)
        reading.events += reshaped(logged, reading.state, sql)
        again = False
        if attached(reading.state) and forgets_attachments(sql):
            again = yield from read_log(reading, sql, logged)
        yield from history(reading, logged)
        return (yield from read_log(reading, sql, logged)) or again

    def _replication(self, stream: str) -> str:
        return self._entry.streams[stream].replication
