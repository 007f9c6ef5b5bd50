"""Records of replays in the warehouse: what each was asked for, and which batches it has loaded.

`_replays` has one row per replay and source, `_replayed` one per batch and stream that a replay loaded. The
latter is written in the transaction that loads the batch, so both are there or neither. A replay is known by
its id alone: no clock and no other replay decides what is left to do.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from groundwork.errors import CatalogError
from groundwork.landing import table_name
from groundwork.manifest import batch_name, now
from groundwork.replay_scope import Wanted, bound, bound_text
from groundwork.warehouses import INSTANT, LANDING, LEDGER, REPLAYED, REPLAYED_COLUMNS, TEXT, WHOLE, Warehouse

REPLAYS = "_replays"
_COLUMNS = {
    "replay_id": TEXT,
    "source": TEXT,
    "streams": TEXT,
    "since": TEXT,
    "until": TEXT,
    "first_batch": WHOLE,
    "last_batch": WHOLE,
    "newest_batch": WHOLE,
    "began_at": INSTANT,
    "ended_at": INSTANT,
}
"""`began_at` is for people; of `ended_at` only counts whether there is one."""


def new_id() -> str:
    """An id that no other replay has."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class Record:
    """One replay of one source."""

    replay_id: str
    source: str
    wanted: Wanted
    first: int = 0
    last: int = 0
    newest: int = 0
    """The newest batch of the bucket when it began; 0 before."""
    ended: bool = False

    def done(self, warehouse: Warehouse) -> set[int]:
        """Batches that this replay has loaded and that are still there, by their rows."""
        found = warehouse.query(
            f"select distinct batch_id, stream, {warehouse.quoted('rows')} from {LANDING}.{REPLAYED}"
            " where replay_id = ? and source = ?",
            [self.replay_id, self.source],
        )
        there = {stream: self._rows(warehouse, stream) for stream in {stream for _, stream, _ in found}}
        other = {name for name, stream, rows in found if there[stream].get(name, 0) != rows}
        return {int(name) for name, _, _ in found if name not in other}

    def _rows(self, warehouse: Warehouse, stream: str) -> dict[str, int]:
        """Rows per batch in a stream's table."""
        table = table_name(self.source, stream)
        if not stream or not warehouse.columns(LANDING, table):
            return {}
        named = f"{LANDING}.{warehouse.quoted(table)}"
        return dict(warehouse.query(f"select _batch_id, count(*) from {named} group by _batch_id"))

    def end(self, warehouse: Warehouse, newest_now: int, kept: Collection[str]) -> None:
        """Note that it is complete; of a whole replay, first remove what no batch of the bucket brought.

        Batches that came after it began were loaded by others, and stay. Of a stream that was left out, the
        rows of earlier loads are ``kept``: some of them could not be replaced.
        """
        if self.wanted.whole:
            self._remove_strays(warehouse, newest_now, kept)
        ours = [self.replay_id, self.source]
        warehouse.query(
            f"update {LANDING}.{REPLAYS} set ended_at = ? where replay_id = ? and source = ?",
            [now().replace(tzinfo=None), *ours],
        )
        warehouse.query(f"delete from {LANDING}.{REPLAYED} where replay_id = ? and source = ?", ours)

    def _remove_strays(self, warehouse: Warehouse, newest_now: int, kept: Collection[str]) -> None:
        known, ours = batch_name(self.newest), [self.replay_id, self.source]
        brought = f"select batch_id from {LANDING}.{REPLAYED} where replay_id = ? and source = ?"
        beyond = "(_batch_id <= ? or _batch_id > ?)"
        bounds = [known, batch_name(newest_now)]
        for table in warehouse.tables(LANDING):
            stream = table.removeprefix(f"{self.source}__")
            if stream != table and stream not in kept:
                warehouse.query(
                    f"delete from {LANDING}.{warehouse.quoted(table)} where split_part(_file, '/', 1) = ?"
                    f" and {beyond} and _batch_id not in ({brought} and stream = ?)",
                    [self.source, *bounds, *ours, stream],
                )
        warehouse.query(
            f"delete from {LANDING}.{LEDGER} where source = ?"
            f" and {beyond.replace('_batch_id', 'batch_id')} and batch_id not in ({brought})",
            [self.source, *bounds, *ours],
        )


class Records:
    """The records of one warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        """Write nothing yet."""
        self._warehouse = warehouse

    def announce(self, replay_id: str, sources: Sequence[str], wanted: Wanted) -> None:
        """Make the tables and record what a replay is asked for, once for each source.

        Raises:
            CatalogError: when the id is of a replay of something other.
        """
        self._warehouse.widen(REPLAYS, _COLUMNS)
        self._warehouse.widen(REPLAYED, REPLAYED_COLUMNS)
        there = {record.source: record for record in self.all_of(replay_id)}
        for source in sources:
            if source in there and there[source].wanted != wanted:
                raise CatalogError(
                    f"replay '{replay_id}' of '{source}'",
                    "was begun for other streams or batches",
                    fix="continue it with the same ones, or start a new one",
                )
            if source not in there:
                self._warehouse.query(
                    f"insert into {LANDING}.{REPLAYS} (replay_id, source, streams, since, until, began_at)"
                    " values (?, ?, ?, ?, ?, ?)",
                    [
                        *(replay_id, source, json.dumps(wanted.streams)),
                        *(bound_text(wanted.first), bound_text(wanted.last), now().replace(tzinfo=None)),
                    ],
                )

    def begin(self, record: Record, first: int, last: int, newest: int) -> Record:
        """Fix the batches that a replay of one source is of."""
        self._warehouse.query(
            f"update {LANDING}.{REPLAYS} set first_batch = ?, last_batch = ?, newest_batch = ?"
            " where replay_id = ? and source = ?",
            [first, last, newest, record.replay_id, record.source],
        )
        return replace(record, first=first, last=last, newest=newest)

    def of(self, replay_id: str, source: str) -> Record:
        """What is recorded of a replay of one source; it was announced."""
        return next(record for record in self.all_of(replay_id) if record.source == source)

    def all_of(self, replay_id: str) -> list[Record]:
        """What is recorded of a replay, by source; empty when there is none of this id."""
        return self._read(" where replay_id = ?", [replay_id])

    def unfinished(self, replay_id: str) -> list[Record]:
        """The sources of a replay, if some of it is left to do.

        Raises:
            CatalogError: when there is none of this id, or it is complete.
        """
        found = self.all_of(replay_id)
        if any(not record.ended for record in found):
            return found
        open_ = sorted({record.replay_id for record in self._read() if not record.ended})
        raise CatalogError(
            f"replay --resume {replay_id}",
            "is complete" if found else f"is no replay of the warehouse {self._warehouse.place}",
            why=f"unfinished are: {', '.join(open_) or 'none'}",
            fix="name one of these, set GROUNDWORK_WAREHOUSE and GROUNDWORK_DUCKDB_PATH (or --into) to the"
            " warehouse that it was begun in, or start a new replay without --resume",
        )

    def _read(self, where: str = "", parameters: Sequence[str] = ()) -> list[Record]:
        if "replay_id" not in self._warehouse.columns(LANDING, REPLAYS):  # none yet, or of an early version
            return []
        found = self._warehouse.query(
            "select replay_id, source, streams, since, until, first_batch, last_batch, newest_batch,"
            f" ended_at is not null from {LANDING}.{REPLAYS}{where or ' where replay_id is not null'}"
            " order by replay_id, source",
            parameters,
        )
        return [
            Record(
                replay_id,
                source,
                Wanted(tuple(json.loads(streams)), bound(since), bound(until)),
                *(first or 0, last or 0, newest or 0, bool(ended)),
            )
            for replay_id, source, streams, since, until, first, last, newest, ended in found
        ]
