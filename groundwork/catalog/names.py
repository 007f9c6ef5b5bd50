"""Names in the catalog: which are allowed, which are reserved, and which two cannot be told apart.

Two names clash as soon as one tool takes them for one: DuckDB ignores the case of ASCII letters, Snowflake
folds plain names to upper case, dbt compares column names in lower case, and canonically equivalent Unicode
looks the same everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
"""Names of sources and streams: they become names of files, tables, models and replication slots."""

LONGEST_COLUMN = 255
"""Letters; the longest identifier of Snowflake (Snowflake, "Identifier requirements")."""

RESERVED_SOURCES = {
    "ledger": "dbt's name for the record of loaded batches",
    "account_usage": "dbt's name for Snowflake's own figures",
    "artifacts": "where the bucket keeps what is of no source",
    "doctor": "where doctor tries the bucket",
}
"""Names that are taken in the dbt project or in the bucket, and by what."""

RESERVED_COLUMNS = frozenset(
    """
    _operation _sequence _unchanged _committed_at _extracted_at _stored_at _loaded_at _batch_id _file _row
    _run_id _request _cast_failures _built_at
    """.split()  # noqa: SIM905 - a list of words reads better so
)
"""What landing and base add to every row; a source's column cannot have such a name."""

WORKING_COLUMNS = frozenset(
    """
    _age _fate _generation _json _jsons _moved_again_at _moved_at _path _pieces _recency _record _texts _until
    """.split()  # noqa: SIM905
)
"""What the macros of base models add while they work (dbt/macros/landing), and ``_as_1``, ``_as_2`` …"""


def folded(name: str) -> str:
    """What two names that are taken for one have in common (Unicode 3.13, canonical caseless match).

    >>> folded("Größe") == folded("GROSSE"), folded("a") == folded("b")
    (False, False)
    """
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", decomposed.casefold()))


def is_reserved(column: str) -> bool:
    """Whether landing or base have a column of this name, however it is spelled."""
    return folded(column) in RESERVED_COLUMNS


def column_problem(column: str) -> str:
    """Why a declared column cannot have this name; empty when it can."""
    plain = folded(column)
    if not column or '"' in column or "\0" in column:
        return "a name that is empty, or holds a double quote or NUL, cannot pass dbt"
    if len(column) > LONGEST_COLUMN:
        return f"a warehouse takes names of {LONGEST_COLUMN} letters at most, this one has {len(column)}"
    if plain in RESERVED_COLUMNS:
        return "is a name that landing gives to a column of its own"
    if plain in WORKING_COLUMNS or re.fullmatch(r"_as_\d+", plain):
        return "is a name that the macros of base models use for a column of their own"
    return ""


def alike(names: Iterable[str]) -> str:
    """Says which two names cannot be told apart; empty when all can."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(folded(name), name)
        if other != name:
            same = other.lower() == name.lower()
            how = "in upper and lower case" if same else "in how Unicode spells the same letters"
            return f"columns '{other}' and '{name}' differ {how} only"
    return ""


def table_of(source: str, stream: str) -> str:
    """The name of a stream's table in landing."""
    return f"{source}__{stream}"


def one_table(sources: Mapping[str, Iterable[str]]) -> tuple[str, str, str] | None:
    """A landing table that two streams would share, and these two as ``source.stream``; None when none is.

    >>> one_table({"a__b": ["c"], "a": ["b__c"]})
    ('a__b__c', 'a__b.c', 'a.b__c')
    """
    owners: dict[str, str] = {}
    for source, streams in sources.items():
        for stream in streams:
            table, owner = table_of(source, stream), f"{source}.{stream}"
            other = owners.setdefault(table, owner)
            if other != owner:
                return table, other, owner
    return None
