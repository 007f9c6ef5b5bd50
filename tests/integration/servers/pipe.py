"""From a server to a bucket by a page of the catalog and nothing else, and what is in the bucket then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from groundwork import manifest
from groundwork.bucket.local import LocalBucket
from groundwork.catalog import RestSource, load_source
from groundwork.extract import Extracted, extract, open_source
from groundwork.settings import resolve_from_environment
from groundwork.sources import Checkpoint, Cursors, Rows, Undo
from groundwork.sources.rest import RestSource as Reader
from groundwork.sources.rest import Sizes
from tests.integration.servers.installed import HERE


class Killed(Exception):
    """A run that ended in its middle."""


class Pipe:
    """Runs of one source into a bucket of a test's own."""

    def __init__(self, name: str, place: Path) -> None:
        entry = load_source(HERE / "catalog" / f"{name}.yml")
        assert isinstance(entry, RestSource)
        self.entry, self.bucket = entry, LocalBucket(place / "bucket")

    def run(self) -> Extracted:
        """A run to its end."""
        return extract(
            self.entry, open_source(self.entry, resolve_from_environment, self.bucket), self.bucket
        )

    def run_until_killed(self, commits: int, batch_rows: int) -> None:
        """A run with small batches that ends right after some of them."""
        reader = Reader(self.entry, resolve_from_environment, sizes=Sizes(batch_rows=batch_rows))
        try:
            extract(self.entry, _Ending(reader, commits), self.bucket)
        except Killed:
            return
        raise AssertionError(f"it came to its end before {commits} commits")

    def rows(self, stream: str) -> Iterator[dict[str, Any]]:
        """Every row of a stream that was committed, in order."""
        last = manifest.latest(self.bucket, self.entry.source)
        for number in range(1, (last.batch_id if last else 0) + 1):
            for stored in manifest.read(self.bucket, self.entry.source, number).objects:
                if stored.stream == stream:
                    yield from pl.read_parquet(self.bucket.get(stored.key)).iter_rows(named=True)

    def alive(self, stream: str, key: Sequence[str] = ()) -> dict[Any, Any]:
        """The newest version of each record that is not deleted, by its primary key."""
        names, found = key or self.entry.streams[stream].primary_key, dict[Any, Any]()
        for row in self.rows(stream):
            if row["_operation"] == "truncate":
                found.clear()
                continue
            record = json.loads(row["record"])
            at = record[names[0]] if len(names) == 1 else tuple(record[name] for name in names)
            if row["_operation"] == "delete":
                found.pop(at, None)
            else:
                found[at] = record
        return found


class _Ending:
    def __init__(self, reader: Reader, commits: int) -> None:
        self._reader, self._left = reader, commits

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint | Undo]:
        for item in self._reader.read(cursors):
            yield item
            if isinstance(item, Checkpoint) and item.committed:
                self._left -= 1
                if not self._left:
                    raise Killed
