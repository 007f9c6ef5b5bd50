"""``python -m groundwork compact``, ``sweep`` and ``lifecycle``: what keeps the bucket in good order."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from groundwork.bucket import Bucket, open_bucket
from groundwork.catalog import Catalog, load_catalog
from groundwork.settings import Settings


def add_compact(parser: argparse.ArgumentParser) -> None:
    """The words of ``compact``."""
    parser.add_argument("source", nargs="*", help="sources of the catalog; all when none is named")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The words of ``sweep``."""
    parser.add_argument("source", nargs="*", help="sources of the catalog; all when none is named")
    parser.add_argument("--days", type=float, default=2, help="how old an object must be (2)")
    parser.add_argument("--yes", action="store_true", help="remove them; else only say what would be removed")


def add_lifecycle(parser: argparse.ArgumentParser) -> None:
    """The words of ``lifecycle``."""
    told = "also move large objects to a cheaper class after 90 days, one that is read as fast"
    parser.add_argument("--cold", action="store_true", help=told)


def run_compact(options: argparse.Namespace) -> int:
    """Merge small objects, source by source."""
    from groundwork.keep.compaction import compact

    catalog, bucket = _own_bucket(options.source)
    for source in options.source or catalog:
        done = compact(bucket, catalog[source].source)
        print(f"{source}: {done.before:,} objects became {done.after:,}")
    return 0


def run_sweep(options: argparse.Namespace) -> int:
    """Say what no manifest lists; remove it when told to."""
    from groundwork.keep.sweeping import sweep

    catalog, bucket = _own_bucket(options.source)
    for source in options.source or catalog:
        age = timedelta(days=options.days)
        found = sweep(bucket, catalog[source].source, age=age, remove=options.yes)
        what = "removed" if options.yes else "would be removed (--yes)"
        print(
            f"{source}: {len(found.removed):,} objects ({found.bytes:,} bytes) {what}, {found.young:,} are"
            f" too young, {found.pending:,} are of a batch that may still be committed"
        )
    if options.yes:
        remove_temporary(bucket)
    return 0


def remove_temporary(bucket: Bucket) -> None:
    """Remove what killed processes left: unfinished files of a local bucket, copies beside the warehouse."""
    from groundwork.serving.publishing import drafts_of, remove_drafts
    from groundwork.warehouses.duckdb_rewriting import copies_of, remove_copies
    from groundwork.warehouses.writer import writer_lock

    settings, removed = Settings(), bucket.remove_unfinished()
    if settings.warehouse == "duckdb" and (copies := copies_of(settings.duckdb_file)):
        with writer_lock(settings.duckdb_file, "sweep"):
            remove_copies(settings.duckdb_file)
        removed += len(copies)
    if settings.readers_copy and settings.warehouse == "duckdb" and drafts_of(settings.readers_copy):
        with writer_lock(settings.duckdb_file, "sweep"):
            removed += remove_drafts(settings.readers_copy)
    if removed:
        print(f"{removed:,} unfinished files of killed processes removed")


def run_lifecycle(options: argparse.Namespace) -> int:
    """Print the rules for this platform's bucket."""
    from groundwork.keep.lifecycle import rules

    parts = urlsplit(Settings().bucket_url)
    print(json.dumps(rules(parts.path if parts.scheme == "s3" else "", cold=options.cold), indent=2))
    return 0


def _own_bucket(sources: Sequence[str]) -> tuple[Catalog, Bucket]:
    """Catalog and bucket, once the bucket is known to be the one that the warehouse was loaded from."""
    from groundwork.identity import compare_places, refuse_empty
    from groundwork.warehouses import open_warehouse

    settings = Settings()
    catalog, bucket = load_catalog(settings.catalog), open_bucket(settings.bucket_url)
    names = [catalog[source].source for source in sources or catalog]
    refuse_empty(bucket, names)
    compare_places(bucket, settings, names, partial(open_warehouse, settings, who="keep", read_only=True))
    return catalog, bucket
