"""Numbers in records, at any depth, through the macros of base models: every digit stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundwork.warehouses import INSTANT, LANDING_METADATA, WHOLE
from tests.landing import Dbt

EXAMPLES = int(os.environ.get("GROUNDWORK_TEST_RECORDS", "50"))
"""How many draws of twenty records; `GROUNDWORK_TEST_RECORDS=5000` is the whole."""
NAMES = ("a", "=b", 'c"d', "1.50")
"""The columns; each is read as text and as json."""


class Number(str):
    """A number as its letters."""

    __slots__ = ()


EDGES = ["0", "-0", "-0.0", "2.50", "1234567890123456.789", "123456789012345", "-123456789012345", "0.1"]
EDGES += ["1234567890123456", "0.000001", "0.0000001", "1e5", "1E+2", "1.0", "100", "18446744073709551615"]
EDGES += [
    "18446744073709551616",
    "0.30000000000000004",
    "1e400",
    "5e-324",
    "1.7976931348623157e308",
    "0.1000",
]
NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(EDGES),
).map(Number)
LIKE_MARKS = ["=", "=1", "1.50", '"', '"=', '"2.50":', "\\", '\\"', "\x01", "\x01\x02\x03", "\\u0001", "\x03"]
LIKE_MARKS += [
    '{"a": 1.50}',
    "[1.0, 2e5]",
    "a: 1.50",
    '",1.50,"',
    "null",
    "true",
    "\u2028",
    "😀",
    "\x7f",
    "\ufeff",
]
STRINGS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(LIKE_MARKS),
)
LEAVES = st.one_of(NUMBERS, NUMBERS, STRINGS, st.booleans(), st.none())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, VALUES))
GAPS = st.sampled_from(["", "", " ", "\n\t", "  "])


def written(value: Any, gap: str, escaped: bool) -> str:
    """A value as JSON, with white space, and with few or many escapes."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return f"[{gap}{f'{gap},{gap}'.join(written(one, gap, escaped) for one in value)}{gap}]"
    if isinstance(value, dict):
        pairs = (
            f"{json.dumps(k, ensure_ascii=escaped)}{gap}:{gap}{written(v, gap, escaped)}"
            for k, v in value.items()
        )
        return f"{{{gap}{f'{gap},{gap}'.join(pairs)}{gap}}}"
    text = json.dumps(value, ensure_ascii=escaped)
    return text.replace("/", r"\/") if escaped else text


def read(text: str) -> Any:
    return json.loads(text, parse_int=Number, parse_float=Number)


def kinds(value: Any) -> Any:
    """A value with numbers and strings that cannot be taken for each other."""
    if isinstance(value, list):
        return [kinds(one) for one in value]
    if isinstance(value, dict):
        return {name: kinds(one) for name, one in value.items()}
    return ("number", str(value)) if isinstance(value, Number) else value


def landed_columns() -> list[dict[str, Any]]:
    """The columns as the macro is told them: each name as text, then each as json."""
    pairs = [(kind, number, name) for kind in ("text", "json") for number, name in enumerate(NAMES)]
    return [{"name": f"{kind}_{number}", "type": kind, "path": [name]} for kind, number, name in pairs]


def matches(value: Any, text: str | None, whole: str | None) -> bool:
    """Whether a column read as text, and as json, is the value that stood in the record."""
    if value is None:
        return text is None and whole is None
    as_text = value if isinstance(value, str) and not isinstance(value, Number) else whole
    return whole is not None and kinds(read(whole)) == kinds(value) and text == as_text


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A landing table, and the macro's SQL over it."""
    place = tmp_path_factory.mktemp("numbers")
    inline = f"{{{{ landed('landing_table', [], {landed_columns()!r}, 'true') }}}}"
    sql = Dbt(place / "none.duckdb", place)("compile", "--quiet", "--inline", inline)
    with duckdb.connect() as connection:
        types = {INSTANT: "timestamp", WHOLE: "bigint"}
        metadata = ", ".join(
            f'"{name}" {types.get(kind, "varchar")}' for name, kind in LANDING_METADATA.items()
        )
        connection.execute(f"create table landing_table (record varchar, _request varchar, {metadata})")
        yield connection, sql


def texts(
    warehouse: tuple[duckdb.DuckDBPyConnection, str], records: list[str]
) -> list[tuple[list[str | None], list[str | None]]]:
    """Each record's columns, as text and as json."""
    connection, sql = warehouse
    connection.execute("delete from landing_table")
    connection.register("given", pa.table({"record": records, "_row": range(len(records))}))
    connection.execute("insert into landing_table by name from given")
    rows = connection.execute(f"select * from ({sql}) order by _row").fetchall()
    return [(list(row[: len(NAMES)]), list(row[len(NAMES) : 2 * len(NAMES)])) for row in rows]


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(RECORDS, GAPS, st.booleans()), min_size=20, max_size=20))
def test_numbers_keep_their_digits_at_any_depth(
    warehouse: tuple[duckdb.DuckDBPyConnection, str], drawn: list[tuple[dict[str, Any], str, bool]]
) -> None:
    found = texts(warehouse, [written(record, gap, escaped) for record, gap, escaped in drawn])
    for (record, _, _), (as_text, as_json) in zip(drawn, found, strict=True):
        for name, text, whole in zip(NAMES, as_text, as_json, strict=True):
            assert matches(record.get(name), text, whole)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(RECORDS, GAPS, st.booleans()), min_size=20, max_size=20))
def test_a_value_reads_the_same_whatever_number_is_beside_it(
    warehouse: tuple[duckdb.DuckDBPyConnection, str], drawn: list[tuple[dict[str, Any], str, bool]]
) -> None:
    alone = [written(record, gap, escaped) for record, gap, escaped in drawn]
    beside = [written(record | {"z": Number("1.50")}, gap, escaped) for record, gap, escaped in drawn]
    assert texts(warehouse, alone) == texts(warehouse, beside)


def test_the_amount_of_the_report_stays(warehouse: tuple[duckdb.DuckDBPyConnection, str]) -> None:
    ((as_text, as_json),) = texts(
        warehouse, ['{"a": {"amount":2.50, "big":1234567890123456.789, "note":"2.50"}}']
    )
    assert as_json[0] == as_text[0] == '{"amount":2.50,"big":1234567890123456.789,"note":"2.50"}'
