"""The set-up of a PostgreSQL source, derived from the live database: what is missing, what stays out and why.

Nothing changes that another consumer of the log may rely on. The plan obeys the rules of every run
(`groundwork.sources.keys`): a stream that a run would refuse is not published, but named.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from groundwork.catalog import PostgresSource, PostgresStream
from groundwork.errors import CatalogError
from groundwork.sources import partition_guard
from groundwork.sources.identity import (
    Need,
    Shown,
    Traits,
    bare,
    improved,
    refusal,
    statement,
    traits,
)
from groundwork.sources.keys import check_key, check_logged, unique_keys
from groundwork.sources.partitions import Part, trees
from groundwork.sources.publication import KINDS, Listing, listing, no_log
from groundwork.sources.refusals import refused
from groundwork.sources.statements import add_tables, create_publication, set_publication
from groundwork.sources.wire import Connection, quoted


@dataclass(frozen=True)
class Candidate:
    """The table of a stream, as the database has it."""

    stream: str
    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    has_children: bool
    above: tuple[int, ...]
    """The partitioned tables that it is a part of."""

    @property
    def named(self) -> str:
        """Its name, quoted, with its schema."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True)
class LeftOut:
    """A stream that is not published."""

    stream: str
    table: str
    why: str
    fix: str = ""


@dataclass
class Plan:
    """What is to be done for the tables of a source."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    """Streams that are published, or will be."""
    identities: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Table → it and its partitions whose updates PostgreSQL would refuse if it were published now."""
    unguarded: list[str] = field(default_factory=list)
    """Partitioned tables whose next partition will have no identity."""
    guard: list[str] = field(default_factory=list)
    publication: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    """Who may run the statements, besides a superuser."""


class _Out(Exception):
    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.why, self.fix = why, fix


_CANDIDATES = """
select n.nspname || '.' || c.relname, cast(c.oid as bigint), n.nspname, c.relname, cast(c.relkind as text),
    cast(c.relpersistence as text), c.relhassubclass and c.relkind = 'r', (
        select cast(array_agg(cast(a.relid as bigint)) as bigint[]) from pg_partition_ancestors(c.oid) a
        where a.relid <> c.oid
    )
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any(cast(:tables as text[])) and c.relkind in ('r', 'p', 'v', 'm', 'f')
order by n.nspname
"""

_TABLES = """
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$)'
"""

_ELSEWHERE = {
    "v": "is a view, which has no log",
    "m": "is a materialized view, which has no log",
    "f": "is a foreign table, which has no log",
}


def plan(sql: Connection, entry: PostgresSource, version: int, slots: Collection[str]) -> Plan:
    """What is to be done for the tables of a source, found out at once and without changing anything.

    Args:
        sql: an ordinary connection, of any role.
        entry: the catalog's entry.
        version: the server's, ``server_version_num``.
        slots: the names that our own slots can have.
    """
    planned = Plan()
    listed = listing(sql, entry.connection.publication, version)
    found = dict(_found(sql, entry, planned))
    ours = {candidate.oid: candidate for candidate in found.values()}
    strangers = {oid for oid in listed.tables if oid not in ours}
    forest = trees(sql, {*ours, *listed.shown})
    strangers -= {part.oid for oid in ours for part in forest[oid]}
    parts = {part.oid for tree in forest.values() for part in tree}
    _Planner(
        sql,
        entry,
        version,
        planned,
        listed,
        bool(strangers) or listed.broad,
        forest,
        traits(sql, parts, version, entry.connection.publication, list(slots)),
        unique_keys(sql, ours),
    ).run(found)
    return planned


def _found(sql: Connection, entry: PostgresSource, planned: Plan) -> Iterator[tuple[str, Candidate]]:
    """The streams whose tables can be published; the others are named."""
    wanted = {stream.table for stream in entry.streams.values()}
    there: dict[str, list[Candidate]] = {}
    for table, oid, schema, name, kind, persistence, children, above in sql.run(
        _CANDIDATES, tables=sorted(wanted)
    ):
        there.setdefault(table, []).append(
            Candidate("", oid, schema, name, kind, persistence, children, tuple(above or ()))
        )
    oids = {c.oid for candidates in there.values() for c in candidates}
    for stream, described in entry.streams.items():
        try:
            candidate = _one(sql, described, there.get(described.table, []), oids)
        except _Out as out:
            planned.left_out.append(LeftOut(stream, described.table, out.why, out.fix))
        else:
            yield stream, candidate


def _one(
    sql: Connection, described: PostgresStream, there: list[Candidate], wanted: Collection[int]
) -> Candidate:
    if not there:
        near = difflib.get_close_matches(described.table, [name for (name,) in sql.run(_TABLES)], n=1)
        raise _Out("there is no such table", f"did you mean '{near[0]}'?" if near else "correct its name")
    if len(there) > 1:
        both = " and ".join(one.named for one in there)
        raise _Out(f"it may be {both}", "a name with a dot in it must be the only one of its kind")
    (one,) = there
    if one.kind in _ELSEWHERE:
        raise _Out(f"it {_ELSEWHERE[one.kind]}", "make streams of the tables it is made of")
    if one.persistence != "p":
        raise _Out(*no_log(one.named, one.persistence))
    if set(one.above) & set(wanted):
        raise _Out(
            "it is a partition of another stream's table, which is published as a whole", "remove the stream"
        )
    return one


@dataclass
class _Planner:
    sql: Connection
    entry: PostgresSource
    version: int
    planned: Plan
    listed: Listing
    shared: bool
    """Whether the publication holds tables that are no streams of ours."""
    forest: dict[int, tuple[Part, ...]]
    traits: dict[int, Traits]
    unique: dict[int, list[frozenset[str]]]

    def run(self, found: dict[str, Candidate]) -> None:
        """Plan for each stream, then for what else is in the publication, then the publication itself."""
        options: set[str] = set()
        improved_parts: dict[int, Part] = {}
        for stream, candidate in found.items():
            try:
                asked, better = self._stream(candidate, self.entry.streams[stream])
            except _Out as out:
                self.planned.left_out.append(
                    LeftOut(stream, self.entry.streams[stream].table, out.why, out.fix)
                )
                continue
            options |= asked
            improved_parts |= {part.oid: part for part in better}
            self.planned.candidates[stream] = candidate
        done = {part.oid for c in self.planned.candidates.values() for part in self.forest[c.oid]}
        for one in refused(self.sql, self.listed.name, self.version):
            part = one.part
            if part.oid in self.traits and part.oid not in done and bare(part) and not self._virtual(part):
                improved_parts[part.oid] = improved(part, self.traits[part.oid], Need())
        self._identities(improved_parts)
        self._guard()
        self._publication(options)
        self._owners(improved_parts)

    def _virtual(self, part: Part) -> bool:
        return self.version >= 180000 and self.traits[part.oid].virtual and not self.traits[part.oid].key

    def _stream(self, candidate: Candidate, described: PostgresStream) -> tuple[set[str], list[Part]]:
        """Which options its publication needs, and which parts get another identity.

        Raises:
            _Out: when the stream could not be read, or the application would be harmed.
        """
        tree = self.forest[candidate.oid]
        if self.listed.via_root and set(candidate.above) & self.listed.tables:
            raise _Out(
                "it is a partition of a table that the publication shows as a whole",
                "let `table` be that one",
            )
        log_based = described.replication == "log_based"
        shown = self.listed.shown.get(candidate.oid, Shown())
        key = {*described.primary_key, *shown.reads} if log_based else {*shown.reads}
        need = Need(log_based and not described.primary_key, tuple(key))
        after = [
            part if part.kind == "p" and not log_based else improved(part, self.traits[part.oid], need)
            for part in tree
        ]
        if log_based:
            try:
                check_logged("", tree)
                check_key("", described.primary_key, after, self.unique.get(candidate.oid, []))
            except CatalogError as error:
                raise _Out(
                    f"{error.what} ({error.why})" if error.why else error.what,
                    self._key_fix(error, tree, after),
                ) from None
        options = self._options(candidate, after)
        if "publish_generated_columns" in options or not self.listed.exists:
            shown = replace(shown, generated=True)
        for part in after:
            if why := refusal(part, self.traits[part.oid], shown, self.version):
                fix = "give it a primary key that is not deferrable" if self._virtual(part) else ""
                raise _Out(f"{why}: the application's UPDATE and DELETE would fail", fix)
        was = [part for part in tree if refusal(part, self.traits[part.oid], Shown(), self.version)]
        if was:
            self.planned.refused[candidate.named] = [part.full_name for part in was]
        return options, [new for old, new in zip(tree, after, strict=True) if new != old]

    def _key_fix(self, error: CatalogError, tree: tuple[Part, ...], after: list[Part]) -> str:
        kept = [part for part, new in zip(tree, after, strict=True) if part == new and part.identity in "di"]
        consumers = sorted({name for part in kept for name in self.traits[part.oid].consumers})
        if consumers and error.why:
            return f"{error.fix}; {', '.join(consumers)} may rely on its replica identity, which stays"
        return error.fix

    def _options(self, candidate: Candidate, after: list[Part]) -> set[str]:
        """The options that the publication lacks and this stream needs."""
        if not self.listed.exists:
            return set()
        options = set()
        if self.listed.kinds != set(KINDS):
            options.add("publish")
        if candidate.kind == "p" and not self.listed.via_root:
            options.add("publish_via_partition_root")
        full = any(part.identity == "f" and self.traits[part.oid].stored for part in after)
        if self.version >= 180000 and full and not self.listed.generated:
            options.add("publish_generated_columns")
        if options and self.shared:
            raise _Out(
                f"publication {quoted(self.listed.name)} lacks {', '.join(sorted(options))}, and it "
                "holds tables of others, which a change would reach too",
                "name another `publication` in the catalog's connection, and print the set-up again",
            )
        return options

    def _identities(self, better: dict[int, Part]) -> None:
        self.planned.identities = [statement(part) for part in better.values()]

    def _guard(self) -> None:
        name = self.entry.connection.publication
        open_ = [c for c in self.planned.candidates.values() if c.kind == "p" and not self.traits[c.oid].key]
        if open_ and not partition_guard.guarded(self.sql, name):
            self.planned.unguarded = [candidate.named for candidate in open_]
            self.planned.guard = partition_guard.guard(name, open_[0].schema)

    def _publication(self, options: set[str]) -> None:
        name = self.entry.connection.publication
        new = [c for c in self.planned.candidates.values() if not self.listed.covers(c.oid, c.schema)]
        words = ", ".join(("only " if c.has_children else "") + c.named for c in new)
        values = {
            "publish": f"publish = '{', '.join(KINDS)}'",
            "publish_via_partition_root": "publish_via_partition_root = true",
            "publish_generated_columns": "publish_generated_columns = stored",
        }
        statements = []
        if new and not self.listed.exists:
            made = [values["publish_via_partition_root"]]
            made += [values["publish_generated_columns"]] if self.version >= 180000 else []
            statements = [create_publication(name, words, ", ".join(made))]
        elif new:
            statements = [add_tables(name, words)]
        if options:
            changed = ", ".join(values[option] for option in sorted(options))
            statements.append(set_publication(name, changed))
        if statements:
            looked_at = [c.named for c in new] if self.listed.exists and not options else []
            block = partition_guard.checked(name, statements, looked_at)
            self.planned.publication = [block]

    def _owners(self, better: dict[int, Part]) -> None:
        oids = {*better, *(c.oid for c in self.planned.candidates.values() if self.planned.publication)}
        self.planned.owners = sorted({self.traits[oid].owner for oid in oids} | {self.listed.owner} - {""})
