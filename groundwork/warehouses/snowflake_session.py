"""A session with Snowflake: begun with the first statement, every statement tagged, errors in our words."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from groundwork.errors import WarehouseError, WarehouseUnusable
from groundwork.warehouses.snowflake_login import SnowflakeLogin

log = logging.getLogger(__name__)


def query_tag(who: str, run_id: str) -> str:
    """What every statement carries, so that QUERY_HISTORY tells what each run cost."""
    return json.dumps({"groundwork": who, "flow_run_id": run_id})


class StatementRefused(WarehouseError):
    """Snowflake refused a statement."""

    told: str = ""
    """All that Snowflake said; may hold values, so it is for code to look into and not for a log."""
    number: int = 0
    query_id: str = ""


_CONNECTION_LOST = ("08", "28", "57")
"""Classes of SQLSTATE that are about the session, not about a statement."""


class Session:
    """One session, or none yet."""

    def __init__(self, login: SnowflakeLogin, tag: str) -> None:
        """Sign in later, when there is something to ask or to do."""
        self._login, self._tag = login, tag
        self._connection: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it was begun."""
        return self._connection is not None

    def close(self) -> None:
        """End it, if it was begun."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (``?`` for parameters) and return its rows."""
        return self.ask(sql, parameters)[1]

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The same, and the names of the columns before the rows."""
        with self._told(), self._begun().cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            return [column.name for column in cursor.description], [tuple(row) for row in cursor.fetchall()]

    def changed(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run one statement and return how many rows it changed."""
        with self._told(), self._begun().cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return int(cursor.rowcount or 0)

    def _begun(self) -> Any:
        if self._connection is None:
            import snowflake.connector
            from snowflake.connector.errors import Error

            login = self._login
            try:
                self._connection = snowflake.connector.connect(
                    **login.connection_options(),
                    paramstyle="qmark",
                    login_timeout=60,
                    network_timeout=600,
                    # else every login asks the metadata addresses of three clouds where it runs
                    platform_detection_timeout_seconds=0.0,
                    session_parameters={
                        "QUERY_TAG": self._tag,
                        "TIMEZONE": "UTC",
                        "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
                        "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
                    },
                )
            except Error as error:
                raise WarehouseUnusable(
                    login.where,
                    f"{login.user} cannot sign in ({error.errno})",
                    fix="check the account's name, the user's public key and the network",
                ) from error
            log.info("signed in warehouse=%s role=%s", login.where, login.role or "default")
        return self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        from snowflake.connector.errors import Error

        try:
            yield
        except Error as error:
            if (error.sqlstate or "").startswith(_CONNECTION_LOST):
                raise WarehouseUnusable(
                    self._login.where,
                    f"the session was lost ({error.errno})",
                    why=f"SQLSTATE {error.sqlstate}",
                    fix="nothing was written by the last statement; the next run goes on",
                ) from error
            told = str(error.msg or "")
            # What does not compile names tables and columns; what fails on data would name values.
            compiled = (error.sqlstate or "").startswith(("42", "02", "0A"))
            refused = StatementRefused(
                self._login.where,
                f"a statement failed ({error.errno})",
                why=" ".join(told.split())[:300] if compiled else f"query {error.sfqid} has the details",
                fix="nothing was written by it",
            )
            refused.told, refused.number, refused.query_id = told, error.errno or 0, error.sfqid or ""
            raise refused from error
