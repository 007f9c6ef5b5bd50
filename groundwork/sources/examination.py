"""Examine a PostgreSQL: whether all we need is in place, and whether we could hurt it.

Everything is asked with the platform's own role, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from groundwork.catalog import PostgresSource
from groundwork.errors import GroundworkError
from groundwork.findings import Finding, doubtful, wrong
from groundwork.sources import retention, slot, statements
from groundwork.sources.address import Address, is_loopback
from groundwork.sources.harm import harm
from groundwork.sources.identity import columns_of
from groundwork.sources.preparation import KEPT_LOG, LOGICAL
from groundwork.sources.tables import Table, published
from groundwork.sources.wire import Connection, quoted


@dataclass(frozen=True)
class _Patient:
    """What the checks look at."""

    entry: PostgresSource
    address: Address
    slot: str
    sql: Connection
    version: int

    @property
    def where(self) -> str:
        return f"source '{self.entry.source}'"

    def setting(self, name: str) -> str:
        return str(self.sql.run("select current_setting(:name)", name=name)[0][0])


def examine(entry: PostgresSource, address: Address, slot_name: str) -> Iterator[Finding]:
    """Look at one source, one finding for each thing and one more for each further trouble.

    Args:
        entry: the catalog's entry.
        address: where the server is.
        slot_name: the replication slot's name.
    """
    where = f"source '{entry.source}'"
    try:
        with Connection(address, where) as sql:
            version = int(sql.run("select current_setting('server_version_num')")[0][0])
            patient = _Patient(entry, address, slot_name, sql, version)
            for name, check in _CHECKS.items():
                what = f"source {entry.source}: {name}"
                try:
                    troubles = list(check(patient, what))
                except GroundworkError as error:
                    troubles = [Finding(what, str(error))]
                yield from troubles or [Finding(what)]
    except GroundworkError as error:
        yield Finding(f"source {entry.source}", str(error))


def _connection(patient: _Patient, what: str) -> Iterator[Finding]:
    address = patient.address
    if address.sslmode not in ("verify-ca", "verify-full") and not all(
        is_loopback(host.address or host.name) for host in address.hosts
    ):
        used = patient.sql.run("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        how = "is encrypted" if used and used[0][0] else "is not encrypted"
        yield doubtful(
            what, patient.where, f"the connection {how}, and nobody checks whose server it is",
            why=f"the connection URL says sslmode={address.sslmode}",
            fix="let it say sslmode=verify-full, with the authority's certificate as sslrootcert",
        )  # fmt: skip


def _server(patient: _Patient, what: str) -> Iterator[Finding]:
    where, level = patient.where, patient.setting("wal_level")
    if level != "logical":
        yield wrong(
            what, where, f"wal_level is '{level}'", why="the log then holds no rows",
            fix=f"run: {statements.set_setting('wal_level', LOGICAL)} and restart the server",
        )  # fmt: skip
    if patient.setting("server_encoding") == "SQL_ASCII":
        yield wrong(
            what, where, "the database has no encoding (SQL_ASCII)", why="its bytes need not be text",
            fix="convert the database to UTF8",
        )  # fmt: skip
    if patient.version < 140000:
        yield wrong(
            what, where, f"this is PostgreSQL {patient.version // 10000}", fix="upgrade it: 14 is the oldest"
        )
    if patient.sql.run("select pg_is_in_recovery()")[0][0]:
        if patient.version < 160000:
            yield wrong(
                what, where, f"this is a standby of PostgreSQL {patient.version // 10000}",
                why="a standby can decode its log from 16 on", fix="let the connection URL name the primary",
            )  # fmt: skip
        elif patient.setting("hot_standby_feedback") != "on":
            yield wrong(
                what, where, "this is a standby without hot_standby_feedback",
                why="its primary removes what a slot here still needs, which ends the slot",
                fix="run there, one by one: "
                f"{statements.set_setting('hot_standby_feedback', 'on')} {statements.reload_settings()}",
            )  # fmt: skip


def _room(patient: _Patient, what: str) -> Iterator[Finding]:
    names = (patient.slot, slot.second_name(patient.slot))
    for setting, query in (
        ("max_replication_slots", "select count(*) from pg_replication_slots"),
        ("max_wal_senders", "select count(*) from pg_stat_replication"),
    ):
        room, used = int(patient.setting(setting)), int(patient.sql.run(query)[0][0])
        # Ours, and a temporary one while tables are copied.
        there = setting == "max_replication_slots" and any(slot.find(patient.sql, n) for n in names)
        needed = 1 if there else 2
        if room - used < needed:
            # A standby whose setting is lower than its primary's stops.
            first = "first on each standby, then here, " if setting == "max_wal_senders" else ""
            more = statements.set_setting(setting, str(used + needed + 4))
            yield wrong(
                what, patient.where, f"{used} of {room} {setting} are in use, and {needed} more are needed",
                fix=f"{first}run: {more} and restart the server",
            )  # fmt: skip
    if patient.setting("max_slot_wal_keep_size") == "-1":
        yield doubtful(
            what, patient.where, "max_slot_wal_keep_size is -1: slots may keep log without an end",
            why="a platform that stands still for days would fill the server's disk",
            fix=f"run, one by one: {statements.set_setting('max_slot_wal_keep_size', KEPT_LOG)} "
            f"{statements.reload_settings()} it counts for all slots there; a lost slot of ours costs a"
            " new copy of the tables, and nothing else",
        )  # fmt: skip


def _role(patient: _Patient, what: str) -> Iterator[Finding]:
    role = quoted(patient.address.user)
    superuser = patient.sql.run("select rolsuper from pg_roles where rolname = current_user")[0][0]
    if superuser:
        yield doubtful(
            what, patient.where, f"role {role} is a superuser", why="reading needs far fewer rights",
            fix="make a role for it: `python -m groundwork doctor --sql` prints the statements",
        )  # fmt: skip
    try:
        # The truth and not the attribute: managed servers grant this right in ways of their own.
        with Connection(patient.address, patient.where, replication=True) as stream:
            stream.run("IDENTIFY_SYSTEM")
    except GroundworkError as error:
        yield wrong(
            what, patient.where, f"role {role} may not read the log", why=error.what,
            fix=f"run: {statements.let_read_the_log(patient.address.user)} and let pg_hba.conf admit it to"
            " the database",
        )  # fmt: skip


def _tables(patient: _Patient, what: str) -> Iterator[Finding]:
    tables, bad = published(patient.sql, patient.entry)
    yield from (Finding(what, str(error)) for error in bad.values())
    for table in tables.values():
        yield from _rights(patient, what, table)


def _rights(patient: _Patient, what: str, table: Table) -> Iterator[Finding]:
    role, name = quoted(patient.address.user), f"{quoted(table.schema)}.{quoted(table.name)}"
    usage, active = patient.sql.run(
        "select has_schema_privilege(:schema, 'usage'),"
        " row_security_active(cast(cast(:oid as bigint) as oid))",
        schema=table.schema, oid=table.oid,
    )[0]  # fmt: skip
    if not usage:
        yield wrong(
            what, patient.where, f"role {role} may not use schema {quoted(table.schema)}",
            fix=f"run: {statements.let_use(patient.address.user, table.schema)}",
        )  # fmt: skip
    found = patient.sql.run(
        "select attname from pg_attribute where attrelid = cast(cast(:oid as bigint) as oid) and attnum > 0"
        " and not attisdropped and not has_column_privilege(attrelid, attnum, 'select') order by attnum",
        oid=table.oid,
    )
    hidden = [column for (column,) in found if column in table.columns]
    if hidden:
        columns = f"columns {', '.join(hidden)} of " if len(hidden) < len(table.columns) else ""
        # With a column list, no right to the columns that it hides.
        only = hidden if set(table.columns) < set(columns_of(patient.sql, table.oid)) else ()
        or_leave_out = (
            " or leave them out by a column list of the publication" if patient.version >= 150000 else ""
        )
        yield wrong(
            what, patient.where, f"role {role} may not read {columns}{name}",
            fix=f"run: {statements.let_select(patient.address.user, name, only)}{or_leave_out}",
        )  # fmt: skip
    if active:
        yield wrong(
            what, patient.where, f"row-level security would hide rows of {name} from role {role}",
            why="a copy would lack them in silence, so PostgreSQL refuses it; the log knows no policies",
            fix=f"run as a superuser: {statements.bypass_row_security(patient.address.user)} it then sees all"
            " rows of all tables that it may read; or leave the table out of the catalog",
        )  # fmt: skip


def _harm(patient: _Patient, what: str) -> Iterator[Finding]:
    slots = (patient.slot, slot.second_name(patient.slot))
    return harm(patient.sql, patient.entry, patient.version, slots, what)


def _slot(patient: _Patient, what: str) -> Iterator[Finding]:
    for name in (patient.slot, slot.second_name(patient.slot)):
        found = slot.standing(patient.sql, name)
        if found is None:
            continue
        concern = retention.concern_of(name, found, patient.entry.connection.slot_lag)
        if found.wal_status == "lost":
            yield wrong(
                what, patient.where, concern,
                fix="run `python -m groundwork full-refresh` for this source: a new snapshot closes the gap",
            )  # fmt: skip
        elif concern:
            yield doubtful(
                what, patient.where, concern, fix="run the source's extract, and look why it did not"
            )


_CHECKS: dict[str, Callable[[_Patient, str], Iterator[Finding]]] = {
    "connection": _connection,
    "server": _server,
    "room for the log": _room,
    "role": _role,
    "publication and tables": _tables,
    "the application's own changes": _harm,
    "slot": _slot,
}
