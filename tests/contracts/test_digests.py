"""The canonical digest is the same in every warehouse: reckoned here in plain Python, as its page says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from groundwork.errors import WarehouseError
from tests.contracts.places import PLACES, Place

COLUMNS = {
    "id": "bigint", "note": "varchar", "price": "decimal(18, 4)", "ratio": "double", "is_paid": "boolean",
    "day": "date", "paid_at": "timestamp", "Odd \\ name": "varchar",
}  # fmt: skip
ROWS: list[tuple[Any, ...]] = [
    (1, "", Decimal("0.5000"), 0.1, True, date(2026, 1, 31), datetime(2026, 1, 31, 23, 59, 59), "a'b\\c"),
    (-20, "ümläut 💥", Decimal("-12.0000"), -1.5e-7, False, date(1, 1, 1),
     datetime(1970, 1, 1, 0, 0, 0, 1), None),
    (9007199254740993, "a", Decimal("99999999999999.9999"), 1e100, None, None, None, "\\N"),
    (0, "0.10", Decimal("100.0000"), 0.0, None, None, None, None),
    (None, None, None, None, None, None, None, None),
]  # fmt: skip


@pytest.fixture(params=PLACES[:2], ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made_for: Callable[[Path, pytest.FixtureRequest], Place] = request.param
    return made_for(tmp_path, request)


def canonical(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, float):
        return f"{value:.11e}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond:06d}"
    return value.isoformat() if isinstance(value, date) else str(value)


def reckoned(rows: list[tuple[Any, ...]], names: list[str]) -> tuple[int, str]:
    halves = [0, 0]
    for row in rows:
        cells = {name.lower(): canonical(v) for name, v in zip(names, row, strict=True) if v is not None}
        text = "".join(f"{name}={len(cells[name])}:{cells[name]};" for name in sorted(cells))
        hashed = hashlib.md5(text.encode()).hexdigest()
        halves = [halves[0] + int(hashed[:15], 16), halves[1] + int(hashed[15:30], 16)]
    return len(rows), "".join(f"{half % 16**15:015x}" for half in halves)


def literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return f"timestamp '{value}'"
    return f"date '{value}'" if isinstance(value, date) else str(value)


def fill(warehouse: Any, rows: list[tuple[Any, ...]]) -> None:
    """Texts as parameters, since the warehouses escape them differently."""
    quoted = [f'"{name}"' if " " in name else name for name in COLUMNS]
    for row in rows:
        given = [value for value in row if isinstance(value, str)]
        values = ["?" if isinstance(value, str) else literal(value) for value in row]
        warehouse.query(f"insert into staging.things ({', '.join(quoted)}) select {', '.join(values)}", given)


def test_the_digest_of_every_type_is_as_its_page_says(place: Place) -> None:
    body = ", ".join(f'"{n}" {t}' if " " in n else f"{n} {t}" for n, t in COLUMNS.items())
    with place.open() as warehouse:
        assert warehouse.tables("staging") == []
        warehouse.query("create schema staging")
        warehouse.query(f"create table staging.things ({body})")
        fill(warehouse, ROWS)
        warehouse.query("create view staging.a_view as select id, note from staging.things")
        assert warehouse.tables("staging") == ["a_view", "things"]
        assert warehouse.count("staging", "things") == len(ROWS)
        for rows, names, leave_out in (
            (ROWS, list(COLUMNS), []),
            ([(row[0], row[1]) for row in ROWS], ["id", "note"], list(COLUMNS)[2:]),
        ):
            found = warehouse.digest("staging", "things", leave_out)
            assert (found.rows, found.text) == reckoned(rows, names)
        assert found == warehouse.digest("staging", "a_view", [])


def test_a_type_without_a_canonical_text_is_told(place: Place) -> None:
    with place.open() as warehouse:
        warehouse.query("create schema staging")
        warehouse.query(
            "create table staging.odd (a timestamp_ltz)"
            if place.bucket
            else "create table staging.odd (a blob)"
        )
        with pytest.raises(WarehouseError, match=r"staging.odd.a.*canonical text"):
            warehouse.digest("staging", "odd", [])
