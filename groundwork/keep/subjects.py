"""Subjects: which stored rows are of one person, customer or account.

A record is found by the value of a declared column in any of its versions, and goes as a whole: every
version, its deletion, and what it was under older or newer keys. Where a record's key is itself a subject by
the catalog (``subject`` on columns), what refers to it goes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, Catalog, check_streams
from groundwork.errors import CatalogError
from groundwork.keep.key_index import IndexedRow, Key, KeyIndex


@dataclass(frozen=True)
class Name:
    """What names a subject: a declared column of a stream, and its value there."""

    source: str
    stream: str
    column: str
    value: str

    @property
    def column_name(self) -> str:
        """``shop.customers.id``; without the value, so it may be told."""
        return f"{self.source}.{self.stream}.{self.column}"


@dataclass
class Found:
    """The stored rows of one subject in one source."""

    source: str
    looked_at: int
    """The newest batch when it was looked through."""
    rows: dict[str, set[IndexedRow]] = field(default_factory=dict)
    """By stream."""
    records: dict[str, int] = field(default_factory=dict)
    """By stream; a record that changed its key counts once per key."""
    names: list[str] = field(default_factory=list)
    """Columns that named it, ``shop.customers.id``."""


def named(catalog: Catalog, column_names: Iterable[str], subject: str, value: str) -> list[Name]:
    """What names a subject, as a person says it.

    Args:
        catalog: all sources.
        column_names: ``source.stream.column``, each.
        subject: a kind of subject, as columns of the catalog have it; "" for none.
        value: what stands in these columns.

    Raises:
        CatalogError: when there is no such source, stream, column or subject.
    """
    names = []
    for given in column_names:
        source, _, rest = given.partition(".")
        stream, _, column = rest.partition(".")
        entry = catalog[source]
        check_streams(entry, [stream])
        if column not in entry.streams[stream].columns:
            known = ", ".join(entry.streams[stream].columns)
            raise CatalogError(f"stream {source}.{stream}", f"declares no column '{column}' ({known})")
        names.append(Name(source, stream, column, value))
    if subject:
        meant = [Name(*place, value) for place in places_of(catalog, subject)]
        if not meant:
            known = ", ".join(sorted(kinds(catalog))) or "none"
            raise CatalogError(
                str(catalog.directory), f"no column has the subject '{subject}' ({known})",
                fix="write `subject: <kind>` on the columns that hold its key, or name a column",
            )  # fmt: skip
        names += meant
    return names


def kinds(catalog: Catalog) -> set[str]:
    """All kinds of subjects that columns of the catalog name."""
    return {
        column.subject
        for entry in catalog.values()
        for stream in entry.streams.values()
        for column in stream.columns.values()
        if column.subject
    }


def places_of(catalog: Catalog, subject: str) -> Iterator[tuple[str, str, str]]:
    """Source, stream and column of each place that names a kind of subject."""
    for source, entry in catalog.items():
        for stream, described in entry.streams.items():
            for column, one in described.columns.items():
                if one.subject == subject:
                    yield source, stream, column


class Search:
    """Looks through the bucket for one subject."""

    def __init__(self, catalog: Catalog, bucket: Bucket, names: Iterable[Name]) -> None:
        """Nothing is read before `run`."""
        self._catalog, self._bucket, self._names = catalog, bucket, list(names)
        self._found: dict[str, Found] = {}
        self._indexes: dict[str, KeyIndex] = {}

    def run(self, directory: Path) -> dict[str, Found]:
        """What there is of the subject, by source; a source that may hold it and does not has no rows.

        Raises:
            ObjectDamaged: when an object is not what its manifest says.
        """
        reached = self._reachable()
        with ExitStack() as stack:
            for source, columns in reached.items():
                index = KeyIndex(self._catalog[source], columns, directory)
                stack.callback(index.close)
                newest = manifest.latest_id(self._bucket, source)
                index.read(self._bucket, manifest.span(self._bucket, source, 1, newest))
                self._indexes[source] = index
                self._found[source] = Found(source, newest)
            waiting, seen = list(self._names), set[Name]()
            while waiting:
                name = waiting.pop()
                if name not in seen:
                    seen.add(name)
                    waiting += self._meet(name)
        return self._found

    def _meet(self, name: Name) -> list[Name]:
        """Take in the records that a name meets; what names them elsewhere."""
        found, entry = self._found[name.source], self._catalog[name.source]
        if name.column_name not in found.names:
            found.names.append(name.column_name)
        index, passed = self._indexes[name.source], list[Name]()
        hits = index.where(name.stream, name.column, name.value)
        rows = found.rows.setdefault(name.stream, set())
        for life in _lives(index, entry, name.stream, hits):
            fresh = set(life) - rows
            if fresh:
                found.records[name.stream] = found.records.get(name.stream, 0) + 1
                rows |= fresh
                passed += self._passed_on(entry, name.stream, life[0].key)
        return passed

    def _passed_on(self, entry: AnySource, stream: str, key: Key) -> Iterator[Name]:
        subject = _own_subject(entry, stream)
        if subject and key and key[0] is not None:
            own = (entry.source, stream, entry.streams[stream].primary_key[0])
            for place in places_of(self._catalog, subject):
                if place != own:  # another life of the same key is another record
                    yield Name(*place, key[0])

    def _reachable(self) -> dict[str, dict[str, list[str]]]:
        """Columns that can come to name the subject, by source and stream."""
        reached: dict[str, dict[str, list[str]]] = {}
        waiting = [(name.source, name.stream, name.column) for name in self._names]
        while waiting:
            source, stream, column = waiting.pop()
            columns = reached.setdefault(source, {}).setdefault(stream, [])
            if column in columns:
                continue
            columns.append(column)
            subject = _own_subject(self._catalog[source], stream)
            waiting += places_of(self._catalog, subject) if subject else []
        return reached


def _own_subject(entry: AnySource, stream: str) -> str:
    """The kind of subject that a stream's records are, "" when they are none."""
    described = entry.streams[stream]
    if len(described.primary_key) != 1:
        return ""
    return described.columns[described.primary_key[0]].subject


def _lives(index: KeyIndex, entry: AnySource, stream: str, hits: list[IndexedRow]) -> list[list[IndexedRow]]:
    """All rows of the records that some rows are of, one list per life under one key.

    A deletion ends a life; the same key afterwards is another record. A change of key at the source is a
    deletion at an odd place and an update one place on (`groundwork.sources.tuples`): the life goes on there.
    """
    if not entry.streams[stream].primary_key:
        return [[hit] for hit in hits]
    lives: dict[tuple[Key, str], list[IndexedRow]] = {}
    by_key: dict[Key, list[list[IndexedRow]]] = {}
    waiting = list(hits)
    while waiting:
        row = waiting.pop()
        if row.key not in by_key:
            by_key[row.key] = _cut(index.of_key(stream, row.key))
        life = next(life for life in by_key[row.key] if row in life)
        place = (row.key, life[0].sequence)
        if None in row.key:  # no key, no record: the row stands for itself
            lives[row.key, f"{row.file}/{row.row}"] = [row]
        elif place not in lives:
            lives[place] = life
            if entry.streams[stream].replication == "log_based":
                waiting += _moved(index, stream, life)
    return list(lives.values())


def _cut(rows: list[IndexedRow]) -> list[list[IndexedRow]]:
    """The rows of a key, cut behind each deletion."""
    lives: list[list[IndexedRow]] = [[]]
    for row in rows:
        lives[-1].append(row)
        if row.operation == "delete":
            lives.append([])
    return [life for life in lives if life]


def _moved(index: KeyIndex, stream: str, life: list[IndexedRow]) -> list[IndexedRow]:
    """Where a life came from, and where it goes on, under other keys."""
    first, last = life[0], life[-1]
    found = []
    if last.operation == "delete" and _ordinal(last) % 2:
        found += [row for row in index.at(stream, _place(last, +1)) if row.operation == "update"]
    if first.operation == "update" and _ordinal(first) and not _ordinal(first) % 2:
        found += [row for row in index.at(stream, _place(first, -1)) if row.operation == "delete"]
    return found


def _ordinal(row: IndexedRow) -> int:
    return int(row.sequence.rpartition("/")[2] or "0", 16)


def _place(row: IndexedRow, by: int) -> str:
    return f"{row.sequence.rpartition('/')[0]}/{_ordinal(row) + by:08x}"
