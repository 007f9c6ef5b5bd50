"""The command line: ``python -m groundwork <command>``. What it does, the flows do on schedule."""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundwork.catalog import AnySource, Catalog, PostgresSource, load_catalog
from groundwork.catalog.names import column_problem
from groundwork.commands.forget import add_forget, run_forget
from groundwork.commands.keep import (
    add_compact,
    add_lifecycle,
    add_sweep,
    run_compact,
    run_lifecycle,
    run_sweep,
)
from groundwork.commands.replay import (
    add_digest,
    add_publish,
    add_replay,
    run_digest,
    run_publish,
    run_replay,
)
from groundwork.errors import CatalogError, GroundworkError, PromiseBroken
from groundwork.log_lines import in_one_line
from groundwork.saved_settings import in_place
from groundwork.settings import Named, Settings, resolve_from_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 with one clear line on standard error when not."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        in_one_line(handler)
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        with in_place(options.command_name):
            return command(options)
    except GroundworkError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m groundwork", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=does, command_name=name)
        return command

    check = add("check", _check, "hold the catalog against itself, prefect.yaml and what is generated")
    check.add_argument("--live", action="store_true", help="also against the sources themselves")
    told = "also hold dbt's contracts against what was served last: the bucket's artifacts/served.json"
    check.add_argument("--served", default="", metavar="FILE", help=told)
    render = add("render", _render, "write what is generated from the catalog")
    render.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    discover = add("discover", _discover, "draft a catalog entry from a live PostgreSQL or an HTTP API")
    discover.add_argument("source", help="name of the new source")
    discover.add_argument("--secret", default="", help="name of the secret: a database's URL, an API's token")
    discover.add_argument("--schema", default="public", help="whose tables, of a database")
    discover.add_argument("--openapi", default="", help="file or URL of an API's OpenAPI document")
    discover.add_argument("--url", default="", help="an API's endpoint that lists records, to look at")
    discover.add_argument("--header", default="", help="header for the API's token, if not a bearer's")
    discover.add_argument("--user", default="", help="name for Basic auth; the secret is its password")
    told = "auth of any other kind, as the catalog writes it: '{kind: session_login, …}'"
    discover.add_argument("--auth", default="", help=told)
    told = "more headers, as the catalog writes them: '{X-App: {secret: app-key}}'"
    discover.add_argument("--headers", default="", help=told)
    doctor = add("doctor", _doctor, "look at bucket, warehouse and sources; say what is wrong")
    doctor.add_argument("--sql", action="store_true", help="print the SQL that a PostgreSQL source lacks")
    doctor.add_argument("source", nargs="?", default="", help="with --sql: of this source only")
    told = "with --sql: look with this secret's connection URL, while the role is not there yet"
    doctor.add_argument("--secret", default="", help=told)
    for name, does, text in (
        ("extract", _extract, "read what is new of a source into the bucket"),
        ("full-refresh", _extract, "read everything of a source again, as a new snapshot"),
        ("load", _load, "load what the ledger does not know into landing"),
    ):
        command = add(name, does, text)
        command.add_argument("source")
        command.set_defaults(name=name, stream=[])
        if name == "full-refresh":
            told = "read this stream only; may be given several times"
            command.add_argument("--stream", action="append", default=[], help=told)
    replay = add("replay", run_replay, "load again from the bucket, and build all that follows from scratch")
    add_replay(replay)
    add_digest(add("digest", run_digest, "one canonical digest per table, to compare warehouses by"))
    add_publish(add("publish", run_publish, "copy the visualization layer into a file for readers"))
    add_forget(add("forget", run_forget, "take one subject out of the bucket and the warehouse, for good"))
    add_compact(add("compact", run_compact, "make few large objects of many small ones"))
    add_sweep(add("sweep", run_sweep, "find objects that no manifest lists, and remove them"))
    add_lifecycle(
        add("lifecycle", run_lifecycle, "print lifecycle rules for the bucket; none breaks a replay")
    )
    explain = add("explain", _explain, "follow a row back to its file, its run and its log lines")
    explain.add_argument("table", help="schema.table, e.g. visualization.orders")
    explain.add_argument("key", help="column=value")
    sql = add("sql", _sql, "run one statement in the warehouse and print its rows")
    sql.add_argument("statement")
    sql.add_argument("--csv", action="store_true", help="print them as CSV")
    return parser


def _catalog() -> Catalog:
    return load_catalog(Settings().catalog)


def _check(options: argparse.Namespace) -> int:
    from groundwork.schedules import check_schedules

    catalog = _catalog()
    problems = check_schedules(catalog, Path("prefect.yaml"))
    if options.live:
        problems += [problem for entry in catalog.values() for problem in _live_problems(entry)]
    if options.served:
        problems += _broken_promises(Path(options.served))
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        streams = sum(len(entry.streams) for entry in catalog.values())
        print(f"catalog: {len(catalog)} sources, {streams} streams, all well")
    return 1 if problems else 0


def _broken_promises(file: Path) -> list[str]:
    from groundwork.dbt_turn import parsed
    from groundwork.manifest import now
    from groundwork.serving import compatibility, served

    would = served.by_contracts(parsed(Settings()))
    try:
        compatibility.insist(served.read(file.read_bytes(), str(file)), would, now().date())
    except PromiseBroken as error:
        return [str(error)]
    return []


def _live_problems(entry: AnySource) -> list[str]:
    """What the source itself says against its entry."""
    if not isinstance(entry, PostgresSource):
        return []
    from groundwork.sources.address import Address
    from groundwork.sources.tables import published
    from groundwork.sources.wire import Connection

    where = f"source '{entry.source}'"
    address = Address.parse(resolve_from_environment(entry.connection.url), where)
    with Connection(address, where) as connection:
        tables, bad = published(connection, entry)
    return [str(error) for error in bad.values()] + [
        f"catalog/{entry.source}.yml: streams.{stream}.columns: '{column}' exists at the source and is not "
        "declared. It is landed; declare it to have it in staging."
        for stream, table in tables.items()
        for column in table.columns.keys() - entry.streams[stream].columns.keys()
        if not column_problem(column)
    ]


def _render(options: argparse.Namespace) -> int:
    from groundwork.render import render, stale

    if options.check:
        files = stale(_catalog(), Path())
        for file in files:
            print(f"{file}: is not what the catalog says; run `make render`", file=sys.stderr)
        return 1 if files else 0
    for file in render(_catalog(), Path()):
        print(f"wrote {file}")
    return 0


def _discover(options: argparse.Namespace) -> int:
    if options.openapi or options.url:
        return _discover_api(options)
    from groundwork.discovery.tables import discover_postgres
    from groundwork.sources.slot import second_name, slot_name

    if not options.secret:
        fix = "name the secret of a database's URL, or an API by --openapi or --url"
        raise CatalogError("discover", "needs --secret, --openapi or --url", fix=fix)
    url = resolve_from_environment(Named(secret=options.secret))
    ours = slot_name(options.source, Settings().bucket_url)
    slots = (ours, second_name(ours))
    print(discover_postgres(url, options.source, options.secret, options.schema, slots), end="")
    return 0


def _discover_api(options: argparse.Namespace) -> int:
    from groundwork.discovery.openapi import discover_openapi, read_document
    from groundwork.discovery.rest import discover_url

    if options.openapi:
        draft = discover_openapi(read_document(options.openapi), options.source, options.openapi)
    else:
        headers = _mapping("--headers", options.headers)
        auth = _auth_of(options)
        draft = discover_url(options.url, options.source, resolve_from_environment, auth, headers)
    print(draft, end="")
    return 0


def _auth_of(options: argparse.Namespace) -> dict[str, Any]:
    """How the API knows us, as the catalog writes it."""
    if options.auth:
        return _mapping("--auth", options.auth)
    if not options.secret:
        return {"kind": "none"}
    named = {"secret": options.secret}
    if options.user:
        return {"kind": "basic", "username": options.user, "password": named}
    if options.header:
        return {"kind": "api_key", "name": options.header, "token": named}
    return {"kind": "bearer", "token": named}


def _mapping(option: str, text: str) -> dict[str, Any]:
    import yaml

    try:
        said = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        said = None
    if isinstance(said, dict):
        return said
    raise CatalogError(
        f"discover: {option}", "is no YAML mapping", fix="write it as the catalog does: '{kind: …}'"
    )


def _doctor(options: argparse.Namespace) -> int:
    from groundwork.bucket import open_bucket
    from groundwork.doctor import examine

    settings, catalog = Settings(), _catalog()
    if options.sql:
        return _print_preparation(options, settings, catalog)
    if options.source or options.secret:
        raise CatalogError("doctor", "a source and --secret go with --sql", fix="leave them out")
    ill = 0
    for finding in examine(
        settings, catalog, lambda: open_bucket(settings.bucket_url), resolve_from_environment
    ):
        ill += bool(finding.problem)
        print(f"{finding.sign} {finding.what}")
        if finding.problem or finding.warning:
            print(f"    {finding.problem or finding.warning}")
    return 1 if ill else 0


def _print_preparation(options: argparse.Namespace, settings: Settings, catalog: Catalog) -> int:
    """Print what each source lacks; a source that cannot be looked at does not hide the others."""
    from groundwork.doctor import preparation

    look_with = resolve_from_environment(Named(secret=options.secret)) if options.secret else ""
    failed = False
    for entry in [catalog[options.source]] if options.source else catalog.values():
        try:
            text = preparation(entry, settings, resolve_from_environment, look_with)
        except GroundworkError as error:
            failed = True
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(text, end="\n\n" if text else "")
    return 1 if failed else 0


def _extract(options: argparse.Namespace) -> int:
    from groundwork.bucket import open_bucket
    from groundwork.extract import extract, open_source
    from groundwork.identity import compare_before_reading
    from groundwork.warehouses import open_warehouse

    settings, entry = Settings(), _catalog()[options.source]
    bucket = open_bucket(settings.bucket_url)
    opened = partial(open_warehouse, settings, who=f"extract {entry.source}", read_only=True)
    compare_before_reading(entry.source, bucket, settings, opened, again=options.name == "full-refresh")
    source = open_source(entry, resolve_from_environment, bucket)
    everything = options.name == "full-refresh" and not options.stream
    report = extract(entry, source, bucket, full_refresh=everything, refresh=options.stream)
    for complaint in report.complaints:
        print(f"left out: {complaint}", file=sys.stderr)
    for complaint in report.refused:
        print(f"the application's own {complaint}", file=sys.stderr)
    return 1 if report.quarantined or report.refused else 0


def _load(options: argparse.Namespace) -> int:
    from groundwork.bucket import open_bucket
    from groundwork.identity import refuse_empty
    from groundwork.idle import load_if_new
    from groundwork.warehouses import open_warehouse

    settings, entry = Settings(), _catalog()[options.source]
    bucket = open_bucket(settings.bucket_url)
    refuse_empty(bucket, [entry.source])
    loaded = load_if_new(
        entry, bucket, settings, lambda: open_warehouse(settings, who=f"load {entry.source}")
    )
    print(f"load: {len(loaded.batches)} batches, {sum(loaded.rows.values())} rows")
    loaded.insist()
    return 0


def _explain(options: argparse.Namespace) -> int:
    from groundwork.lineage import explain
    from groundwork.warehouses import open_warehouse

    column, _, value = options.key.partition("=")
    with open_warehouse(Settings(), who="explain", read_only=True) as warehouse:
        lineage = explain(warehouse, options.table, column, value)
    for part in (lineage.row, lineage.times, lineage.place):
        width = max(map(len, part), default=0)
        for name, entry in part.items():
            print(f"  {name:<{width}}  {entry}")
        print()
    for at, level, message in lineage.log_lines:
        print(f"  {at:%H:%M:%S} {level:>3} {message}")
    return 0


def _sql(options: argparse.Namespace) -> int:
    from groundwork.warehouses import open_warehouse

    settings = Settings()
    if settings.warehouse == "duckdb" and not settings.duckdb_file.exists():
        fix = "run `make demo`, or load a source, first"
        raise CatalogError(str(settings.duckdb_file), "there is no warehouse yet", fix=fix)
    with open_warehouse(settings, who="sql", read_only=True) as warehouse:
        names, rows = warehouse.ask(options.statement)
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if options.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([names, *texts])
    else:
        _print_table(names, texts)
    return 0


def _print_table(names: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, ["-" * width for width in widths], *rows):
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
