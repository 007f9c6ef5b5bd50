"""Findings about the application's own statements: those that fail, and those that would after the set-up.

PostgreSQL refuses an UPDATE or DELETE of a published table whose rows the log cannot name. The check looks
before there is a publication, at all tables and partitions, and at partitions that do not exist yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from groundwork.catalog import PostgresSource
from groundwork.findings import Finding, doubtful, wrong
from groundwork.sources.identity import Shown, bare, columns_of, named
from groundwork.sources.keys import SETUP
from groundwork.sources.partitions import Part, trees
from groundwork.sources.publication import Listing, listing
from groundwork.sources.refusals import Refused, by_root, refused, some, trouble
from groundwork.sources.setup import Plan, plan
from groundwork.sources.statements import drop_table, publish_again
from groundwork.sources.wire import Connection, quoted


def harm(
    sql: Connection, entry: PostgresSource, version: int, slots: Collection[str], what: str
) -> Iterator[Finding]:
    """One finding for each table that is refused, one for each stream that cannot be published.

    Args:
        sql: an ordinary connection.
        entry: the catalog's entry.
        version: the server's.
        slots: the names that our own slots can have.
        what: the name of the check.
    """
    where = f"source '{entry.source}'"
    listed = listing(sql, entry.connection.publication, version)
    planned = plan(sql, entry, version, slots)
    yield from _failing(sql, version, listed, planned, where, what)
    for table, names in planned.refused.items():
        if not names_shown(planned, table, listed):
            yield wrong(
                what,
                where,
                f"{table} is not published yet; {some(names)} would then lack an identity",
                why="the application's own UPDATE and DELETE would fail",
                fix=f"publish it only by its set-up: {SETUP}, which give it one first",
            )
    if not listed.exists:
        for out in planned.left_out:
            yield wrong(
                what,
                where,
                f"stream {out.stream} ({out.table}) cannot be published",
                why=out.why,
                fix=out.fix,
            )
    if planned.unguarded:
        yield doubtful(
            what,
            where,
            f"a new partition of {', '.join(planned.unguarded)} will have no replica identity",
            why="the root has no primary key, and a partition inherits no identity: the application's UPDATE"
            " and DELETE on it would fail",
            fix=f"{SETUP}: an event trigger gives each new partition one; or give the root a primary key",
        )
    if listed.broad:
        yield doubtful(
            what,
            where,
            f"publication {quoted(listed.name)} holds tables that it does not name",
            why="the application's UPDATE and DELETE on a later table without a key would fail",
            fix="let `publication` in the catalog's connection name another one, and run what"
            " `python -m groundwork doctor --sql` then prints",
        )


def names_shown(planned: Plan, table: str, listed: Listing) -> bool:
    """Whether a table of the plan is in the publication already."""
    return any(c.named == table and listed.covers(c.oid, c.schema) for c in planned.candidates.values())


def _failing(
    sql: Connection, version: int, listed: Listing, planned: Plan, where: str, what: str
) -> Iterator[Finding]:
    for found in by_root(refused(sql, listed.name, version)):
        first = found[0]
        why = f"the application's own {' and '.join(first.commands)} on it fail while it is published"
        yield wrong(what, where, trouble(found), why=why, fix=_way_out(sql, first, listed, planned))


def _way_out(sql: Connection, found: Refused, listed: Listing, planned: Plan) -> str:
    if not bare(found.part) and found.publication != listed.name:
        return f"let the owner of publication {quoted(found.publication)} change that: it is not ours"
    (top,) = (part for part in trees(sql, [found.root])[found.root] if part.oid == found.root)
    table, shown = named(top), listed.shown[found.root]
    out = f", or take it out: {drop_table(listed.name, table)}" if top.oid in listed.tables else ""
    for left in planned.left_out:
        if left.table == top.full_name and left.fix:
            return left.fix + out
    if shown.listed is None:
        return SETUP + out
    columns = [] if found.part.identity == "f" else _with_identity(sql, found.part, shown)
    again = publish_again(listed.name, table, columns, shown.row_filter)
    return f"publish these too: {again}{out}"


def _with_identity(sql: Connection, part: Part, shown: Shown) -> list[str]:
    listed = {*(shown.listed or ()), *part.identified_by}
    return [name for name in columns_of(sql, part.oid) if name in listed]
