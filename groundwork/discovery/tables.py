"""Discover: draft a catalog entry from a live PostgreSQL, with guesses marked as guesses."""

from __future__ import annotations

from typing import Any

import yaml

from groundwork.discovery.drafting import PERSONAL, head
from groundwork.errors import SourceError
from groundwork.sources.address import Address
from groundwork.sources.wire import Connection

_TYPES = {
    "int2": "integer", "int4": "integer", "int8": "integer", "oid": "integer", "float4": "float",
    "float8": "float", "bool": "boolean", "date": "date", "timestamp": "timestamp",
    "timestamptz": "timestamp", "json": "json", "jsonb": "json",
}  # fmt: skip
"""PostgreSQL's type names as the catalog's; what is not here is text, exactly as printed."""


def discover_postgres(url: str, source: str, secret: str, schema: str = "public") -> str:
    """Draft ``catalog/<source>.yml`` for the tables of one schema.

    Args:
        url: where the database is.
        source: name for the new source.
        secret: the name under which the URL is kept; the draft names it and never holds it.
        schema: whose tables.

    Raises:
        SourceError: when the database cannot be reached, or the schema has no table we may read.
    """
    where = f"source '{source}'"
    with Connection(Address.parse(url, where), where) as connection:
        columns = connection.run(
            "select c.relname, a.attname, t.typname, a.atttypmod, t.typcategory,"
            " coalesce(a.attnum = any(i.indkey), false), coalesce(col_description(c.oid, a.attnum), ''),"
            " coalesce(obj_description(c.oid, 'pg_class'), '')"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " join pg_type t on t.oid = a.atttypid"
            " left join pg_index i on i.indrelid = c.oid and i.indisprimary"
            " where n.nspname = :schema and c.relkind in ('r', 'p') and not c.relispartition"
            " and has_table_privilege(c.oid, 'select') order by c.relname, a.attnum",
            schema=schema,
        )
    if not columns:
        raise SourceError(
            where, f"schema '{schema}' has no table that this role may read",
            fix=f"grant select on all tables in schema {schema} to it, or name another schema",
        )  # fmt: skip
    streams: dict[str, Any] = {}
    for table, column, kind, modifier, _, is_key, comment, described in columns:
        stream = streams.setdefault(
            table.lower(),
            {
                "table": f"{schema}.{table}",
                "description": described,
                "replication": "log_based",
                "primary_key": [],
                "columns": {},
            },
        )
        if is_key:
            stream["primary_key"].append(column)
        entry: dict[str, Any] = {"type": _type(kind, modifier), "description": comment}
        if any(part in column.lower() for part in PERSONAL):
            entry["pii"] = True
        stream["columns"][column] = entry
    return _document(source, secret, streams)


def _type(kind: str, modifier: int) -> str:
    if kind == "numeric" and modifier >= 4:
        return f"decimal({(modifier - 4) >> 16 & 0xFFFF},{(modifier - 4) & 0x7FF})"
    return _TYPES.get(kind, "text")


def _document(source: str, secret: str, streams: dict[str, Any]) -> str:
    connection = {"url": {"secret": secret}, "publication": "groundwork"}
    top = head(source, "postgres", "tables of a PostgreSQL database", connection)
    text = yaml.safe_dump(top | {"streams": streams}, sort_keys=False, allow_unicode=True, width=110)
    return (
        "# Drafted by `python -m groundwork discover`. Guesses to look at: what is personal data (pii), the\n"
        "# types of numeric columns without a precision (text), and everything that says TODO.\n" + text
    )
