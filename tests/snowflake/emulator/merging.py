"""MERGE by DuckDB's own, with Snowflake's check that no target row is matched twice."""

from __future__ import annotations

from typing import Any

import duckdb
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector import errors
from sqlglot import exp

KINDS = (
    ("INSERT", "inserted", exp.Insert),
    ("UPDATE", "updated", exp.Update),
    ("DELETE", "deleted", exp.Var),
)


def install() -> None:
    """Take MERGE before fakesnow makes several statements of it."""
    explode = FakeSnowflakeCursor._transform_explode

    def ours(self: Any, statement: Any) -> Any:
        return (
            [_merge(self, statement.copy())] if isinstance(statement, exp.Merge) else explode(self, statement)
        )

    FakeSnowflakeCursor._transform_explode = ours


def _merge(cursor: Any, merge: Any) -> Any:
    whens = list(merge.args["whens"].expressions)
    _qualify(whens, merge.args["using"].alias_or_name)
    matched = [when for when in whens if when.args.get("matched")]
    if matched:
        _refuse_duplicates(cursor, merge, matched)
    counts = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
    try:
        done = cursor._duck_conn.execute(_duck(cursor, merge) + " RETURNING merge_action").fetchall()
    except duckdb.BinderException as error:
        raise errors.ProgrammingError(msg=str(error), errno=2043, sqlstate="02000") from error
    except duckdb.CatalogException as error:
        raise errors.ProgrammingError(msg=str(error), errno=2003, sqlstate="42S02") from error
    for (action,) in done:
        counts[action] += 1
    told = ", ".join(
        f'{counts[kind]} AS "number of rows {word}"'
        for kind, word, node in KINDS
        if any(isinstance(when.args["then"], node) for when in whens)
    )
    answer = sqlglot.parse_one(f"SELECT {told}")
    answer.set("merge_counts", True)
    return answer


def _qualify(whens: list[Any], source: str) -> None:
    """Plain columns of INSERT VALUES are the source's; DuckDB wants SET without the target's name."""
    for when in whens:
        then = when.args.get("then")
        if isinstance(then, exp.Insert) and then.expression is not None:
            for column in list(then.expression.find_all(exp.Column)):
                if not column.table:
                    column.set("table", exp.to_identifier(source))
        elif isinstance(then, exp.Update):
            for assignment in then.expressions:
                if isinstance(assignment.this, exp.Column):
                    assignment.this.set("table", None)


def _refuse_duplicates(cursor: Any, merge: Any, matched: list[Any]) -> None:
    """As with ERROR_ON_NONDETERMINISTIC_MERGE, which is Snowflake's default."""
    conditions = [when.args.get("condition") for when in matched]
    extra = ""
    if all(condition is not None for condition in conditions):
        extra = " AND (" + " OR ".join(f"({condition.sql('snowflake')})" for condition in conditions) + ")"
    query = (
        f"SELECT 1 FROM {merge.this.sql('snowflake')} JOIN {merge.args['using'].sql('snowflake')}"
        f" ON ({merge.args['on'].sql('snowflake')}){extra}"
        f" GROUP BY {merge.this.alias_or_name}.rowid HAVING count(*) > 1"
    )
    if cursor._duck_conn.execute(_duck(cursor, sqlglot.parse_one(query, read="snowflake"))).fetchone():
        raise errors.ProgrammingError(
            msg="Duplicate row detected during DML action", errno=100090, sqlstate="42P18"
        )


def _duck(cursor: Any, expression: Any) -> str:
    return str(cursor._transform(expression, None).sql(dialect="duckdb"))
