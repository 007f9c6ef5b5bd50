"""The SQL that a database administrator runs once: a role with the least rights, and a publication."""

from __future__ import annotations

from groundwork.catalog import PostgresSource
from groundwork.errors import GroundworkError
from groundwork.settings import Resolve
from groundwork.sources.address import Address
from groundwork.sources.tables import publication_statement
from groundwork.sources.wire import Connection, quoted

OLDEST = 140000
"""What is written for a server that does not say its version; `_GENERATED` is for newer ones."""

_GENERATED = """\
do $$ begin
    if cast(current_setting('server_version_num') as int) >= 180000 then
        alter publication {name} set (publish_generated_columns = stored);
    end if;
end $$;"""


def preparation(entry: PostgresSource, resolve: Resolve, slot: str) -> str:
    """The statements, for the server's version and the role in the connection URL, if there is one yet.

    Args:
        entry: the catalog's entry.
        resolve: looks the connection URL up.
        slot: the name of the replication slot that the platform makes.
    """
    where = f"source '{entry.source}'"
    address, version = _server(entry, resolve, where)
    role = quoted(address.user if address else "groundwork")
    tables = [tuple(stream.table.split(".", 1)) for stream in entry.streams.values()]
    names = ", ".join(f"{quoted(schema)}.{quoted(name)}" for schema, name in tables)
    # Without a key a removed row is known by all its columns.
    keyless = [
        f"alter table {quoted(schema)}.{quoted(name)} replica identity full;"
        for (schema, name), stream in zip(tables, entry.streams.values(), strict=True)
        if stream.replication == "log_based" and not stream.primary_key
    ]
    told = f" (PostgreSQL {version // 10000})" if version else ""
    schemas = sorted({quoted(schema) for schema, _ in tables})
    lines = [
        f"-- {where}: once, as an owner of the tables{told}",
        f"create role {role} with login replication password '…';",
        *([f"grant connect on database {quoted(address.database)} to {role};"] if address else []),
        *(f"grant usage on schema {schema} to {role};" for schema in schemas),
        f"grant select on {names} to {role};",
        *keyless,
        publication_statement(entry, version or OLDEST),
        *([] if version else [_GENERATED.format(name=quoted(entry.connection.publication))]),
        f"-- No slot is made by hand: the first run makes {slot},",
        "-- a full refresh another one that ends in _b, and each copy of tables a temporary one.",
        "-- Only if a table has row-level security (a copy would lack rows, so PostgreSQL refuses it):",
        f"--   alter role {role} bypassrls;",
        "-- Once for the server. The first needs a restart; the second keeps a platform that stands still",
        "-- from filling the disk:",
        "--   alter system set wal_level = 'logical';",
        "--   alter system set max_slot_wal_keep_size = '20GB';",
    ]
    return "\n".join(lines)


def _server(entry: PostgresSource, resolve: Resolve, where: str) -> tuple[Address | None, int | None]:
    """Where it is and its version, as far as either is known: the role may not be there yet."""
    try:
        address = Address.parse(resolve(entry.connection.url), where)
    except GroundworkError:
        return None, None
    try:
        with Connection(address, where) as sql:
            return address, int(sql.run("select current_setting('server_version_num')")[0][0])
    except GroundworkError:
        return address, None
