"""Texts by format or out of variants, instants out of texts, and exact sums.

fakesnow passes over the format of TO_CHAR, has none of TO_NUMBER, leaves strings of variants their quotes,
does not try instants, and sums numbers as floats.
"""

from __future__ import annotations

from typing import Any

from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

_INSTANTS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYY-MM-DD HH24:MI:SS.FF6": "%Y-%m-%d %H:%M:%S.%f",
    "HH24:MI:SS.FF6": "%H:%M:%S.%f",
}
_TRIED = {"TRY_TO_TIMESTAMP_TZ": "timestamptz", "TRY_TO_TIMESTAMP_NTZ": "timestamp"}


def install() -> None:
    """Translate them before fakesnow does."""
    transform = FakeSnowflakeCursor._transform

    def formatted(self: Any, expression: Any, params: Any) -> Any:
        return transform(self, expression.transform(_translated), params)

    FakeSnowflakeCursor._transform = formatted


def _translated(node: Any) -> Any:
    """One node; what takes its place is not looked into any more, so what is in it comes first."""
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.GetExtract) and node.is_type("varchar"):
        return _text_of_variant(node.this)
    if isinstance(node, exp.Anonymous) and node.name.upper() in _TRIED:
        kind = _TRIED[node.name.upper()]
        return exp.TryCast(this=node.expressions[0].transform(_translated), to=exp.DataType.build(kind))
    if isinstance(node, exp.ConvertTimezone) and not node.args.get("source_tz"):
        return _call("timezone", node.args["target_tz"], node.args["timestamp"].transform(_translated))
    if not isinstance(node, (exp.ToChar, exp.ToNumber, exp.Sum)):
        return node
    node = node.copy()
    node.set("this", node.this.transform(_translated))
    told = node.args.get("format").name if isinstance(node.args.get("format"), exp.Literal) else ""
    if isinstance(node, exp.ToChar) and told in _INSTANTS:
        return _call("strftime", node.this, _INSTANTS[told])
    if isinstance(node, exp.ToChar) and told.lower().endswith("ee"):
        digits = told.lower().rstrip("e").partition(".")[2]
        return _call("format", exp.Literal.string(f"{{:.{len(digits)}e}}"), node.this)
    if isinstance(node, exp.ToNumber) and told and not told.strip("X"):
        digits = exp.DPipe(this=exp.Literal.string("0x"), expression=node.this)
        return exp.cast(digits, "bigint", dialect="duckdb")
    if isinstance(node, exp.Sum):
        return _call("sum", node.this)  # DuckDB's: exact for whole numbers and decimals, as Snowflake's
    return node


def _text_of_variant(node: Any) -> Any:
    """A string within a variant loses its quotes when it is made a text."""
    path = ""
    while isinstance(node, exp.GetExtract):
        name = node.expression.this.replace("\\", "\\\\").replace('"', '\\"')
        path, node = f'."{name}"{path}', node.this
    return _call("json_extract_string", node.transform(_translated), f"${path}")


def _call(name: str, *given: Any) -> Any:
    arguments = [exp.Literal.string(value) if isinstance(value, str) else value for value in given]
    return exp.Anonymous(this=name, expressions=arguments)
