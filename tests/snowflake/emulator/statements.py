"""Statements that are carried out here, because fakesnow has them in part or not at all."""

from __future__ import annotations

from typing import Any

from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

from tests.snowflake.emulator import copying, stages


def install() -> None:
    """Take stages, COPY INTO and what TRUNCATE does to load metadata into our hands."""
    explode = FakeSnowflakeCursor._transform_explode

    def ours(self: Any, statement: Any) -> Any:
        if isinstance(statement, exp.Create) and str(statement.args.get("kind")).upper() == "STAGE":
            stages.remember(self, statement)
        elif isinstance(statement, exp.TruncateTable):
            copying.forget_loads(self, statement)
        elif isinstance(statement, (exp.Transaction, exp.Commit, exp.Rollback)):
            self._conn.__dict__["in_transaction"] = isinstance(statement, exp.Transaction)
        elif isinstance(statement, exp.Copy):
            return [copying.copy_into(self, statement)]
        return explode(self, statement)

    FakeSnowflakeCursor._transform_explode = ours
