"""The API's own count of records, compared with the different records that came.

Records are told apart by the primary key: an order with ties gives some records twice and others never, and
their number alone looks right. A total that stays the same must be met exactly. One that moves, because the
source is in use, proves a loss only where fewer records came than there ever were.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from msgspec import Raw

from groundwork.catalog import RestStream
from groundwork.sources.rest.astray import NotWhole
from groundwork.sources.rest.contents import as_page
from groundwork.sources.rest.records import CutPage, FieldReader

Recalled = Callable[[str], Iterable[list[Raw]]]
"""Records that earlier runs stored of a pull, by its mark."""


class KeyReader:
    """Reads what tells records apart, as one number each."""

    def __init__(self, stream: RestStream) -> None:
        """Find the key's fields; a parent's are the same for all records of one part."""
        columns = {name: stream.columns[name] for name in stream.primary_key}
        self._fields = [
            FieldReader(stream, one.path or name) for name, one in columns.items() if not one.parent
        ]
        self._nulls = 0

    @property
    def knows_keys(self) -> bool:
        """Whether there is a key to go by."""
        return bool(self._fields)

    def numbers(self, page: CutPage, where: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """One number for each record, the same for the same key within this process."""
        columns = [field.texts(page, where) for field in self._fields]
        if len(columns) == 1:
            return np.fromiter(map(self._number, columns[0]), np.int64, len(page.records))
        return np.fromiter(map(self._number, zip(*columns, strict=True)), np.int64, len(page.records))

    def _number(self, key: Any) -> int:
        if key is None or (isinstance(key, tuple) and None in key):
            self._nulls += 1  # a record without a key is a record of its own
            key = (None, self._nulls)
        return hash(key)


class Tally:
    """What came of one reading of a stream, or of a part of it, and what the API says there is."""

    def __init__(
        self, stream: RestStream, where: str, pull: Mapping[str, Any], recalled: Recalled | None = None
    ) -> None:
        """Begin, or go on with a reading that was cut short.

        Args:
            stream: the catalog's entry.
            where: source and stream, for messages.
            pull: the place to go on from; empty for the beginning.
            recalled: gives back what earlier runs stored of this pull.
        """
        self._stream, self._where, self._recalled = stream, where, recalled
        self._counts = bool(stream.paging.total or stream.paging.total_header)
        self._reader = KeyReader(stream)
        self.keyed = self._reader.knows_keys
        self._numbers: list[np.ndarray[Any, Any]] = []
        self.received: int = pull.get("received", 0)
        self._mark: str = pull.get("mark") or uuid.uuid4().hex[:8]
        self._received_before = self.received if pull else 0
        self._again: int = pull.get("again", 0)
        self._totals: list[int] = list(pull.get("totals", []))
        """Fewest, most and last."""
        self._explained = 0
        self._unclear = False

    @property
    def state(self) -> dict[str, Any]:
        """What a later run goes on with."""
        return {"mark": self._mark, "totals": self._totals} if self._totals else {}

    @property
    def last_total(self) -> int | None:
        """The total of the page before."""
        return self._totals[2] if self._totals else None

    def add(self, page: CutPage, *, read_again: bool) -> int:
        """Note a page, and say by how much the total fell since the page before.

        Args:
            page: it.
            read_again: its records have been read before, because pages moved.
        """
        self.received += len(page.records)
        if not self._counts or page.total is None:
            return 0
        if self.keyed and page.records:
            self._note(self._reader.numbers(page, self._where), read_again)
        before, total = self.last_total, page.total
        least, most = (self._totals[0], self._totals[1]) if self._totals else (total, total)
        self._totals = [min(least, total), max(most, total), total]
        return max(0, (before or 0) - total)

    def moved(self) -> None:
        """Note that records moved in a way that cannot be made up for by reading some pages again."""
        self._unclear = True

    def _note(self, numbers: np.ndarray[Any, Any], read_again: bool) -> None:
        if read_again:
            self._explained += len(numbers)
        elif self._numbers:
            self._explained += _overlap(self._numbers[-1], numbers)
        self._numbers.append(numbers)

    def verdict(self) -> str:
        """Why this reading may not be whole, though that is not certain; "" if it is whole.

        Raises:
            NotWhole: when fewer records came than there are, or more.
        """
        if not self._totals:
            return ""
        least, most, last = self._totals
        low, high = self._different()
        if high < least or (low > most and least == most):
            raise self._disagreement(high if high < least else low, last, least, most)
        repeated = self.keyed and self.received - self._explained > low
        if (repeated and low != last) or (self._unclear and low < most) or low > most:
            return f"{low} different records came, {self.received} in all, and the API counts {last}"
        return ""

    def _different(self) -> tuple[int, int]:
        """How many different records came: at least, and at most."""
        if not self.keyed:
            return self.received, self.received
        numbers = list(self._numbers)
        before = 0
        if self._received_before:
            if self._recalled is None:
                before = self._received_before
            else:
                plain = KeyReader(self._stream.model_copy(update={"records": "", "format": "ndjson"}))
                numbers += [
                    plain.numbers(as_page(records), self._where) for records in self._recalled(self._mark)
                ]
        found = len(np.unique(np.concatenate(numbers))) if numbers else 0
        found += self._again
        return found, found + before

    def _disagreement(self, found: int, last: int, least: int, most: int) -> NotWhole:
        counted = f"{last}" if least == most else f"{least} to {most}"
        came = f"{found} records"
        if repeated := self.keyed and found < self.received:
            came = f"{found} different records ({self.received} in all)"
        why = "pages were left out, or records vanished while we read"
        fix = "the next run reads them all again; if it stays, check paging"
        if found > most:
            why = "pages of different times were read, or the total counts something else"
            fix = "the next run reads them all again; if it stays, check paging.total"
        elif repeated:
            why = "an order with ties gives some records twice and others never"
            fix = "ask for an order without ties, by the primary key; if it stays, check primary_key"
        return NotWhole(self._where, f"the pages held {came}, but the API counts {counted}", why=why, fix=fix)


def _overlap(before: np.ndarray[Any, Any], page: np.ndarray[Any, Any]) -> int:
    """How many records at the end of one page are those at the beginning of the next, in the same order."""
    for start in np.flatnonzero(before == page[0]):
        tail = before[start:]
        if len(tail) <= len(page) and np.array_equal(tail, page[: len(tail)]):
            return len(tail)
    return 0
