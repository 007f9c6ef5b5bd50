"""Corrections of what fakesnow answers or stores wrongly."""

from __future__ import annotations

from typing import Any

import duckdb
import fakesnow.arrow
import fakesnow.info_schema
import pyarrow as pa
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

from tests.snowflake.emulator import journal


def install() -> None:
    """Correct all of it."""
    _null_timestamps()
    _quotes_in_comments()
    _aborted_transactions()
    _temporary_tables()


def _null_timestamps() -> None:
    """A null timestamp reached the client as 1970-01-01: the struct had no mask."""
    convert = fakesnow.arrow.timestamp_to_sf_struct

    def masked(values: Any) -> Any:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        struct = convert(values)
        if not values.null_count:
            return struct
        fields = [struct.type.field(i) for i in range(struct.type.num_fields)]
        parts = [struct.field(i).fill_null(0) for i in range(struct.type.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=values.is_null())

    fakesnow.arrow.timestamp_to_sf_struct = masked


def _quotes_in_comments() -> None:
    insert = fakesnow.info_schema.insert_table_comment_sql
    fakesnow.info_schema.insert_table_comment_sql = lambda catalog, schema, table, comment: insert(
        catalog, schema, table, (comment or "").replace("'", "''")
    )


def _aborted_transactions() -> None:
    """An error within a transaction spoils it in DuckDB; in Snowflake the session goes on."""
    execute = FakeSnowflakeCursor._execute

    def going_on(self: Any, transformed: Any, params: Any = None) -> Any:
        try:
            return execute(self, transformed, params)
        except duckdb.TransactionException as error:
            if "Current transaction is aborted" not in str(error):
                raise
            self._duck_conn.rollback()
            journal.note(sql=None, outcome="rolled back", error=str(error))
            return execute(self, transformed, params)

    FakeSnowflakeCursor._execute = going_on


def _temporary_tables() -> None:
    """DuckDB has one place for temporary tables: one with a schema is ordinary until the session ends."""
    transform = FakeSnowflakeCursor._transform

    def ordinary(self: Any, expression: Any, params: Any) -> Any:
        if isinstance(expression, exp.Create) and expression.args.get("kind") in ("TABLE", "VIEW"):
            table, properties = expression.find(exp.Table), expression.args.get("properties")
            kinds = properties.expressions if properties else []
            if (
                table is not None
                and table.args.get("db")
                and any(isinstance(k, exp.TemporaryProperty) for k in kinds)
            ):
                properties.set("expressions", [k for k in kinds if not isinstance(k, exp.TemporaryProperty)])
                self._conn.__dict__.setdefault("temporary", []).append(table.sql(dialect="snowflake"))
        return transform(self, expression, params)

    FakeSnowflakeCursor._transform = ordinary
