"""Remnants of an erasure: copies that may still hold erased rows, and a search of all files in reach.

An erasure rewrites what manifests list and what the warehouse holds. Copies that nothing lists are found
here: objects of killed runs, copies beside the warehouse, the copy for readers.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.compute
import pyarrow.parquet

from groundwork.bucket import Bucket
from groundwork.keep.sweeping import sweep
from groundwork.scratch import scratch
from groundwork.serving.publishing import drafts_of
from groundwork.settings import Settings
from groundwork.warehouses.duckdb_rewriting import copies_of

SERVICES = "services"
"""Directory under GROUNDWORK_HOME with the demo's own servers: sources, and the S3 server's disk."""


@dataclass(frozen=True)
class Remnant:
    """A file or object that may hold what was erased, or does."""

    place: str
    why: str
    fix: str


def older_than(
    erased_at: datetime, bucket: Bucket, settings: Settings, sources: Collection[str]
) -> Iterator[Remnant]:
    """Copies that are older than the newest erasure and that it did not rewrite.

    Args:
        erased_at: when the newest erasure was done.
        bucket: the platform's bucket.
        settings: names the warehouse and the copy for readers.
        sources: whose objects to look at.
    """
    for source in sources:
        for stored in sweep(bucket, source).unlisted:
            if stored.modified < erased_at:
                fix = "python -m groundwork sweep --days 0 --yes, while no run is active"
                yield Remnant(f"{bucket.url}/{stored.key}", "no manifest lists it", fix)
    if settings.warehouse == "duckdb":
        for copy in copies_of(settings.duckdb_file):
            yield Remnant(str(copy), "a killed process left this copy", "python -m groundwork sweep --yes")
    readers = settings.readers_copy
    for draft in drafts_of(readers) if readers else ():
        yield Remnant(str(draft), "a killed process left this copy", "python -m groundwork sweep --yes")
    if readers and readers.exists() and _modified(readers) < erased_at:
        yield Remnant(
            str(readers),
            "the copy for readers is older than the erasure",
            f"python -m groundwork publish {readers}",
        )


def holding(texts: Sequence[str], bucket: Bucket, settings: Settings) -> Iterator[Remnant]:
    """Every object and file in reach that holds one of the texts; the texts themselves are not repeated.

    Searched are all objects of the bucket, the files under GROUNDWORK_HOME but for the demo's own servers,
    the DuckDB file and its neighbours, the copy for readers, and our directories of temporary files.

    Args:
        texts: what to look for: a name, an e-mail address.
        bucket: the platform's bucket.
        settings: names the places on this machine.
    """
    wanted = [form for text in texts for form in {text.encode(), json.dumps(text)[1:-1].encode()}]
    with scratch() as directory:
        for stored in bucket.list(""):
            local = directory / "object"
            bucket.download(stored.key, local)
            if _holds(local, wanted):
                fix = "python -m groundwork forget, with the column that holds it"
                yield Remnant(f"{bucket.url}/{stored.key}", "holds the text", fix)
            local.unlink()
    for file in _files(settings):
        try:
            if _holds(file, wanted):
                yield Remnant(str(file), "holds the text", "remove the file, or write it again")
        except duckdb.Error:
            yield Remnant(
                str(file), "cannot be searched", "wait for the run that holds it, then search again"
            )


def not_searched(settings: Settings) -> list[Path]:
    """Directories that `holding` leaves out: servers of the demo keep deleted rows until they reuse space."""
    services = settings.home.absolute() / SERVICES
    return [services] if services.is_dir() else []


def _files(settings: Settings) -> Iterator[Path]:
    """Files of this machine that may hold rows, each once."""
    places = [settings.home.absolute(), *Path(tempfile.gettempdir()).glob("groundwork-*")]
    found = {file for place in places for file in place.rglob("*")}
    beside = [settings.duckdb_file, *([settings.readers_copy.absolute()] if settings.readers_copy else [])]
    for file in beside:
        found |= {file, *file.parent.glob(f"{file.name}.*"), *file.parent.glob(f".*{file.name}*")}
    left_out = not_searched(settings)
    for file in sorted(found):
        if file.is_file() and not any(file.is_relative_to(place) for place in left_out):
            yield file


def _holds(file: Path, wanted: Sequence[bytes]) -> bool:
    """Whether a file has one of the texts in its bytes, or in its columns where these are compressed."""
    try:
        if not file.stat().st_size:
            return False
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if any(content.find(text) >= 0 for text in wanted):
                return True
            head = content[:16]
    except FileNotFoundError:  # a run that ended meanwhile took it away
        return False
    if head[:4] == b"PAR1":
        return _in_parquet(file, wanted)
    return head[8:12] == b"DUCK" and _in_duckdb(file, wanted)


def _in_parquet(file: Path, wanted: Sequence[bytes]) -> bool:
    opened = pyarrow.parquet.ParquetFile(file)
    for batch in opened.iter_batches(batch_size=8192):
        for column in batch.columns:
            if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
                for text in wanted:
                    found = pyarrow.compute.match_substring(column, text.decode())
                    if pyarrow.compute.any(found).as_py():
                        return True
    return False


def _in_duckdb(file: Path, wanted: Sequence[bytes]) -> bool:
    with duckdb.connect(str(file), read_only=True) as connection:
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns()"
            " join duckdb_tables() using (database_name, schema_name, table_name)"
            " where database_name = current_database()"
        ).fetchall()
        for schema, table, column in columns:
            name = ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in (schema, table))
            value = f'cast("{column.replace(chr(34), chr(34) * 2)}" as varchar)'
            which = " or ".join(f"contains({value}, ?)" for _ in wanted)
            texts = [text.decode() for text in wanted]
            if connection.execute(f"select 1 from {name} where {which} limit 1", texts).fetchone():
                return True
    return False


def _modified(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
