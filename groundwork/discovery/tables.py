"""Drafts of catalog entries for the tables of a live PostgreSQL.

A draft is held against the rules of the catalog and of every run before it is printed: a table that a run
would refuse, and a column that the catalog cannot declare, are left out and named with the reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from groundwork.catalog import PostgresSource
from groundwork.catalog.mistakes import first_mistake
from groundwork.catalog.yaml_text import read_yaml
from groundwork.discovery.drafting import PERSONAL, head
from groundwork.discovery.fitting import catalog_type, stream_names
from groundwork.discovery.relations import Column, Relation, relations, unreadable
from groundwork.errors import CatalogError, SourceError, SourceRefused
from groundwork.escaping import yaml_comment
from groundwork.sources.address import Address
from groundwork.sources.publication import listing
from groundwork.sources.setup import plan
from groundwork.sources.statements import let_use
from groundwork.sources.wire import Connection, quoted

_HEADER = """\
# Drafted by `python -m groundwork discover`. Guesses to look at: what is personal data (pii), the
# types of numeric columns without a precision (text), and everything that says TODO.
# A stream has its table's name in lower-case ASCII letters, digits and single _, cut to 41; a number
# follows where two would be the same.
"""


def discover_postgres(
    url: str, source: str, secret: str, schema: str = "public", slots: Collection[str] = ()
) -> str:
    """Draft ``catalog/<source>.yml`` for the tables of one schema.

    Args:
        url: where the database is.
        source: name for the new source.
        secret: the name under which the URL is kept; the draft names it and never holds it.
        schema: whose tables.
        slots: the names that our own slots can have; every other slot is another consumer's.

    Raises:
        CatalogError: when the source cannot have this name.
        SourceError: when the database cannot be reached, or the schema has no table that can be read.
    """
    where = f"source '{source}'"
    with Connection(Address.parse(url, where), where) as sql:
        version = int(sql.run("select current_setting('server_version_num')")[0][0])
        if sql.parameter("server_encoding") == "SQL_ASCII":
            raise SourceRefused(
                where,
                "the database has no encoding (SQL_ASCII)",
                why="its bytes need not be text",
                fix="convert the database to UTF8",
            )
        draft = _Draft(source, secret, schema, str(sql.run("select current_user")[0][0]))
        _check_schema(sql, schema, where)
        _entry({**draft.document, "streams": {"any": _stream("a.b", "", [], {})}}, source)
        shown = listing(sql, draft.publication, version)
        for relation in relations(sql, schema, version, shown):
            draft.add(relation)
        draft.leave_out_refused(sql, version, slots)
    if not draft.streams and draft.left_out:
        reasons = "; ".join(f"{table}: {why}" for table, why in sorted(draft.left_out.items()))
        raise SourceError(where, f"schema '{schema}' has no table that can be read: {reasons}")
    if not draft.streams:
        raise SourceError(where, f"schema '{schema}' has no table", fix="name another schema")
    return draft.text()


def _check_schema(sql: Connection, schema: str, where: str) -> None:
    """Refuse a schema that is not there, or that the role may not use.

    Raises:
        SourceRefused: with the way out.
    """
    role, usable = sql.run(
        "select current_user,"
        " (select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = :schema)",
        schema=schema,
    )[0]
    if usable is None:
        names = [name for (name,) in sql.run("select nspname from pg_namespace where nspname !~ '^pg_'")]
        close = difflib.get_close_matches(schema, names, n=1)
        raise SourceRefused(
            where, f"there is no schema '{schema}'",
            fix=f"did you mean '{close[0]}'?" if close else f"name one of {', '.join(sorted(names))}",
        )  # fmt: skip
    if not usable:
        raise SourceRefused(
            where,
            f"role {quoted(role)} may not use schema {quoted(schema)}",
            fix=f"run: {let_use(role, schema)}",
        )


class _Draft:
    publication = "groundwork"

    def __init__(self, source: str, secret: str, schema: str, role: str) -> None:
        self.source, self.schema, self.role = source, schema, role
        connection = {"url": {"secret": secret}, "publication": self.publication}
        self.document = head(source, "postgres", "tables of a PostgreSQL database", connection)
        self.left_out: dict[str, str] = {}
        """Tables that are no stream, and why."""
        self.notes: dict[str, list[str]] = {}
        """What is to be said of a table that is a stream."""
        self._streams: dict[str, dict[str, Any]] = {}
        """By table; each gets its name when all are known."""

    @property
    def streams(self) -> dict[str, dict[str, Any]]:
        names = stream_names(self._streams)
        return {names[table]: stream for table, stream in self._streams.items()}

    def add(self, relation: Relation) -> None:
        if why := unreadable(relation, self.schema, self.role):
            self.left_out[relation.name] = why
            return
        columns = {column.name: _column(column) for column in relation.columns if not column.problem}
        key, note = _key(relation, columns)
        self._streams[relation.name] = _stream(
            f"{self.schema}.{relation.name}", relation.comment, key, columns
        )
        self.notes[relation.name] = [*filter(None, [note]), *_notes(relation.columns)]

    def leave_out_refused(self, sql: Connection, version: int, slots: Collection[str]) -> None:
        """Hold the draft against the catalog's rules and against those of the set-up and of every run."""
        while self._streams:
            entry = _entry(read_yaml(self._body()), self.source)
            refused = plan(sql, entry, version, slots).left_out
            if not refused:
                return
            for out in refused:
                table = out.table.removeprefix(f"{self.schema}.")
                self.left_out[table] = f"{out.why}; {out.fix}" if out.fix else out.why
                del self._streams[table], self.notes[table]

    def text(self) -> str:
        return _HEADER + "".join(f"# {yaml_comment(line)}\n" for line in self._comments()) + self._body()

    def _comments(self) -> Iterator[str]:
        yield from (f"left out: {table}: {why}" for table, why in sorted(self.left_out.items()))
        names = stream_names(self._streams)
        for table, notes in self.notes.items():
            yield from (f"{names[table]}: {note}" for note in notes)

    def _body(self) -> str:
        whole = self.document | {"streams": self.streams}
        return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=110)


def _entry(document: Mapping[str, Any], source: str) -> PostgresSource:
    try:
        return PostgresSource.model_validate(document)
    except ValidationError as error:
        raise CatalogError(*first_mistake(Path(f"{source}.yml"), PostgresSource, error)) from error


def _stream(table: str, description: str, key: list[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "table": table,
        "description": description,
        "replication": "log_based",
        "primary_key": key,
        "columns": columns,
    }


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": catalog_type(column.type, column.modifier)}
    entry["description"] = column.comment
    if any(part in column.name.lower() for part in PERSONAL):
        entry["pii"] = True
    return entry


def _key(relation: Relation, columns: Collection[str]) -> tuple[list[str], str]:
    """The stream's key, and what is to be said when the table's own cannot be it."""
    if relation.key and set(relation.key) <= set(columns):
        return list(relation.key), ""
    if relation.key:
        lacking = ", ".join(repr(name) for name in relation.key if name not in columns)
        return [], f"no primary_key, each row is a record: the key has {lacking}, which is left out"
    if relation.deferrable:
        return (
            [],
            "no primary_key, each row is a record: the table's key is deferrable, two rows may share it",
        )
    return [], ""


def _notes(columns: Collection[Column]) -> Iterator[str]:
    for column in columns:
        if column.problem:
            yield f"left out: column {column.name!r}: {column.problem}"
        elif (
            column.modifier >= 4
            and column.is_numeric
            and catalog_type(column.type, column.modifier) == "text"
        ):
            yield f"column {column.name!r} is text: no warehouse has decimals of {column.printed}"
        elif column.domain:
            yield f"column {column.name!r} has the domain {column.domain}, read as {column.printed}"
