"""Copy tables over several connections at once, all of which see the same snapshot of the database.

A large table is cut by place: rows of pages 0 to 8191, of pages 8192 to 16383 and so on (a TID range scan,
since PostgreSQL 14; the last piece is open-ended). So each row is in exactly one piece, wherever it lies, and
no key is needed. Each connection has a thread that receives and decodes; what they have ready is bounded.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

from groundwork.errors import SourceError
from groundwork.sources import copytext
from groundwork.sources.reading import Reading
from groundwork.sources.tables import Table
from groundwork.sources.wire import Connection

log = logging.getLogger(__name__)

PIECE_BYTES = 64 << 20
"""Bytes of a table (with what it keeps out of line) that are copied at a time. A smaller table is not cut."""

SHELF_BYTES = 16 << 20
"""Bytes of decoded rows that may wait to be taken."""

_LOCK_MILLISECONDS = 100
"""How long a further connection waits for its lock on a table."""

_SIZES = """
select coalesce(max(pg_relation_size(c.oid)), 0) / cast(current_setting('block_size') as bigint),
    coalesce(sum(pg_table_size(c.oid)), 0), coalesce(bool_and(c.relkind = 'p' or m.amname = 'heap'), false)
from pg_class c left join pg_am m on m.oid = c.relam
where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
"""


class Copying:
    """Connections within one snapshot, which copy one table after the other; use it as a context.

    Each table is copied in a transaction of its own, so that its lock does not outlast its copy.
    """

    def __init__(self, reading: Reading, snapshot: str = "") -> None:
        """Nothing is connected yet.

        Args:
            reading: the run.
            snapshot: name of the exported snapshot; empty for one of its own per table.
        """
        self._reading, self._snapshot = reading, snapshot
        self._most = reading.entry.connection.snapshot_connections
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        while self._connections:
            self._connections.pop().close()

    def rows(self, table: Table) -> Iterator[pa.Table]:
        """Yield all rows of a table, in no order.

        Raises:
            SourceError: when it cannot be read; of several connections' errors, the first.
        """
        try:
            first = self._connected(0)
            first.run("begin isolation level repeatable read read only")
            if self._snapshot:
                first.run(f"set transaction snapshot '{self._snapshot}'")
            first.run(table.touch_statement())  # its lock
            places = cut(first, table) if self._most > 1 else [""]
            joined = [first, *self._joined(first, table, len(places))]
            if len(joined) == 1:
                yield from self._decoded(first, table, "")
            else:
                yield from self._together(joined, table, places)
            for connection in joined:
                connection.run("commit")
        except BaseException:
            self.__exit__(None, None, None)  # in the middle of a copy a connection is good for nothing
            raise

    def _connected(self, number: int) -> Connection:
        if number == len(self._connections):
            self._connections.append(self._reading.connection())
        return self._connections[number]

    def _joined(self, first: Connection, table: Table, pieces: int) -> list[Connection]:
        """Further connections, as many as help and can be had, in the first one's snapshot."""
        if pieces == 1:
            return []
        joined: list[Connection] = []
        snapshot = self._snapshot or first.run("select pg_export_snapshot()")[0][0]
        for number in range(1, min(self._most, pieces)):
            try:
                connection = self._connected(number)
                connection.run("begin isolation level repeatable read read only")
                connection.run(f"set transaction snapshot '{snapshot}'")
                # Whoever alters the table may wait for the first connection's lock, and we then for him.
                connection.run(f"set local lock_timeout = {_LOCK_MILLISECONDS}")
                connection.run(table.touch_statement())
                connection.run("set local lock_timeout to default")
            except SourceError as error:
                log.info(
                    "copying over fewer connections source=%s stream=%s connections=%d: %s",
                    self._reading.source, table.stream, number, error,
                )  # fmt: skip
                while len(self._connections) > number:
                    self._connections.pop().close()
                break
            joined.append(connection)
        return joined

    def _together(self, joined: list[Connection], table: Table, places: list[str]) -> Iterator[pa.Table]:
        shelf = Shelf(places, SHELF_BYTES, len(joined))

        def copy(connection: Connection) -> None:
            try:
                while (place := shelf.next_piece()) is not None:
                    for rows in self._decoded(connection, table, place):
                        if not shelf.put(rows):
                            return
            except BaseException as error:
                shelf.fail(error)
            finally:
                shelf.leave()

        threads = [
            threading.Thread(target=copy, args=(c,), name=f"copy {table.stream} {n}", daemon=True)
            for n, c in enumerate(joined)
        ]
        for thread in threads:
            thread.start()
        try:
            while (rows := shelf.take()) is not None:
                yield rows
        except BaseException:
            for connection in joined:
                connection.interrupt()
            raise
        finally:
            shelf.close()
            for thread in threads:
                thread.join()

    def _decoded(self, connection: Connection, table: Table, place: str) -> Iterator[pa.Table]:
        where = f"{self._reading.where}, table {table.full_name}"
        for buffer, framed in connection.copy_rows(table.copy_statement(place)):
            yield copytext.decode(buffer, framed, list(table.columns), where)


def cut(connection: Connection, table: Table) -> list[str]:
    """Conditions, each of which picks a piece of a table; one that picks everything if it is small."""
    oids = ",".join(str(part.oid) for part in table.parts) or str(table.oid)
    pages, size, is_heap = connection.run(_SIZES, oids=oids)[0]
    pieces = min(-(-int(size) // PIECE_BYTES), int(pages)) if is_heap else 1
    if pieces < 2:
        return [""]
    # Of a partitioned table, each piece takes the same pages of every part.
    step = -(-int(pages) // pieces)
    starts = range(0, int(pages), step)
    bounds = [f"ctid >= '({start},0)'" for start in starts]
    return [f"{bound} and ctid < '({start},0)'" for bound, start in zip(bounds, starts[1:], strict=False)] + [
        bounds[-1]
    ]


class Shelf:
    """Between threads: pieces that nobody has begun, and rows that nobody has taken."""

    def __init__(self, pieces: list[str], limit: int, hands: int) -> None:
        """Begin with all pieces and no rows.

        Args:
            pieces: what is to be done.
            limit: bytes of rows that may wait (or one table of rows, if it is larger).
            hands: threads that will `put`, and then `leave`.
        """
        self._pieces, self._limit, self._hands = deque(pieces), limit, hands
        self._ready: deque[pa.Table] = deque()
        self._bytes, self._closed = 0, False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def next_piece(self) -> str | None:
        """A piece for the thread that asks; None when there is none."""
        with self._changed:
            return self._pieces.popleft() if self._pieces and not self._closed else None

    def put(self, rows: pa.Table) -> bool:
        """Add rows, once there is room; whether anybody still wants them."""
        size = rows.nbytes
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._ready or self._bytes + size <= self._limit
            )
            if not self._closed:
                self._ready.append(rows)
                self._bytes += size
                self._changed.notify_all()
            return not self._closed

    def take(self) -> pa.Table | None:
        """The next rows, once there are some; None when all threads have left.

        Raises:
            BaseException: what one of them failed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._error or not self._hands)
            if self._error:
                raise self._error
            if not self._ready:
                return None
            rows = self._ready.popleft()
            self._bytes -= rows.nbytes
            self._changed.notify_all()
            return rows

    def fail(self, error: BaseException) -> None:
        """What a thread failed with; the first counts."""
        with self._changed:
            self._error = self._error or error
            self._closed = True
            self._changed.notify_all()

    def leave(self) -> None:
        """A thread will put nothing any more."""
        with self._changed:
            self._hands -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
