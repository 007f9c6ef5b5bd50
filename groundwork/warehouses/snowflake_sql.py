"""Snowflake's spelling: names, texts, and the COPY that lands objects.

A plain lower-case name is stored in upper case, as Snowflake does with every name that is not quoted, so
people and dbt need no quotes; any other name is stored as it is. dbt/macros/portable/column_name.sql has the
same rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from groundwork.manifest import REWRITTEN, Manifest
from groundwork.warehouses import INSTANT, LANDING, LANDING_METADATA, TEXT, WHOLE, LandingObject

TYPES = {TEXT: "varchar", INSTANT: "timestamp_ntz(6)", WHOLE: "bigint"}
FILES_PER_COPY = 250
"""Files that one statement names: Snowflake allows 1000, but its text must stay below a megabyte."""

OBJECT = "_object"
"""Column of a temporary table: the file a row came from."""
_KEPT = {name: TYPES[kind] for name, kind in LANDING_METADATA.items() if name != "_loaded_at"}

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_STORED_PLAIN = re.compile(r"[A-Z_][A-Z0-9_]*")


def stored_name(name: str) -> str:
    """A name as Snowflake keeps it."""
    return name.upper() if _PLAIN.fullmatch(name) else name


def told_name(stored: str) -> str:
    """A name as the platform has it, from what Snowflake keeps."""
    return stored.lower() if _STORED_PLAIN.fullmatch(stored) else stored


def quoted(name: str) -> str:
    """An identifier, whatever it holds."""
    return '"' + stored_name(name).replace('"', '""') + '"'


def landing_table(table: str) -> str:
    """A table of the landing schema."""
    return f"{LANDING}.{quoted(table)}"


def literal(text: str) -> str:
    """A text; the backslash is an escape in Snowflake's."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def instant(value: datetime) -> str:
    """An instant, UTC without zone."""
    return f"{literal(value.replace(tzinfo=None).isoformat(' '))}::timestamp_ntz(6)"


@dataclass(frozen=True)
class StagedFile:
    """One object on its way into a table: what it is, of which batch, and how its stage names it."""

    arriving: LandingObject
    batch: Manifest
    name: str
    """Below the stage."""
    filename: str
    """What METADATA$FILENAME will say."""


def in_bucket(arriving: LandingObject, batch: Manifest) -> StagedFile:
    """An object where it is: the stage's URL is the bucket's."""
    # METADATA$FILENAME of an external stage is the path within the bucket, with the stage's own prefix.
    path = unquote(urlsplit(arriving.url).path).lstrip("/")
    return StagedFile(arriving, batch, arriving.stored.key, path)


def copy_statement(
    table: str,
    columns: Mapping[str, str],
    files: Sequence[StagedFile],
    stage: str,
    loaded_at: datetime,
    *,
    purge: bool,
) -> str:
    r"""COPY INTO for some objects of one stream, of one or several batches.

    Args:
        table: the landing table.
        columns: which column of the table takes which field of the files.
        files: what to load; at most `FILES_PER_COPY`.
        stage: where they are.
        loaded_at: the load's instant, UTC.
        purge: remove the files from the stage afterwards.

    FORCE, because what is loaded is for our ledger to say: Snowflake remembers files for 64 days, by name.
    NULL_IF is empty, because its default makes a null of the text ``\N``.
    """
    values = _fields(columns)
    values["_stored_at"] = _per_file(files, [instant(file.batch.stored_at) for file in files])
    values["_loaded_at"] = instant(loaded_at)
    values["_batch_id"] = _per_file(files, [literal(file.batch.name) for file in files])
    values["_file"] = _per_file(files, [literal(file.arriving.stored.key) for file in files])
    values["_row"] = "metadata$file_row_number - 1"
    values["_run_id"] = _per_file(files, [literal(file.batch.run_id) for file in files])
    targets = ", ".join(quoted(columns.get(name, name)) for name in values)
    return _copy(table, targets, ", ".join(values.values()), files, stage, purge)


def temporary_statement(table: str, columns: Iterable[str]) -> str:
    """CREATE TEMPORARY TABLE for rewritten objects as they are, each row with its object's name."""
    body = dict.fromkeys(columns, TYPES[TEXT]) | _KEPT
    listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in body.items())
    return f"create or replace temporary table {landing_table(table)} ({listed}, {quoted(OBJECT)} varchar)"


def copy_whole_statement(
    table: str, columns: Iterable[str], files: Sequence[StagedFile], stage: str, *, purge: bool
) -> str:
    """COPY INTO for rewritten objects, which bring all that landing knows of their rows."""
    values = _fields(columns) | {name: f"get($1, '{name}')::{_KEPT[name]}" for name in REWRITTEN}
    values[OBJECT] = "metadata$filename"
    return _copy(table, ", ".join(map(quoted, values)), ", ".join(values.values()), files, stage, purge)


def take_statement(table: str, columns: Mapping[str, str], temporary: str, loaded_at: datetime) -> str:
    """INSERT of rows of rewritten objects; the caller says which."""
    names = dict(columns) | dict.fromkeys(_KEPT, "")
    into = ", ".join(quoted(spelled or name) for name, spelled in names.items())
    values = ", ".join(map(quoted, names))
    return (
        f"insert into {landing_table(table)} ({into}, _loaded_at)"
        f" select {values}, {instant(loaded_at)} from {landing_table(temporary)}"
    )


def _fields(columns: Iterable[str]) -> dict[str, str]:
    """What the rows of every object bring."""
    values = {name: f"get($1, {literal(name)})::varchar" for name in columns}
    brought = (name for name in _KEPT if name not in REWRITTEN)
    return values | {name: f"get($1, '{name}')::{_KEPT[name]}" for name in brought}


def _copy(table: str, targets: str, values: str, files: Sequence[StagedFile], stage: str, purge: bool) -> str:
    return (
        f"copy into {landing_table(table)} ({targets})\n"
        f"from (select {values}\nfrom @{stage})\n"
        f"files = ({', '.join(literal(file.name) for file in files)})\n"
        "file_format = (type = parquet use_logical_type = true binary_as_text = false null_if = ())\n"
        f"on_error = abort_statement force = true{' purge = true' if purge else ''}"
    )


def _per_file(files: Sequence[StagedFile], values: Iterable[str]) -> str:
    """One value for all files where it is the same, else by the file a row came from."""
    pairs = list(zip(files, values, strict=True))
    if len({value for _, value in pairs}) == 1:
        return pairs[0][1]
    cases = " ".join(f"when {literal(file.filename)} then {value}" for file, value in pairs)
    return f"case metadata$filename {cases} end"
