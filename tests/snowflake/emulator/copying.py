"""COPY INTO a table, as the platform writes it: Parquet, named files, a transformation, metadata columns.

Whatever is not covered raises; nothing is passed over in silence. What is emulated beside the rows, because
our statements depend on it: files that were loaded before are skipped unless FORCE, texts in NULL_IF become
null (``\\N`` unless the option says otherwise), instants need USE_LOGICAL_TYPE, names within ``$1`` are case
sensitive, and one statement loads all of its files or none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from snowflake.connector import errors
from sqlglot import exp

from tests.snowflake.emulator import stages

_LOADED = "_fs_information_schema.loaded_files"
_METADATA = ("METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER")
_ROW_NUMBER, _READ = "emulated row number", "emulated_file"


@dataclass
class Options:
    """What a COPY says after its source."""

    files: list[str] = field(default_factory=list)
    force: bool = False
    purge: bool = False
    null_if: list[str] = field(default_factory=lambda: ["\\N"])
    logical: bool = False


def refused(message: str, number: int = 9998, state: str = "0A000") -> errors.ProgrammingError:
    """An error as Snowflake tells it."""
    return errors.ProgrammingError(msg=f"SQL compilation error:\n{message}", errno=number, sqlstate=state)


def copy_into(cursor: Any, copy: Any) -> Any:
    """Load the files of one statement, all or none; the answer has a row per file."""
    target = copy.this.this if isinstance(copy.this, exp.Schema) else copy.this
    if not isinstance(target, exp.Table) or isinstance(target.this, exp.Var):
        raise refused("COPY INTO <location> is not emulated")
    columns = [_name(c) for c in copy.this.expressions] if isinstance(copy.this, exp.Schema) else []
    source = copy.args["files"][0]
    if not (columns and isinstance(source, exp.Subquery)):
        raise refused("only COPY with columns and a transformation is emulated")
    select, options = source.this, _options(copy)
    for clause in ("where", "group", "order", "limit", "joins", "qualify", "distinct"):
        if select.args.get(clause):
            raise refused(
                f"COPY statement only supports simple SELECT from stage statements ({clause})", 2138
            )
    if len(select.expressions) != len(columns):
        raise refused(f"expecting {len(columns)} values but got {len(select.expressions)}", 2057, "42601")
    stage = stages.resolve(cursor, select.args["from_"].this.this.this)
    return _loaded(cursor, _Target.of(cursor, target), columns, select, stage, options)


@dataclass
class _Target:
    database: str
    schema: str
    table: str

    @classmethod
    def of(cls, cursor: Any, table: Any) -> _Target:
        session = cursor._conn
        database = table.catalog.upper() or session.database
        return cls(database, table.db.upper() or session.schema, _name(table.this))

    @property
    def sql(self) -> str:
        return ".".join(map(_quoted, (self.database, self.schema, self.table)))

    @property
    def ledger(self) -> str:
        return f"{_quoted(self.database)}.{_LOADED}"


def _loaded(
    cursor: Any, target: _Target, columns: list[str], select: Any, stage: stages.Stage, options: Options
) -> Any:
    duck = cursor._duck_conn
    types = {name: kind for name, kind, *_ in duck.execute(f"DESCRIBE {target.sql}").fetchall()}
    if unknown := [name for name in columns if name not in types]:
        raise refused(f"invalid identifier '{unknown[0]}'", 904, "42000")
    own = not cursor._conn.__dict__.get("in_transaction", False)
    if own:
        duck.execute("BEGIN")
    answers: list[tuple[Any, ...]] = []
    current = ""
    try:
        duck.execute(
            f"CREATE TABLE IF NOT EXISTS {target.ledger} (target VARCHAR, file VARCHAR, state VARCHAR)"
        )
        for file in options.files:
            current = stage.filename(file)
            entry = [target.sql, stage.told(file), stage.state(file)] if not options.force else None
            known = f"SELECT 1 FROM {target.ledger} WHERE target = ? AND file = ? AND state = ?"
            if entry and duck.execute(known, entry).fetchone():
                answers.append((stage.told(file), "LOAD_SKIPPED", 0, 0, 1, "File was loaded before."))
                continue
            read = stage.read(file)
            count = _insert(cursor, target, columns, types, select, read, stage.filename(file), options)
            duck.execute(
                f"INSERT INTO {target.ledger} VALUES (?, ?, ?)",
                [target.sql, stage.told(file), stage.state(file)],
            )
            answers.append((stage.told(file), "LOADED", count, count, 0, None))
        if own:
            duck.execute("COMMIT")
    except BaseException as error:
        if own:
            duck.execute("ROLLBACK")
        if isinstance(error, (duckdb.BinderException, duckdb.CatalogException)):
            raise refused(str(error).splitlines()[0], 904, "42000") from error
        if isinstance(error, (duckdb.Error, pa.ArrowInvalid)):
            raise errors.ProgrammingError(
                msg=f"Error parsing the parquet file: {str(error).splitlines()[0]} File '{current}'",
                errno=100183,
                sqlstate="22000",
            ) from error
        raise
    if options.purge:
        for file in options.files:
            stage.purge(file)
    return _answer(answers)


def _insert(
    cursor: Any, target: _Target, columns: list[str], types: dict[str, str], select: Any, read: Any,
    filename: str, options: Options,
) -> int:  # fmt: skip
    numbered = read.append_column(_ROW_NUMBER, pa.array(range(1, read.num_rows + 1), pa.int64()))
    metadata = {
        _METADATA[0]: exp.Literal.string(filename),
        _METADATA[1]: exp.column(_ROW_NUMBER, quoted=True),
    }
    values = []
    for name, expression in zip(columns, select.expressions, strict=True):
        holder = exp.Paren(this=expression.copy())
        for node in list(holder.find_all(exp.GetExtract, exp.JSONExtract)):
            node.replace(_field(node, read.schema, options))
        if holder.find(exp.Parameter):
            raise refused("only fields of $1 are emulated")
        for column in list(holder.find_all(exp.Column)):
            if column.name.upper() in metadata and not column.this.quoted:
                column.replace(metadata[column.name.upper()].copy())
        sql = (
            cursor._transform(exp.select(holder.this.copy()), None)
            .sql(dialect="duckdb")
            .removeprefix("SELECT ")
        )
        values.append(f"CAST({sql} AS {types[name]})")
    duck = cursor._duck_conn
    duck.register(_READ, numbered)
    try:
        names = ", ".join(map(_quoted, columns))
        done = duck.execute(f"INSERT INTO {target.sql} ({names}) SELECT {', '.join(values)} FROM {_READ}")
        return int(done.fetchall()[0][0])
    finally:
        duck.unregister(_READ)


def _field(node: Any, schema: pa.Schema, options: Options) -> Any:
    """A field of the row: null when the file has none of that very name."""
    if not isinstance(node.this, exp.Parameter) or node.this.name != "1":
        raise refused("only $1 has fields")
    name = node.expression.this if isinstance(node, exp.GetExtract) else node.expression.expressions[-1].this
    if name not in schema.names:
        return exp.Null()
    column, kind = exp.column(name, quoted=True), schema.field(name).type
    if pa.types.is_timestamp(kind) and not options.logical:
        raise refused("an instant without USE_LOGICAL_TYPE = TRUE is a number")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        for text in options.null_if:
            column = exp.Nullif(this=column, expression=exp.Literal.string(text))
    return column


def _options(copy: Any) -> Options:
    options = Options()
    for parameter in copy.args.get("params") or []:
        name, value = parameter.this.name.upper(), parameter.args.get("expression")
        if name == "FILES":
            options.files = [literal.name for literal in parameter.find_all(exp.Literal)]
        elif name in ("FORCE", "PURGE"):
            setattr(options, name.lower(), str(value.name or value.this).upper() == "TRUE")
        elif name == "ON_ERROR" and value.name.upper() == "ABORT_STATEMENT":
            continue
        elif name == "FILE_FORMAT" and parameter.expressions:
            _format(parameter.expressions, options)
        else:
            raise refused(f"{name} = {value} is not emulated")
    if not options.files or len(options.files) > 1000:
        raise refused(f"FILES with {len(options.files)} names is not allowed (1 to 1000)", 1006, "22023")
    return options


def _format(properties: list[Any], options: Options) -> None:
    for found in properties:
        name, value = found.this.name.upper(), found.args.get("value")
        if name == "TYPE" and value.name.upper() == "PARQUET":
            continue
        if name == "USE_LOGICAL_TYPE":
            options.logical = bool(value.this)
        elif name == "NULL_IF":
            options.null_if = [literal.name for literal in value.find_all(exp.Literal)]
        elif name not in ("BINARY_AS_TEXT", "TRIM_SPACE", "REPLACE_INVALID_CHARACTERS") or value.this:
            raise refused(f"the format option {name} = {value} is not emulated")


def _answer(rows: list[tuple[Any, ...]]) -> Any:
    values = ", ".join(
        f"({_literal(file)}, '{status}', {parsed}, {loaded}, 1, {seen},"
        f" {_literal(first) if first else 'NULL'})"
        for file, status, parsed, loaded, seen, first in rows
    )
    columns = ("file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen", "first_error")
    names = ", ".join(map(_quoted, columns))
    return sqlglot.parse_one(f"SELECT {names} FROM (VALUES {values}) AS t({names})", read="duckdb")


def forget_loads(cursor: Any, truncate: Any) -> None:
    """TRUNCATE forgets which files were loaded; DELETE does not."""
    target = _Target.of(cursor, truncate.find(exp.Table))
    try:
        cursor._duck_conn.execute(f"DELETE FROM {target.ledger} WHERE target = ?", [target.sql])
    except duckdb.CatalogException:
        return


def _name(identifier: Any) -> str:
    return str(identifier.name if identifier.args.get("quoted") else identifier.name.upper())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
