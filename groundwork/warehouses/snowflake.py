"""Snowflake: objects are copied from the bucket by the warehouse itself, or from a stage that we fill.

The session begins with the first statement: a run with nothing to load opens none, so nothing wakes the
virtual warehouse. Tables are made and widened before a load's transaction, since DDL would end it.

What Snowflake answers in a run is tested with an emulator and can be with an account: docs/snowflake.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from groundwork.warehouses import INSTANT, LANDING, LEDGER, TEXT, LandingBatch
from groundwork.warehouses.canonical import Digest, digest_of, digest_sql
from groundwork.warehouses.snowflake_landing import TURNS, Load, turn
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.snowflake_session import Session, query_tag
from groundwork.warehouses.snowflake_sql import TYPES, landing_table, quoted, stored_name, told_name
from groundwork.warehouses.snowflake_text import DIALECT, kind_of

log = logging.getLogger(__name__)

_NEVER_NULL = ("_batch_id", "_file")
"""A file that Snowflake names otherwise than we expect must not land without its name."""


@contextmanager
def open_snowflake(login: SnowflakeLogin, *, who: str, run_id: str = "") -> Iterator[Snowflake]:
    """A warehouse whose session begins with its first statement, and ends here.

    Args:
        login: who, where and in which role.
        who: for whom, e.g. ``load shop``.
        run_id: the flow run; with ``who`` the tag of every statement.
    """
    session = Session(login, query_tag(who, run_id))
    try:
        yield Snowflake(login, session)
    finally:
        session.close()


class Snowflake:
    """The `Warehouse` in a database of a Snowflake account."""

    def __init__(self, login: SnowflakeLogin, session: Session) -> None:
        """Wrap a session, which begins when there is something to ask or to do."""
        self.reads_bucket, self.place = login.staging == "external", login.where
        self._login, self._session = login, session
        self._present: dict[str, dict[str, str]] = {}
        """Landing tables: each column as compared, and as stored."""

    @property
    def is_signed_in(self) -> bool:
        """Whether a session was begun."""
        return self._session.is_open

    def quoted(self, name: str) -> str:  # noqa: D102
        return quoted(name)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:  # noqa: D102
        return self._session.query(sql, parameters)

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:  # noqa: D102
        names, rows = self._session.ask(sql)
        return [told_name(name) for name in names], rows

    def columns(self, schema: str, table: str) -> list[str]:  # noqa: D102
        if schema == LANDING:
            return [told_name(name) for name in self._landing().get(stored_name(table), {}).values()]
        found = self.query(
            "select column_name from information_schema.columns"
            " where table_schema = ? and table_name = ? order by ordinal_position",
            [stored_name(schema), stored_name(table)],
        )
        return [told_name(name) for (name,) in found]

    def widen(self, table: str, columns: Mapping[str, str]) -> None:  # noqa: D102
        stored = stored_name(table)
        present = self._landing().get(stored)
        if present is None:
            self._create(table, columns)
            return
        lacking = {name: kind for name, kind in columns.items() if _folded(name) not in present}
        for name, kind in lacking.items():
            added = f"add column if not exists {quoted(name)} {TYPES[kind]}"
            self.query(f"alter table {landing_table(table)} {added}")
            present[_folded(name)] = stored_name(name)
            log.info("widened table=%s column=%s", table, name)

    def widen_all(self, tables: Mapping[str, Mapping[str, str]]) -> None:  # noqa: D102
        for table, columns in tables.items():
            self.widen(table, columns)

    def loaded(self, source: str) -> int:  # noqa: D102
        if stored_name(LEDGER) not in self._landing():
            return 0
        found = self.query(f"select max(batch_id) from {landing_table(LEDGER)} where source = ?", [source])
        return int(found[0][0] or 0)

    def land(self, batches: Sequence[LandingBatch], run_id: str) -> None:  # noqa: D102
        source = batches[0].manifest.source
        tables = dict.fromkeys(
            f"{source}__{found.stored.stream}" for batch in batches for found in batch.objects
        )
        spelled = {table: _Spelling(self._landing()[stored_name(table)]) for table in tables}
        Load(self._session, self._login, source, spelled).run(batches, run_id)

    def forget(self, source: str, tables: Sequence[str]) -> None:  # noqa: D102
        there = [table for table in tables if stored_name(table) in self._landing()]
        if stored_name(LEDGER) not in self._landing():
            return
        with turn(self._session, source, ""):
            for table in there:
                self.query(f"delete from {landing_table(table)}")
            self.query(f"delete from {landing_table(LEDGER)} where source = ?", [source])

    def tables(self, schema: str) -> list[str]:  # noqa: D102
        found = self.query(
            "select distinct table_name from information_schema.columns where table_schema = ?",
            [stored_name(schema)],
        )
        return sorted(told_name(name) for (name,) in found)

    def count(self, schema: str, table: str) -> int:  # noqa: D102
        return int(self.query(f"select count(*) from {schema}.{quoted(table)}")[0][0])

    def read_through(self, seconds: float) -> bool:  # noqa: D102, ARG002
        # Snowflake keeps its own copies and checks them; to read all would only cost.
        if stored_name(LEDGER) in self._landing():
            self.query(f"select count(*) from {landing_table(LEDGER)}")
        return True

    def digest(  # noqa: D102
        self, schema: str, table: str, leave_out: Collection[str], after: str = ""
    ) -> Digest:
        described = self.query(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = ? and table_name = ?",
            [stored_name(schema), stored_name(table)],
        )
        counted = {told_name(name): kind for name, kind in described if told_name(name) not in leave_out}
        kinds = {name: kind_of(f"{schema}.{table}.{name}", kind) for name, kind in counted.items()}
        where, parameters = ("_batch_id > ?", [after]) if after else ("", [])
        statement = digest_sql(DIALECT, f"{schema}.{quoted(table)}", kinds, where)
        return digest_of(self.query(statement, parameters)[0])

    def _landing(self) -> dict[str, dict[str, str]]:
        """Every landing table with its columns, asked for once."""
        if not self._present:
            found = self.query(
                "select table_name, column_name from information_schema.columns"
                " where table_schema = ? order by table_name, ordinal_position",
                [stored_name(LANDING)],
            )
            for table, column in found:
                self._present.setdefault(table, {})[_folded(told_name(column))] = column
        return self._present

    def _create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table. Transient: the bucket is its backup, and nobody pays for a second one."""
        self.query(f"create schema if not exists {LANDING}")
        body = ", ".join(
            f"{quoted(name)} {TYPES[kind]}{' not null' if name in _NEVER_NULL else ''}"
            for name, kind in columns.items()
        )
        self.query(f"create transient table if not exists {landing_table(table)} ({body})")
        self._present[stored_name(table)] = {_folded(name): stored_name(name) for name in columns}
        if table == LEDGER:
            turns = {"source": TEXT, "load_run_id": TEXT, "taken_at": INSTANT}
            self.widen(TURNS, turns)


class _Spelling(dict[str, str]):
    """How a landing table spells a column, whatever case its name came in."""

    def __init__(self, present: Mapping[str, str]) -> None:
        super().__init__({folded: told_name(stored) for folded, stored in present.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(_folded(name))


def _folded(name: str) -> str:
    """A name as landing compares it: only ASCII letters are the same in both cases."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
