"""``replay``, ``digest`` and ``publish``: what the flows do, by hand; and the proof of it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from groundwork.errors import CatalogError, GroundworkError

if TYPE_CHECKING:
    from groundwork.landing import Loaded
    from groundwork.replay_scope import Wanted
    from groundwork.settings import Settings

log = logging.getLogger(__name__)


def add_replay(parser: argparse.ArgumentParser) -> None:
    """The words of ``replay``."""
    parser.add_argument("source", nargs="*", help="sources of the catalog; all when none is named")
    parser.add_argument(
        "--stream", action="append", default=[], help="only this one; may be given several times"
    )
    bound = "a batch's number, or the time it was stored (2026-01-31T10:00Z)"
    parser.add_argument("--from", dest="since", default="", metavar="BATCH_OR_TIME", help=f"first: {bound}")
    parser.add_argument("--to", dest="until", default="", metavar="BATCH_OR_TIME", help=f"last: {bound}")
    told = "continue the replay of this id, which was cut short, with its own sources, streams and batches"
    parser.add_argument("--resume", default="", metavar="ID", help=told)
    told = "another warehouse: snowflake, or the path of a DuckDB file"
    parser.add_argument("--into", default="", metavar="WAREHOUSE", help=told)
    told = "load landing only; staging and visualization are left as they are"
    parser.add_argument("--landing-only", action="store_true", help=told)


def add_digest(parser: argparse.ArgumentParser) -> None:
    """The words of ``digest``."""
    told = "compare with another warehouse (snowflake, or a DuckDB file); 1 when they differ"
    parser.add_argument("--against", default="", metavar="WAREHOUSE", help=told)
    parser.add_argument(
        "--stored", action="store_true", help="compare with what was stored after the last run"
    )


def add_publish(parser: argparse.ArgumentParser) -> None:
    """The words of ``publish``."""
    parser.add_argument("file", type=Path, help="the DuckDB file to put in place; readers may have it open")


def run_publish(options: argparse.Namespace) -> int:
    """Copy what people see into a file that no run ever holds."""
    from groundwork.serving.publishing import publish
    from groundwork.settings import Settings

    print(f"publish: {publish(Settings(), options.file)} tables in {options.file}")
    return 0


def run_replay(options: argparse.Namespace) -> int:
    """Load batches again from the bucket, sources side by side, and build all that follows from scratch."""
    from groundwork.bucket import open_bucket
    from groundwork.catalog import load_catalog
    from groundwork.replay import make_ready, replay
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse

    settings = Settings().into(options.into)
    catalog, bucket = load_catalog(settings.catalog), open_bucket(settings.bucket_url)
    sources, wanted = _asked(options, settings, list(catalog))
    entries = [catalog[source] for source in sources]
    replay_id = make_ready(
        entries, bucket, lambda: open_warehouse(settings, who="replay"), wanted, replay_id=options.resume
    )
    print(f"replay {replay_id}: {', '.join(sources)}", flush=True)

    def one(source: str) -> Loaded:
        return replay(
            catalog[source], bucket,
            lambda: open_warehouse(settings, who=f"replay {source}"), wanted,
            replay_id=replay_id, progress=_Lines(source),
        )  # fmt: skip

    failed, left_out = [], []
    with ThreadPoolExecutor(len(entries), "replay") as pool:
        for source, run in [(source, pool.submit(one, source)) for source in sources]:
            try:
                done = run.result()
                rows = sum(done.rows.values())
                print(f"replay {source}: {len(done.batches)} batches, {rows} rows, {done.seconds:.1f} s")
                left_out += [f"{source}: {complaint}" for complaint in done.complaints]
            except GroundworkError as error:  # the others continue
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                failed.append(source)
    if failed:
        print(f"replay: to continue this one, add --resume {replay_id}", file=sys.stderr)
    elif not options.landing_only:
        from groundwork.dbt_turn import build

        build(settings, ["--quiet", "build", "--full-refresh", "--exclude-resource-type", "unit_test"])
        print("replay: staging and visualization are built from it")
    for complaint in left_out:
        print(f"left out of {complaint}", file=sys.stderr)
    return 1 if failed or left_out else 0


def _asked(options: argparse.Namespace, settings: Settings, known: list[str]) -> tuple[list[str], Wanted]:
    """The sources to replay and what of them; of a replay that is continued, as it was begun."""
    from groundwork.replay_records import Records
    from groundwork.replay_scope import Wanted, bound
    from groundwork.warehouses import open_warehouse

    if options.resume:
        if options.source or options.stream or options.since or options.until:
            fix = "leave out sources, --stream, --from and --to"
            raise CatalogError("replay --resume", "continues a replay as it was begun", fix=fix)
        if settings.warehouse == "duckdb" and not settings.duckdb_file.exists():
            fix = "set GROUNDWORK_DUCKDB_PATH (or --into) to the warehouse that it was begun in"
            raise CatalogError(
                f"replay --resume {options.resume}", f"{settings.duckdb_file} is none", fix=fix
            )
        with open_warehouse(settings, who="replay", read_only=True) as warehouse:
            begun = Records(warehouse).unfinished(options.resume)
        return [record.source for record in begun], begun[0].wanted
    if options.stream and len(options.source) != 1:
        raise CatalogError("replay --stream", "needs its source", fix="name one source before --stream")
    wanted = Wanted(tuple(options.stream), bound(options.since), bound(options.until))
    return options.source or known, wanted


@dataclass
class _Lines:
    """Progress as log lines, one in ten seconds."""

    source: str
    told: float = 0.0

    def __call__(self, done: int, total: int, rows: int) -> None:
        if time.monotonic() - self.told > 10 or done == total:
            log.info("replaying source=%s batches=%d/%d rows=%d", self.source, done, total, rows)
            self.told = time.monotonic()


def run_digest(options: argparse.Namespace) -> int:
    """Print the digest of every table; or what differs from another warehouse or from what was stored."""
    from groundwork import digests
    from groundwork.bucket import open_bucket
    from groundwork.settings import Settings
    from groundwork.warehouses import open_warehouse

    def taken(settings: Settings) -> digests.Digests:
        with open_warehouse(settings, who="digest", read_only=True) as warehouse:
            return digests.take(warehouse, settings.warehouse_name)

    settings = Settings()
    here = taken(settings)
    if not options.against and not options.stored:
        width = max(map(len, here.tables), default=0)
        for name, digest in here.tables.items():
            print(f"{name:<{width}}  {digest.rows:>12}  {digest.text}")
        return 0
    if options.against:
        there: digests.Digests | None = taken(settings.into(options.against))
    else:
        there = digests.newest(open_bucket(settings.bucket_url), settings.warehouse_name)
    if there is None:
        raise CatalogError("digest --stored", "nothing was stored yet", fix="run transform once")
    told = digests.differing(here, there)
    for name, how in told.items():
        print(f"{name}: {how}")
    equal = len(here.tables.keys() | there.tables.keys()) - len(told)
    when = f"{there.at:%Y-%m-%d %H:%M:%S} UTC"
    print(f"{equal} tables equal, {len(told)} not (there: {there.warehouse} at {when})")
    return 1 if told else 0
