"""Rows of one table out of the log's bytes: the tuple walked column by column over all rows at once.

Values are never looked into, only pointed at. What an update says of the record before it decides whether a
record went away and which values the log did not repeat.
Format: PostgreSQL manual, "Logical Replication Message Formats", TupleData.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from groundwork.errors import ProtocolError, SourceRefused
from groundwork.sources.keys import SETUP
from groundwork.sources.views import (
    Buffer,
    Mask,
    Positions,
    constants,
    first_broken,
    nulls,
    sequences,
)

if TYPE_CHECKING:
    import polars as pl

POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970-01-01; PostgreSQL counts from there."""

_OLD = np.frombuffer(b"KO", np.uint8)
"""Marks of an old row: its key only, or all of it."""


@dataclass(frozen=True)
class Relation:
    """A table as the stream describes it before its first row."""

    id: int
    schema: str
    table: str
    columns: tuple[str, ...]
    types: tuple[tuple[int, int], ...]
    """Type OID and modifier of each column."""
    keys: tuple[str, ...]
    """Columns of the replica identity."""

    @property
    def name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.table}"


@dataclass
class Changes:
    """Rows of one table, as `groundwork.sources.Rows` wants them."""

    relation: Relation
    frame: pl.DataFrame


@dataclass(frozen=True)
class Stamp:
    """Transaction and number of each row."""

    commit_lsn: npt.NDArray[np.uint64]
    committed_at: npt.NDArray[np.int64]
    ordinal: Positions

    def at(self, rows: npt.NDArray[np.intp]) -> Stamp:
        """Those of some rows."""
        return Stamp(self.commit_lsn[rows], self.committed_at[rows], self.ordinal[rows])

    def on(
        self, frame: pl.DataFrame, operations: list[str] | pl.Series, unchanged: pl.Series | None, *,
        last: bool,
    ) -> pl.DataFrame:  # fmt: skip
        """Add the metadata columns.

        A change counts two places: an update that removes one record and makes another needs both, the
        removal first. ``last`` chooses the second place. Place 0 is the snapshot's.
        """
        import polars as pl

        committed_at = pl.Series(self.committed_at + POSTGRES_EPOCH).cast(pl.Datetime("us"))
        return frame.with_columns(
            pl.Series("_operation", operations),
            sequences(self.commit_lsn, self.ordinal * 2 + 1 + last).alias("_sequence"),
            (nulls(frame.height) if unchanged is None else unchanged).alias("_unchanged"),
            committed_at.alias("_committed_at"),
        )


@dataclass(frozen=True)
class _Tuple:
    """One tuple per row, walked: per column where each value lies."""

    at: list[Positions]
    lengths: list[Positions]
    kinds: list[npt.NDArray[np.uint8]]
    end: Positions

    def texts(self, buffer: Buffer, column: int, rows: npt.NDArray[np.intp] | None = None) -> pl.Series:
        at, lengths, kinds = self.at[column], self.lengths[column], self.kinds[column]
        if rows is not None:
            at, lengths, kinds = at[rows], lengths[rows], kinds[rows]
        return buffer.texts(at, lengths, kinds == ord("t"))

    def fill_in(self, old: _Tuple, rows: npt.NDArray[np.intp]) -> None:
        """Take from the old tuples of some rows what the new ones do not repeat."""
        for column, kinds in enumerate(self.kinds):
            missing = (kinds[rows] == ord("u")) & (old.kinds[column] == ord("t"))
            if missing.any():
                into = rows[missing]
                self.at[column] = _replaced(self.at[column], into, old.at[column][missing])
                self.lengths[column] = _replaced(self.lengths[column], into, old.lengths[column][missing])
                self.kinds[column] = kinds.copy()
                self.kinds[column][into] = ord("t")


class Walk:
    """The rows of one table in one stretch of the log."""

    def __init__(
        self, buffer: Buffer, relation: Relation, body: Positions, ends: Positions,
        kinds: npt.NDArray[np.uint8], stamp: Stamp, key: list[str],
    ) -> None:  # fmt: skip
        self._buffer, self._relation, self._kinds = buffer, relation, kinds
        self._ends, self._stamp, self._key = ends, stamp, key
        self._body = body
        self._made: list[tuple[pl.DataFrame, list[Positions]]] = []  # what came out, and where it lies

    def changes(self) -> Iterator[Changes]:
        """Records that updates took away, then all rows; `_sequence` tells their order.

        Raises:
            ProtocolError: when bytes are not what the protocol allows.
        """
        buffer, columns = self._buffer, self._relation.columns
        at = self._body + 5
        tag = buffer.bytes[at]
        before = np.flatnonzero((self._kinds == ord("U")) & (tag != ord("N")))
        old = None
        if len(before):
            self._refuse(~np.isin(tag[before], _OLD), before, "an old row that is not one")
            old = self._walk(at[before] + 1, self._ends[before])
            at = at.copy()
            at[before] = old.end
        deletes = self._kinds == ord("D")
        ok = np.where(deletes, np.isin(tag, _OLD), buffer.bytes[at] == ord("N"))
        self._refuse(~ok, None, "a change without its row")
        new = self._walk(at + 1, self._ends)
        self._refuse(new.end != self._ends, None, "a row does not fill its message")
        if old is not None:
            new.fill_in(old, before)
            gone = self._gone(old, new, before)
            if len(gone):
                yield self._removed(old, before, gone)
        import polars as pl

        frame = pl.DataFrame({name: new.texts(buffer, i) for i, name in enumerate(columns)})
        self._made.append((frame, new.at))
        codes = np.zeros(256, np.intp)
        # Without a key an update is one record gone (see `_removed`) and another one there.
        codes[[ord("U"), ord("D")]] = 1 if self._key else 0, 2
        operations = constants(["insert", "update", "delete"], codes[self._kinds])
        stamped = self._stamp.on(frame, operations, self._unchanged(new), last=True)
        yield Changes(self._relation, stamped)

    def check_text(self) -> None:
        """Look whether every value is UTF-8.

        Raises:
            ProtocolError: when one is not; names its position.
        """
        for frame, places in self._made:
            for column, at in zip(frame, places, strict=True):
                row = first_broken(column)
                if row is not None:
                    where = f"{byte(at[row])}, table {self._relation.name}"
                    raise ProtocolError(where, f"a value of column '{column.name}' is not UTF-8")

    def _gone(self, old: _Tuple, new: _Tuple, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Which of these updates took a record away: its key changed, or the table has no key."""
        kept = np.full(len(rows), bool(self._key))
        for name in self._key:
            column = self._relation.columns.index(name)
            was, now = old.texts(self._buffer, column), new.texts(self._buffer, column, rows)
            # A key column that is absent from the old tuple did not change.
            kept &= was.eq(now).fill_null(True).to_numpy()
        return np.flatnonzero(~kept)

    def _removed(self, old: _Tuple, rows: npt.NDArray[np.intp], gone: npt.NDArray[np.intp]) -> Changes:
        """The records that were taken away."""
        import polars as pl

        columns = enumerate(self._relation.columns)
        frame = pl.DataFrame({name: old.texts(self._buffer, i, gone) for i, name in columns})
        self._made.append((frame, [at[gone] for at in old.at]))
        operations = constants(["delete"], np.zeros(len(gone), np.intp))
        return Changes(self._relation, self._stamp.at(rows[gone]).on(frame, operations, None, last=False))

    def _walk(self, at: Positions, ends: Positions) -> _Tuple:
        """Walk one tuple per row, a column at a time over all rows."""
        buffer, width = self._buffer, len(self._relation.columns)
        self._refuse(at + 2 > ends, None, "a row without columns", at)
        self._refuse(buffer.int16(at) != width, None, "a row with another number of columns", at)
        walked = _Tuple([], [], [], at)
        at = at + 2
        for name in self._relation.columns:
            self._refuse(at >= ends, None, f"a row ends before column '{name}'", at)
            kinds = buffer.bytes[at]
            text: Mask = kinds == ord("t")
            if text.all():
                lengths = buffer.int32(at + 1)
                value, after = at + 5, at + 5 + lengths
            else:
                known = text | (kinds == ord("n")) | (kinds == ord("u"))
                self._refuse(~known, None, f"column '{name}' is not text", at)
                lengths = np.where(text, buffer.int32(at + 1), 0)
                value = at + 5
                after = np.where(text, value + lengths, at + 1)
            self._refuse(after > ends, None, f"column '{name}' passes its row's end", at)
            if len(lengths) and lengths.max() > 127:
                buffer.blank(at[lengths > 127] + 1, 4)  # see `Decoder.decode`
            walked.at.append(value)
            walked.lengths.append(lengths)
            walked.kinds.append(kinds)
            at = after
        return _Tuple(walked.at, walked.lengths, walked.kinds, at)

    def _refuse(
        self, wrong: Mask, rows: npt.NDArray[np.intp] | None, what: str, at: Positions | None = None
    ) -> None:
        """Raise when any row is wrong, naming the first one's position."""
        found = np.flatnonzero(wrong)
        if len(found):
            places = self._body if at is None else at
            first = int(found[0] if rows is None else rows[found[0]])
            raise ProtocolError(f"{byte(places[first])}, table {self._relation.name}", what)

    def _unchanged(self, new: _Tuple) -> pl.Series | None:
        """Names of the columns the log did not repeat, as JSON, per row."""
        import polars as pl

        repeated = [kinds == ord("u") for kinds in new.kinds]
        concerned = [i for i, some in enumerate(repeated) if some.any()]
        if not concerned:
            return None
        table = np.stack([repeated[i] for i in concerned], axis=1)
        shapes, codes = np.unique(table, axis=0, return_inverse=True)
        names = np.array(self._relation.columns)[concerned]
        lists = (names[shape].tolist() for shape in shapes)
        texts = [json.dumps(found, ensure_ascii=False) if found else None for found in lists]
        return pl.Series(texts, dtype=pl.String).gather(codes.ravel())


def byte(position: int | np.integer[Any]) -> str:
    """How an error names a position."""
    return f"byte {int(position)} of the stream"


def check_identity(
    relation: Relation, key: list[str], kinds: npt.NDArray[np.uint8], tags: npt.NDArray[np.uint8]
) -> None:
    """Refuse changes that do not say which record they are about (PostgreSQL manual, "Publication")."""
    changed = kinds != ord("I")
    if not changed.any():
        return
    if key:
        named = set(key) <= set(relation.keys)
        fix = f"let primary_key in the catalog be ({', '.join(relation.keys)}), or"
    else:
        named, fix = bool((tags[changed] == ord("O")).all()), "declare the primary_key in the catalog, or"
    if not named:
        raise SourceRefused(
            f"table {relation.name}",
            "an update or delete does not name its record",
            why="the table's replica identity is not the catalog's primary_key",
            fix=f"{fix} {SETUP}; then read the stream again",
        )


def _replaced(all_of: Positions, into: npt.NDArray[np.intp], some: Positions) -> Positions:
    changed = all_of.copy()
    changed[into] = some
    return changed
