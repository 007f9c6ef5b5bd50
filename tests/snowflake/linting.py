"""Whether a statement is Snowflake's: its grammar as sqlfluff has it, and functions that Snowflake has.

The emulator also runs what only DuckDB knows, so everything it was sent is looked at once more here. sqlfluff
knows grammar, not meaning; sqlglot was tried and takes too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from sqlfluff.core import FluffConfig, Linter

# Names that statements of ours call, kept by hand: one that is missing here is to be looked up in Snowflake's
# function reference before it is added.
FUNCTIONS = frozenset(
    """
    abs avg cast coalesce contains convert_timezone count current_timestamp dateadd datediff date_trunc get
    get_path greatest lag last_value lead least left length listagg lower ltrim max md5 min nullif position
    regexp_like regexp_replace repeat replace right round row_number rtrim split_part sum substr substring
    sysdate to_char to_date to_json to_number to_timestamp_ntz to_varchar translate trim try_cast
    try_parse_json try_to_timestamp_ntz try_to_timestamp_tz upper chr floor ceil mod current_role
    current_warehouse current_database current_schema any_value iff array_agg first_value sign try_to_number
    to_timestamp dayofweek extract sha2 hash concat concat_ws bool_or boolor_agg booland_agg median
    """.split()  # noqa: SIM905
)
_TYPES = frozenset("number decimal numeric varchar timestamp_ntz timestamp_tz char float in values".split())  # noqa: SIM905
_COMMENTED = re.compile(r"/\*.*?\*/", re.DOTALL)
_TEXT = re.compile(r"\$\$.*?\$\$|'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_BOUND = re.compile(r"(?<=[\s(=,])\?(?=[\s),]|$)")
"""A value that is sent beside the statement."""
_NOT_IN_THE_GRAMMAR = re.compile(r"\s+null_if = \(\)", re.IGNORECASE)
"""An empty list, which Snowflake's manual has (COPY INTO, formatTypeOptions) and sqlfluff does not know."""

_linter = Linter(
    config=FluffConfig(overrides={"dialect": "snowflake", "templater": "raw"}, ignore_local_config=True)
)
_KEYWORDS = frozenset(
    _linter.config.get("dialect_obj").sets("reserved_keywords")
    | _linter.config.get("dialect_obj").sets("unreserved_keywords")
)
_NAME = re.compile(r'"[^"]*"|\b[A-Za-z_][\w$]*\b(?!\s*\()')


def shape(sql: str) -> str:
    """A statement without its values and names, so that each kind is looked at once.

    Words of the grammar stay, and so do names that are called; a list of names is as long as any other.
    """
    bare = _TEXT.sub("'x'", _COMMENTED.sub(" ", sql))
    bare = re.sub(r"\b\d+\b", "1", bare)
    named = _NAME.sub(lambda found: found[0] if found[0].upper() in _KEYWORDS else "x", bare)
    return re.sub(r"\bx( as x)?(, x( as x)?)+\b", "x, x", " ".join(named.split()))


def complaints(sql: str) -> list[str]:
    """What is not Snowflake's in some statements, nothing when all is."""
    known = _NOT_IN_THE_GRAMMAR.sub("", _BOUND.sub("null", sql))
    parsed = _linter.parse_string(known if known.rstrip().endswith(";") else f"{known};")
    told = [violation.desc()[:200] for violation in parsed.violations]
    if parsed.tree is None:
        return told or ["no statement"]
    for name in parsed.tree.recursive_crawl("function_name"):
        called = name.raw.lower().strip('"')
        if called not in FUNCTIONS | _TYPES and "." not in called:
            told.append(f"{called}() is not among the functions known of Snowflake")
    return told


def complaints_about(statements: Iterable[str]) -> dict[str, list[str]]:
    """The same for many statements, by their shapes."""
    shapes = {shape(statement): statement for statement in statements}
    with ProcessPoolExecutor() as pool:
        found = pool.map(complaints, shapes.values())
        return {told: complaint for told, complaint in zip(shapes, found, strict=True) if complaint}
