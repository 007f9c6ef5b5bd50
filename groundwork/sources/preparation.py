"""The SQL that a database administrator runs: a role with the least rights, identities, a publication.

Each statement is derived from the live database and printed only if it is missing there. Replica identities
come first and the publication last, in a block that refuses to publish a table without one. So the
application's own statements never fail, whichever statement of the set-up fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundwork.catalog import PostgresSource
from groundwork.errors import GroundworkError, SettingMissing, SourceRefused
from groundwork.escaping import sql_comment
from groundwork.settings import Resolve
from groundwork.sources import statements
from groundwork.sources.address import Address
from groundwork.sources.identity import Shown
from groundwork.sources.publication import listing
from groundwork.sources.setup import Candidate, LeftOut, Plan, plan
from groundwork.sources.slot import second_name
from groundwork.sources.wire import Connection, quoted


def preparation(entry: PostgresSource, resolve: Resolve, slot: str, look_with: str = "") -> str:
    """The statements that are missing at a source, with comments.

    Without a role that may sign in there is nothing to look with: then only the role is printed.

    Args:
        entry: the catalog's entry.
        resolve: looks the connection URL up.
        slot: the name of the replication slot that the platform makes.
        look_with: another connection URL to look with, e.g. the tables' owner's.

    Raises:
        SourceError: when the database cannot be looked at for another reason.
    """
    where = f"source '{entry.source}'"
    try:
        address = Address.parse(resolve(entry.connection.url), where)
    except SettingMissing as missing:
        return _only_a_role(where, "groundwork", "", f"{missing.where} {missing.what}")
    eye = Address.parse(look_with, where) if look_with else address
    try:
        with Connection(eye, where) as sql:
            return _Printed(sql, entry, address, eye == address, slot).text()
    except SourceRefused as refused:
        if look_with:
            raise
        return _only_a_role(where, address.user, address.database, refused.what)


def _only_a_role(where: str, role: str, database: str, why: str) -> str:
    lines = [sql_comment(f"{where}: the role. {why}".rstrip(".")), statements.create_role(role)]
    if database:
        lines.append(statements.let_connect(role, database))
    return "\n".join(
        [
            *lines,
            "-- Then print this again: the rest is derived from what is in the database.",
            "-- Or look with another role: doctor --sql <source> --secret <secret of a connection URL>",
        ]
    )


LOGICAL, KEPT_LOG = "'logical'", "'20GB'"
"""What messages suggest as ``wal_level`` and ``max_slot_wal_keep_size``."""

_ROLE = """
select r.rolsuper, r.rolreplication, r.rolbypassrls,
    has_database_privilege(r.oid, current_database(), 'connect')
from pg_roles r where r.rolname = :role
"""

_GRANTS = """
select cast(c.oid as bigint), c.relrowsecurity,
    r.oid is null or not has_schema_privilege(r.oid, n.oid, 'usage'),
    array(
        select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and (r.oid is null or not has_column_privilege(r.oid, c.oid, a.attnum, 'select')) order by a.attnum
    )
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_roles r on r.rolname = :role
where c.oid = any(cast(string_to_array(:oids, ',') as oid[]))
"""


def _left_out(out: LeftOut) -> str:
    fix = f". {out.fix[0].upper()}{out.fix[1:]}" if out.fix else ""
    return sql_comment(f"not published: stream {out.stream} ({out.table}): {out.why}{fix}")


@dataclass
class _Printed:
    sql: Connection
    entry: PostgresSource
    address: Address
    itself: bool
    """Whether the database is looked at with the platform's own role."""
    slot: str
    version: int = 0

    def text(self) -> str:
        self.version = version = int(self.sql.run("select current_setting('server_version_num')")[0][0])
        planned = plan(self.sql, self.entry, version, (self.slot, second_name(self.slot)))
        rights, notes = self._role(planned)
        database = self.sql.run("select current_database()")[0][0]
        who = (
            f"a superuser, or a member of {', '.join(map(quoted, planned.owners))}" if planned.owners else ""
        )
        sections = [
            ("the role, as a superuser", rights),
            (f"replica identities, as {who}", self._identities(planned)),
            ("a partition made later gets its identity as it is made, as a superuser", self._guard(planned)),
            (f"the publication, as {who} with CREATE on the database", planned.publication),
        ]
        about = f"source '{self.entry.source}': database {quoted(database)}"
        lines = [sql_comment(f"{about} (PostgreSQL {version // 10000})")]
        for title, printed in sections:
            if printed:
                lines += [sql_comment(title), *printed]
        if len(lines) == 1:
            lines.append("-- Nothing is to be run: all is there.")
        lines += [*map(_left_out, planned.left_out), *notes]
        return "\n".join(lines)

    def _role(self, planned: Plan) -> tuple[list[str], list[str]]:
        """What the role lacks, and what only a person can decide."""
        name = self.address.user
        found = self.sql.run(_ROLE, role=name)
        superuser, replicates, bypasses, connects = found[0] if found else (False, False, False, False)
        lines = [] if found else [statements.create_role(name)]
        if found and not (superuser or replicates or self._reads_the_log()):
            lines.append(statements.let_read_the_log(name))
        if not connects:
            lines.append(statements.let_connect(name, self.address.database))
        oids = ",".join(str(c.oid) for c in planned.candidates.values())
        facts = {oid: rest for oid, *rest in self.sql.run(_GRANTS, oids=oids, role=name)}
        candidates = list(planned.candidates.values())
        schemas = sorted({c.schema for c in candidates if facts[c.oid][1]})
        lines += [statements.let_use(name, schema) for schema in schemas]
        lines += self._select(name, [(c, facts[c.oid][2]) for c in candidates])
        secured = [c.named for c in candidates if facts[c.oid][0]]
        notes = self._notes()
        if secured and not (superuser or bypasses):
            notes = [
                sql_comment(f"Row-level security is on for {', '.join(secured)}."),
                "-- A copy would lack rows, so PostgreSQL may refuse it. You decide what the role may see:",
                sql_comment(f"  {statements.bypass_row_security(name)}"),
                *notes,
            ]
        return lines, notes

    def _select(self, role: str, candidates: list[tuple[Candidate, Sequence[str]]]) -> list[str]:
        """What the role may not read yet; with a column list no more than a copy reads."""
        shown = listing(self.sql, self.entry.connection.publication, self.version).shown
        whole, some = [], []
        for candidate, hidden in candidates:
            seen = shown.get(candidate.oid, Shown())
            if seen.listed is None:
                whole += [candidate.named] if hidden else []
            elif columns := [name for name in hidden if name in {*seen.listed, *seen.reads}]:
                some.append(statements.let_select(role, candidate.named, columns))
        return ([statements.let_select(role, ", ".join(whole))] if whole else []) + some

    def _reads_the_log(self) -> bool:
        """The truth and not the attribute: managed servers grant this right in ways of their own."""
        if not self.itself:
            return False
        try:
            with Connection(self.address, "", replication=True) as stream:
                stream.run("IDENTIFY_SYSTEM")
        except GroundworkError:
            return False
        return True

    @staticmethod
    def _identities(planned: Plan) -> list[str]:
        if not planned.identities:
            return []
        return [
            "-- Each waits for its table's open transactions, and new ones wait for it: two seconds.",
            "-- You can run all of this again when one gives up.",
            "set lock_timeout = '2s';",
            *planned.identities,
            "reset lock_timeout;",
        ]

    @staticmethod
    def _guard(planned: Plan) -> list[str]:
        if not planned.guard:
            return []
        tables = ", ".join(planned.unguarded)
        return [
            sql_comment(f"{tables}: without a primary key, so a new partition has no replica identity"),
            *planned.guard,
        ]

    def _notes(self) -> list[str]:
        """What concerns the whole server, as far as it is missing, and what is never made by hand."""
        level, kept = self.sql.run(
            "select current_setting('wal_level'), current_setting('max_slot_wal_keep_size')"
        )[0]
        notes = [
            f"-- No slot is made by hand: the first run makes {self.slot},",
            "-- a full refresh another one that ends in _b, and each copy of tables a temporary one.",
        ]
        if level != "logical":
            notes.append(
                "-- Once for the server, which must be restarted: "
                + statements.set_setting("wal_level", LOGICAL)
            )
        if kept == "-1":
            notes += [
                "-- Once for the server, so that a platform that stands still does not fill its disk:",
                f"--   {statements.set_setting('max_slot_wal_keep_size', KEPT_LOG)}",
                f"--   {statements.reload_settings()}",
            ]
        return notes
