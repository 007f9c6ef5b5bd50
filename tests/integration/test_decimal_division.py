"""Division in models: decimals, exact, rounded half away from zero."""

from __future__ import annotations

import random
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import pytest

from tests.landing import ROOT, Dbt


def quotient(dividend: Decimal, divisor: Decimal, digits: int) -> Decimal | None:
    return (dividend / divisor).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP) if divisor else None


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The macro's SQL over the columns ``n`` and ``d``, by digits."""
    place = tmp_path_factory.mktemp("division")
    inline = " ".join(f"|{{{{ decimal_division('n', 'd', {digits}) }}}}" for digits in (0, 2, 4))
    printed = Dbt(place / "none.duckdb", place)("compile", "--quiet", "--inline", f"{inline}|")
    return dict(zip((0, 2, 4), printed.split("|")[1:4], strict=True))


@pytest.mark.parametrize("digits", [0, 2, 4])
def test_quotients_are_those_of_decimal_arithmetic(
    compiled: dict[int, str], digits: int, tmp_path: Path
) -> None:
    chance = random.Random(20261128)
    rates = [Decimal(f"1.{rate:04}") for rate in (0, 500, 700, 1900, 2000, 2100, 2550)]
    pairs = [(Decimal(cents) / 100, chance.choice(rates)) for cents in range(-20_000, 80_000)]
    pairs += [
        (
            Decimal(chance.randrange(-(10**14), 10**14)) / 100,
            Decimal(chance.randrange(-(10**6), 10**6)) / 10**4,
        )
        for _ in range(100_000)
    ]
    pairs += [
        (Decimal("9999999999999999.99"), Decimal("0.0001")),
        (Decimal(5), Decimal(0)),
        (Decimal(0), Decimal(3)),
    ]
    with duckdb.connect() as connection:
        connection.execute("create table pairs (i integer, n decimal(18, 2), d decimal(12, 4))")
        lines = [f"{i},{n},{d}" for i, (n, d) in enumerate(pairs)]
        (tmp_path / "pairs.csv").write_text("\n".join(lines))
        connection.execute(f"copy pairs from '{tmp_path / 'pairs.csv'}' (header false)")
        found = connection.execute(f"select {compiled[digits]} from pairs order by i").fetchall()
    wrong = [
        (pair, got, right)
        for pair, (got,) in zip(pairs, found, strict=True)
        if got != (right := quotient(*pair, digits))
    ]
    assert wrong == []


def test_whole_numbers_and_sums_divide_too(compiled: dict[int, str]) -> None:
    with duckdb.connect() as connection:
        of = (
            "(select sum(v) as n, count(*) as d from (values (1.25::decimal(18, 2)), (0.00), (0.75)) as t(v))"
        )
        assert connection.execute(f"select {compiled[2]} from {of}").fetchall() == [(Decimal("0.67"),)]
        of = "(select 1::bigint as n, 3::bigint as d)"
        assert connection.execute(f"select {compiled[4]} from {of}").fetchall() == [(Decimal("0.3333"),)]
        of = "(select null::decimal(18, 2) as n, 3 as d)"
        assert connection.execute(f"select {compiled[4]} from {of}").fetchall() == [(None,)]


def test_models_divide_by_the_macro_only() -> None:
    """A bare ``/`` is a division of doubles on DuckDB; ``avg`` is one too."""
    bare = re.compile(r"/|\bavg\s*\(|\bdiv0(null)?\s*\(", re.IGNORECASE)
    for path in sorted(Path(ROOT / "dbt/models").rglob("*.sql")):
        sql = re.sub(r"\{#.*?#\}|--[^\n]*|'[^'\n]*'", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not bare.search(sql), path.name
