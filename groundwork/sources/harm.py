"""Findings about the application's own statements: those that fail, and those that would after the set-up.

PostgreSQL refuses an UPDATE or DELETE of a published table whose rows the log cannot name. The check looks
before there is a publication, at all tables and partitions, and at partitions that do not exist yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from groundwork.catalog import PostgresSource
from groundwork.findings import Finding, doubtful, wrong
from groundwork.sources.identity import Shown, columns_of, refusal, traits
from groundwork.sources.keys import SETUP
from groundwork.sources.partitions import Part, trees
from groundwork.sources.publication import Listing, listing
from groundwork.sources.setup import Plan, plan
from groundwork.sources.wire import Connection, quoted

_NAMED = 5
"""How many tables a finding names; the printed set-up names all."""

_FAIL = "the application's own UPDATE and DELETE on it fail while it is published"


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
    if listed.kinds & {"update", "delete"}:
        yield from _failing(sql, version, listed, planned, where, what)
    for table, names in planned.refused.items():
        if not names_shown(planned, table, listed):
            yield wrong(
                what,
                where,
                f"{table} is not published yet; {_some(names)} would then lack an identity",
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
    forest = trees(sql, listed.shown)
    known = traits(sql, {p.oid for tree in forest.values() for p in tree}, version, listed.name, ())
    for root, tree in forest.items():
        shown = listed.shown[root]
        failing: list[tuple[Part, str]] = []
        for part in tree:
            columns = columns_of(sql, part.oid) if shown.listed is not None or shown.row_filter else ()
            if trouble := refusal(part, known[part.oid], shown, version, columns):
                failing.append((part, trouble))
        if failing:
            part, trouble = failing[0]
            if len(failing) > 1:
                trouble += (
                    f"; so it is with {len(failing) - 1} more: {_some([p.full_name for p, _ in failing[1:]])}"
                )
            top = next(part for part in tree if part.oid == root)
            yield wrong(what, where, trouble, why=_FAIL, fix=_way_out(sql, part, top, shown, listed, planned))


def _way_out(sql: Connection, part: Part, top: Part, shown: Shown, listed: Listing, planned: Plan) -> str:
    publication, table = quoted(listed.name), f"{quoted(top.schema)}.{quoted(top.name)}"
    out = (
        f", or take it out: alter publication {publication} drop table {table};"
        if top.oid in listed.tables
        else ""
    )
    for left in planned.left_out:
        if left.table == top.full_name and left.fix:
            return left.fix + out
    if shown.listed is None:
        return SETUP + out
    columns = (
        "" if part.identity == "f" else " (" + ", ".join(map(quoted, _with_identity(sql, part, shown))) + ")"
    )
    kept = f" where ({shown.row_filter})" if shown.row_filter else ""
    return (
        f"publish these too: begin; alter publication {publication} drop table {table}; "
        f"alter publication {publication} add table {table}{columns}{kept}; commit;{out}"
    )


def _with_identity(sql: Connection, part: Part, shown: Shown) -> list[str]:
    listed = {*(shown.listed or ()), *part.identified_by}
    return [name for name in columns_of(sql, part.oid) if name in listed]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
