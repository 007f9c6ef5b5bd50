"""The SQL that messages suggest: one function for each statement, or for several that belong together.

A message takes its SQL from here and holds none itself. A test runs
each on a server and sees that it does what the message says, and no more
(`tests/integration/capture/test_suggested_sql.py`).
A table's name is given quoted, with its schema; all other names as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundwork.sources.wire import quoted


def drop_table(publication: str, table: str) -> str:
    """Take one table out of a publication."""
    return f"alter publication {quoted(publication)} drop table {table};"


def publish_again(publication: str, table: str, columns: Sequence[str], row_filter: str) -> str:
    """Publish one table with other columns, in one transaction; its row filter stays.

    Args:
        publication: its name.
        table: quoted.
        columns: what it shows from then on; all when empty.
        row_filter: as PostgreSQL prints it.
    """
    listed = f" ({', '.join(map(quoted, columns))})" if columns else ""
    kept = f" where ({row_filter})" if row_filter else ""
    name = quoted(publication)
    return (
        f"begin; alter publication {name} drop table {table}; "
        f"alter publication {name} add table {table}{listed}{kept}; commit;"
    )


def create_publication(publication: str, tables: str, options: str) -> str:
    """Publish tables under a new name.

    Args:
        publication: its name.
        tables: quoted, with commas between; ``only`` before one that others inherit from.
        options: what stands in ``with (…)``.
    """
    return f"create publication {quoted(publication)} for table {tables} with ({options});"


def add_tables(publication: str, tables: str) -> str:
    """Publish further tables; those that are there stay as they are."""
    return f"alter publication {quoted(publication)} add table {tables};"


def set_publication(publication: str, options: str) -> str:
    """Change options of a publication, and nothing of its tables."""
    return f"alter publication {quoted(publication)} set ({options});"


def replica_identity(table: str, identity: str) -> str:
    """Let the log identify a table's rows by its primary key (``default``) or as a whole (``full``)."""
    return f"alter table {table} replica identity {identity};"


def set_logged(table: str) -> str:
    """Write a table's rows to the log from now on."""
    return f"alter table {table} set logged;"


def create_role(role: str) -> str:
    """Make the platform's role; the password is to be written in."""
    return f"create role {quoted(role)} with login replication password '…';"


def let_read_the_log(role: str) -> str:
    """Let a role use replication slots."""
    return f"alter role {quoted(role)} replication;"


def let_connect(role: str, database: str) -> str:
    """Let a role connect to a database."""
    return f"grant connect on database {quoted(database)} to {quoted(role)};"


def let_use(role: str, schema: str) -> str:
    """Let a role name what is in a schema."""
    return f"grant usage on schema {quoted(schema)} to {quoted(role)};"


def let_select(role: str, tables: str, columns: Sequence[str] = ()) -> str:
    """Let a role read tables, or some columns of one table.

    Args:
        role: its name.
        tables: quoted, with commas between.
        columns: the columns that it may read; all, also later ones, when empty.
    """
    listed = f" ({', '.join(map(quoted, columns))})" if columns else ""
    return f"grant select{listed} on {tables} to {quoted(role)};"


def bypass_row_security(role: str) -> str:
    """Let a role read all rows of all tables that it may read."""
    return f"alter role {quoted(role)} bypassrls;"


def set_setting(name: str, value: str) -> str:
    """Write a setting of the whole server; it counts once the server reads it."""
    return f"alter system set {name} = {value};"


def reload_settings() -> str:
    """Let the server read its settings."""
    return "select pg_reload_conf();"
