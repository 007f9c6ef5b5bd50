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

from groundwork.manifest import Manifest
from groundwork.warehouses import INSTANT, LANDING, TEXT, WHOLE, LandingObject

TYPES = {TEXT: "varchar", INSTANT: "timestamp_ntz(6)", WHOLE: "bigint"}
FILES_PER_COPY = 250
"""Files that one statement names: Snowflake allows 1000, but its text must stay below a megabyte."""

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
    values = {name: f"get($1, {literal(name)})::varchar" for name in columns}
    values |= {name: f"get($1, '{name}')::varchar" for name in ("_operation", "_sequence", "_unchanged")}
    values |= {name: f"get($1, '{name}')::timestamp_ntz(6)" for name in ("_committed_at", "_extracted_at")}
    values["_stored_at"] = _per_file(files, [instant(file.batch.stored_at) for file in files])
    values["_loaded_at"] = instant(loaded_at)
    values["_batch_id"] = _per_file(files, [literal(file.batch.name) for file in files])
    values["_file"] = _per_file(files, [literal(file.arriving.stored.key) for file in files])
    values["_row"] = "metadata$file_row_number - 1"
    values["_run_id"] = _per_file(files, [literal(file.batch.run_id) for file in files])
    targets = ", ".join(quoted(columns.get(name, name)) for name in values)
    return (
        f"copy into {landing_table(table)} ({targets})\n"
        f"from (select {', '.join(values.values())}\nfrom @{stage})\n"
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
