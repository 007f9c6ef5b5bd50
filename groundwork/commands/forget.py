"""``python -m groundwork forget``: one subject goes, from the bucket and from the warehouse.

There is no flow of it on purpose: Prefect keeps the parameters of its runs, and the platform keeps Prefect's
runs, so the subject's name would stand in both. See docs/erasure.md.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from groundwork.bucket import Bucket
from groundwork.catalog import Catalog
from groundwork.errors import CatalogError
from groundwork.keep.records import Rewrite
from groundwork.settings import Settings

if TYPE_CHECKING:
    from groundwork.keep.erasure import Seal


def add_forget(parser: argparse.ArgumentParser) -> None:
    """The words of ``forget``."""
    told = "declared column that holds the subject's key, e.g. shop.customers.id; several may be named"
    parser.add_argument("column", nargs="*", help=told)
    told = "kind of subject, as columns of the catalog have it (subject: customer): all of them are looked at"
    parser.add_argument("--subject", default="", metavar="KIND", help=told)
    told = "what stands in these columns; asked for, or read from standard input, when it is not given"
    parser.add_argument("--value", default="", help=told)
    parser.add_argument("--yes", action="store_true", help="do it; else only say what would be rewritten")
    told = "finish an erasure that was cut short; needs no name"
    parser.add_argument("--resume", action="store_true", help=told)
    told = "delete from the warehouse whatever was ever erased, e.g. from one that was restored"
    parser.add_argument("--again", action="store_true", help=told)
    told = "check every record's signature, that none is missing, and that no older copy is left"
    parser.add_argument("--verify", action="store_true", help=told)
    told = "with --verify: search the bytes of all files in reach for texts, one per line of standard input"
    parser.add_argument("--search", action="store_true", help=told)
    told = "another warehouse: snowflake, or the path of a DuckDB file"
    parser.add_argument("--into", default="", metavar="WAREHOUSE", help=told)


def run_forget(options: argparse.Namespace) -> int:
    """Say what would be rewritten, or do it; or what the other words ask for."""
    from groundwork.bucket import open_bucket
    from groundwork.catalog import load_catalog
    from groundwork.identity import refuse_other_warehouse
    from groundwork.keep.erasure import Seal
    from groundwork.settings import resolve_from_environment
    from groundwork.warehouses import open_warehouse

    settings = Settings().into(options.into)
    catalog, bucket = load_catalog(settings.catalog), open_bucket(settings.bucket_url)
    seal = Seal.resolved(resolve_from_environment)
    opened = partial(open_warehouse, settings, who="forget", read_only=True)
    refuse_other_warehouse(bucket, settings, catalog, opened)
    if options.verify:
        code = _verify(catalog, bucket, settings, seal)
        return max(code, _search(bucket, settings)) if options.search else code
    if options.again:
        return _again(catalog, bucket, settings, seal)
    if options.resume:
        return _resume(catalog, bucket, settings, seal)
    return _forget(catalog, bucket, settings, seal, options)


def _forget(
    catalog: Catalog, bucket: Bucket, settings: Settings, seal: Seal, options: argparse.Namespace
) -> int:
    from groundwork import drafts
    from groundwork.keep.erasure import announce, plan
    from groundwork.keep.subjects import named

    if not options.column and not options.subject:
        fix = "name a column (shop.customers.id) or a kind of subject (--subject customer)"
        raise CatalogError("forget", "needs to know where the subject's key stands", fix=fix)
    if options.yes:
        _resume(catalog, bucket, settings, seal, quiet=True)
        for source in catalog:  # a pull that was cut short is read anew, without the subject
            drafts.purge(bucket, source)
    value = options.value or _asked()
    names = named(catalog, options.column, options.subject, value)
    records = plan(catalog, bucket, names, seal, value)
    for record in records:
        _tell(record)
    if not records:
        print("nothing in the bucket is of this subject")
        return 0
    if not options.yes:
        print("nothing was changed; the same with --yes erases this, for good")
        return 0
    _finish(bucket, settings, announce(bucket, records, seal.sign), seal)
    return 0


def _asked() -> str:
    value = getpass.getpass("value: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not value:
        raise CatalogError(
            "forget", "needs the subject's value", fix="give --value, or write it to standard input"
        )
    return value


def _tell(record: Rewrite) -> None:
    objects = sum(len(one.before) for one in record.replacements)
    batches = {batch for one in record.replacements for batch in one.batches}
    print(f"{record.source}: {record.rows:,} rows in {objects:,} objects of {len(batches):,} batches")
    for stream, files in record.removed.items():
        print(f"  {stream:<24} {sum(map(len, files.values())):>8,} rows")


def _resume(catalog: Catalog, bucket: Bucket, settings: Settings, seal: Seal, *, quiet: bool = False) -> int:
    """Finish, or withdraw, what was cut short."""
    from groundwork.keep.erasure import open_erasures, take_up

    opened = open_erasures(bucket, catalog)
    if not opened and not quiet:
        print("no erasure was cut short after it was announced; one cut short before that erased nothing")
    for records in opened:
        ours = take_up(bucket, records, seal)
        names = ", ".join(record.name for record in records)
        if ours:
            print(f"finishing {names}")
            _finish(bucket, settings, ours, seal)
        else:
            print(f"withdrawn: {names}; nothing was erased, ask for it again with the subject's name")
    return 0


def _finish(bucket: Bucket, settings: Settings, records: Sequence[Rewrite], seal: Seal) -> None:
    """From announced to done: bucket, landing and staging, what follows them, digests."""
    from groundwork.keep.erasure import close, rewrite_bucket

    records = rewrite_bucket(bucket, list(records), seal.sign)
    deleted = _cleanse(bucket, settings, records)
    for record in close(bucket, records, seal.sign):
        print(f"erased {record.rows:,} rows: {bucket.url}/{record.name}.json")
    print(f"landing lost {deleted:,} rows; the models after it were built again")
    bucket.remove_unfinished()
    if settings.readers_copy and settings.readers_copy.exists() and settings.warehouse == "duckdb":
        from groundwork.serving.publishing import publish

        publish(settings, settings.readers_copy)
        print(f"published again: {settings.readers_copy}")


def _cleanse(bucket: Bucket, settings: Settings, records: Sequence[Rewrite]) -> int:
    from groundwork import dbt_turn, digests
    from groundwork.keep import cleansing
    from groundwork.warehouses import open_warehouse

    models = cleansing.base_models(records)
    with open_warehouse(settings, who="forget") as warehouse:
        deleted = cleansing.cleanse(warehouse, bucket, records)
        built = [model for model in models if model in warehouse.tables(cleansing.STAGING)]
    if built:
        dbt_turn.build(settings, cleansing.build_arguments(built))
    if settings.warehouse == "duckdb":
        from groundwork.warehouses.duckdb_rewriting import write_anew

        write_anew(settings.duckdb_file)
    with open_warehouse(settings, who="forget") as warehouse:
        digests.keep(bucket, digests.take(warehouse, settings.warehouse_name))
    return deleted


def _again(catalog: Catalog, bucket: Bucket, settings: Settings, seal: Seal) -> int:
    from groundwork.keep.erasure import verify

    records = [
        record
        for source in catalog
        for record in verify(bucket, source, seal)
        if record.kind == "erasure" and record.state == "done"
    ]
    deleted = _cleanse(bucket, settings, records) if records else 0
    print(f"{len(records)} erasures looked at, {deleted:,} rows deleted")
    return 0


def _verify(catalog: Catalog, bucket: Bucket, settings: Settings, seal: Seal) -> int:
    from groundwork.keep import remnants
    from groundwork.keep.erasure import verify

    unfinished, done = 0, []
    for source in catalog:
        for record in verify(bucket, source, seal):
            if record.kind == "erasure":
                when = record.done_at or record.begun_at
                print(f"{record.name} {record.state} {when:%Y-%m-%d %H:%M} {record.rows:,} rows")
                done += [when] if record.state == "done" else []
            unfinished += record.is_open
    print("all records are there, as they were signed")
    left = list(remnants.older_than(max(done), bucket, settings, list(catalog))) if done else []
    for one in left:
        print(f"{one.place}: {one.why}. {one.fix}", file=sys.stderr)
    if unfinished:
        print(f"{unfinished} not finished: python -m groundwork forget --resume", file=sys.stderr)
    return 1 if unfinished or left else 0


def _search(bucket: Bucket, settings: Settings) -> int:
    """Search all files in reach for texts, which are read from standard input and never printed."""
    from groundwork.keep import remnants

    if sys.stdin.isatty():
        print("texts to search for, one per line; end with an empty line")
    texts = [line for line in iter(lambda: sys.stdin.readline().strip("\r\n"), "") if line]
    if not texts:
        raise CatalogError(
            "forget --verify --search", "needs a text", fix="write a name or an address to standard input"
        )
    found = list(remnants.holding(texts, bucket, settings))
    for one in found:
        print(f"{one.place}: {one.why}. {one.fix}", file=sys.stderr)
    for place in remnants.not_searched(settings):
        print(
            f"not searched: {place} (servers of the demo, which keep deleted rows until they reuse the space)"
        )
    print(f"searched all files in reach: {len(found)} hold one of the texts")
    return 1 if found else 0
