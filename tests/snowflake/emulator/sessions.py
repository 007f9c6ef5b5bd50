"""Statements on the session and on what only an account has: remembered or noted, and nothing else done.

``alter session``, ``use role``, grants, roles, warehouses, users, integrations and resource monitors have no
counterpart in DuckDB. They end as ``nothing`` in the journal, so tests can tell them from what was executed.
"""

from __future__ import annotations

import re
import time
from typing import Any

from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.transforms import SUCCESS_NOP
from snowflake.connector import errors

from tests.snowflake.emulator import journal

_ALTER_SESSION = re.compile(
    r"^\s*alter\s+session\s+(set|unset)\s+(\w+)\s*(?:=\s*(.*?))?\s*;?\s*$", re.I | re.S
)
_SHOW_QUERY_TAG = re.compile(r"^\s*show\s+parameters\s+like\s+'query_tag'\s+in\s+session", re.I)
_USE = re.compile(r"^\s*use\s+(warehouse|role)\s+([\w\"]+)", re.I)
_CURRENT = re.compile(r"\bcurrent_(warehouse|role|user|account)\(\)", re.I)
_COLUMN_COMMENT = re.compile(
    r"^\s*alter\s+(?:table|view)\s+\S+\s+alter\s+(?:column\s+)?(?:\"[^\"]+\"|\w+)\s+comment\s+", re.I
)
OF_AN_ACCOUNT = re.compile(
    r"^\s*(grant|revoke|use\s+secondary\s+roles"
    r"|(create\s+(or\s+replace\s+)?|alter\s+|drop\s+)(warehouse|role|user|resource\s+monitor|storage\s+integration)"
    r"|alter\s+account)\b",
    re.I,
)


def install() -> None:
    """Look at every statement before fakesnow does."""
    execute = FakeSnowflakeCursor.execute

    def noted(self: Any, command: str, params: Any = None, *rest: Any, **named: Any) -> Any:
        started, outcome, trouble = time.perf_counter(), "executed", None
        session = self._conn
        parameters = session.__dict__.setdefault("parameters", {})
        try:
            altered = _ALTER_SESSION.match(command)
            if altered and altered[2].upper() != "AUTOCOMMIT":
                if altered[1].lower() == "set":
                    parameters[altered[2].upper()] = (altered[3] or "").strip().strip("'")
                else:
                    parameters.pop(altered[2].upper(), None)
                outcome = "nothing"
            elif OF_AN_ACCOUNT.match(command) or _COLUMN_COMMENT.match(command):
                outcome = "nothing"
            if outcome == "nothing":
                self._execute(SUCCESS_NOP)
                return self
            return execute(self, _with_context(session, parameters, command), params, *rest, **named)
        except errors.Error as error:
            trouble = error
            raise
        except Exception as error:
            trouble = error
            self._sqlstate = "0A000"
            raise errors.ProgrammingError(
                msg=f"emulator: {type(error).__name__}: {error}", errno=9998, sqlstate="0A000"
            ) from error
        finally:
            if not command.lstrip().upper().startswith("DESCRIBE SELECT"):
                journal.note(
                    sql=command,
                    outcome="error" if trouble else outcome,
                    error=str(trouble) if trouble else None,
                    ms=round((time.perf_counter() - started) * 1e3, 1),
                    session=f"{id(session):x}",
                    query_tag=parameters.get("QUERY_TAG"),
                )

    FakeSnowflakeCursor.execute = noted


def _with_context(session: Any, parameters: dict[str, str], command: str) -> str:
    """A statement with the session's role, warehouse, user and query tag written into it."""
    if _SHOW_QUERY_TAG.match(command):
        tag = parameters.get("QUERY_TAG", "").replace("'", "''")
        return (
            f"select 'QUERY_TAG' as \"key\", '{tag}' as \"value\", '' as \"default\", 'SESSION' as \"level\","
            " '' as \"description\", 'STRING' as \"type\""
        )
    context = session.__dict__.get("context", {})
    if used := _USE.match(command):
        context[used[1].upper()] = used[2].strip('"')
    return _CURRENT.sub(
        lambda found: f"'{context.get(found[1].upper()) or ''}'" if context else found[0], command
    )
