"""Doctor: look at everything the platform stands on, and say what is wrong and what to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from groundwork.bucket import Bucket
from groundwork.catalog import AnySource, Catalog, PostgresSource
from groundwork.errors import BucketError, GroundworkError, KeyTaken
from groundwork.settings import Resolve, Settings
from groundwork.sources import slot
from groundwork.sources.address import Address
from groundwork.sources.tables import publication_statement, published
from groundwork.sources.wire import Connection


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    problem: str = ""
    """Empty when all is well."""


def examine(
    settings: Settings, catalog: Catalog, open_bucket: Callable[[], Bucket], resolve: Resolve
) -> Iterator[Finding]:
    """Look at bucket, warehouse and every source, one finding each.

    Args:
        settings: the platform's.
        catalog: the sources.
        open_bucket: opens the bucket, with credentials from wherever they are.
        resolve: looks secrets up.
    """
    yield _looked(f"bucket {settings.bucket_url}", lambda: _bucket(open_bucket()))
    yield _looked(f"warehouse {settings.warehouse}", lambda: _warehouse(settings))
    for entry in catalog.values():
        if isinstance(entry, PostgresSource):
            yield _looked(f"source {entry.source}", lambda e=entry: _postgres(e, settings, resolve))  # type: ignore[misc]


def _looked(what: str, look: Callable[[], None]) -> Finding:
    try:
        look()
    except GroundworkError as error:
        return Finding(what, str(error))
    return Finding(what)


def _bucket(bucket: Bucket) -> None:
    """Write, read, and refuse to overwrite."""
    key = f"doctor/{uuid.uuid4().hex}"
    bucket.put_if_absent(key, b"1")
    try:
        bucket.put_if_absent(key, b"2")
    except KeyTaken:
        pass
    else:
        raise BucketError(
            bucket.url, "overwrites an object although asked not to (If-None-Match)",
            why="two runs could then commit the same batch",
            fix="use an S3 server that honours conditional writes",
        )  # fmt: skip
    finally:
        bucket.delete(key)


def _warehouse(settings: Settings) -> None:
    from groundwork.warehouses import open_warehouse

    with open_warehouse(settings, who="doctor") as warehouse:
        warehouse.query("select 1")


def _postgres(entry: PostgresSource, settings: Settings, resolve: Resolve) -> None:
    where = f"source '{entry.source}'"
    address = Address.parse(resolve(entry.connection.url), where)
    with Connection(address, where) as sql:
        level = sql.run("select current_setting('wal_level')")[0][0]
        if level != "logical":
            raise GroundworkError(
                where, f"wal_level is '{level}'", why="the log then holds no rows",
                fix="alter system set wal_level = 'logical', and restart the server",
            )  # fmt: skip
        _, bad = published(sql, entry)
        for error in bad.values():
            raise error
        for name, identity, has_key in _identities(sql, entry):
            if identity == "n" or (identity == "d" and not has_key):
                raise GroundworkError(
                    where, f"table {name} has no replica identity",
                    why="an UPDATE or DELETE of the application on it fails while it is published",
                    fix=f"alter table {name} replica identity full; or give it a primary key",
                )  # fmt: skip
        slot.find(sql, entry.connection.slot or slot.slot_name(entry.source, settings.bucket_url))
    with Connection(address, where, replication=True) as stream:
        stream.run("IDENTIFY_SYSTEM")


def _identities(sql: Connection, entry: PostgresSource) -> list[list[str]]:
    return sql.run(
        "select cast(c.oid as regclass)::text, cast(c.relreplident as text),"
        " exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary)"
        " from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname"
        " join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename"
        " where t.pubname = :name",
        name=entry.connection.publication,
    )


def preparation(entry: AnySource) -> str:
    """The SQL that a database administrator runs once: a role with the least rights, and a publication."""
    if not isinstance(entry, PostgresSource):
        return ""
    schemas = sorted({stream.table.split(".", 1)[0] for stream in entry.streams.values()})
    tables = ", ".join(stream.table for stream in entry.streams.values())
    return "\n".join(
        [
            f"-- source '{entry.source}': once, as an owner of the tables",
            "create role groundwork with login replication password '…';",
            *(f"grant usage on schema {schema} to groundwork;" for schema in schemas),
            f"grant select on {tables} to groundwork;",
            publication_statement(entry, 180000),
            "-- and in postgresql.conf: wal_level = logical, max_slot_wal_keep_size = '20GB'",
        ]
    )
