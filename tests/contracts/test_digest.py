"""The canonical digest of a table in DuckDB, type by type; `test_digests` holds every warehouse to the same.

What is expected is written out here by hand and hashed in Python, so that no warehouse is its own judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from groundwork.errors import WarehouseError
from groundwork.warehouses.canonical import Digest, digest_of
from groundwork.warehouses.duckdb import DuckDB, open_duckdb

Open = Callable[[], AbstractContextManager[DuckDB]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return lambda: open_duckdb(tmp_path / "warehouse.duckdb", who="a test")


def expected(rows: Iterable[str]) -> Digest:
    hashed = [hashlib.md5(row.encode(), usedforsecurity=False).hexdigest() for row in rows]
    return digest_of(
        (len(hashed), sum(int(h[:15], 16) for h in hashed), sum(int(h[15:30], 16) for h in hashed))
    )


VALUES = [  # type, expression, canonical text
    ("varchar", "'grüße 💥'", "7:grüße 💥"),
    ("varchar", "''", "0:"),
    ("varchar", "'a;b=1:c'", "7:a;b=1:c"),
    ("bigint", "-120", "4:-120"),
    ("decimal(12,2)", "1.50", "3:1.5"),
    ("decimal(12,2)", "100.00", "3:100"),
    ("decimal(12,2)", "-0.05", "5:-0.05"),
    ("decimal(38,10)", "0", "1:0"),
    ("decimal(38,0)", "1200", "4:1200"),
    ("double", "0.1", "17:1.00000000000e-01"),
    ("double", "-123456789012345", "18:-1.23456789012e+14"),
    ("double", "1e300", "18:1.00000000000e+300"),
    ("double", "0", "17:0.00000000000e+00"),
    ("boolean", "true", "4:true"),
    ("date", "'2026-01-31'", "10:2026-01-31"),
    ("timestamp", "'2026-01-31 23:59:59'", "26:2026-01-31 23:59:59.000000"),
    ("timestamp", "'1969-12-31 00:00:00.000001'", "26:1969-12-31 00:00:00.000001"),
    ("time", "'23:59:59.5'", "15:23:59:59.500000"),
]


@pytest.mark.parametrize(("type_", "expression", "text"), VALUES)
def test_every_type_has_one_text(opened: Open, type_: str, expression: str, text: str) -> None:
    with opened() as warehouse:
        warehouse.widen("t", {"word": "text"})
        warehouse.query(f"create table landing.typed as select cast({expression} as {type_}) as v")
        assert warehouse.digest("landing", "typed", ()) == expected([f"v={text};"])


def test_order_does_not_count_and_every_equal_row_does(opened: Open) -> None:
    with opened() as warehouse:
        warehouse.widen("one", {"a": "text", "b": "text"})
        warehouse.widen("two", {"b": "text", "a": "text"})
        warehouse.query("insert into landing.one values ('1', 'x'), ('2', ''), ('2', null), ('1', 'x')")
        warehouse.query("insert into landing.two values (null, '2'), ('x', '1'), ('x', '1'), ('', '2')")
        digest = warehouse.digest("landing", "one", ())
        assert digest == expected(["a=1:1;b=1:x;", "a=1:2;b=0:;", "a=1:2;", "a=1:1;b=1:x;"])
        assert digest == warehouse.digest("landing", "two", ())
        warehouse.query("insert into landing.two (a, b) values ('1', 'x')")
        assert digest != warehouse.digest("landing", "two", ())


def test_a_value_that_moves_to_its_neighbour_is_another_row(opened: Open) -> None:
    with opened() as warehouse:
        warehouse.widen("one", {"a": "text", "b": "text"})
        warehouse.widen("two", {"a": "text", "b": "text"})
        warehouse.query("insert into landing.one values ('x;b=1:y', null)")
        warehouse.query("insert into landing.two values ('x', 'y')")
        assert warehouse.digest("landing", "one", ()) != warehouse.digest("landing", "two", ())


def test_a_column_nobody_filled_and_one_left_out_change_nothing(opened: Open) -> None:
    with opened() as warehouse:
        warehouse.widen("one", {"a": "text", "_loaded_at": "timestamp"})
        warehouse.query("insert into landing.one (a) values ('1')")
        before = warehouse.digest("landing", "one", ("_loaded_at",))
        warehouse.widen("one", {"new": "text"})
        warehouse.query("insert into landing.one (a, _loaded_at) values ('2', '2026-01-01')")
        warehouse.query("delete from landing.one where a = '2'")
        warehouse.query("update landing.one set _loaded_at = '2026-01-01'")
        assert warehouse.digest("landing", "one", ("_loaded_at",)) == before == expected(["a=1:1;"])
        assert warehouse.digest("landing", "one", ()) != before


def test_the_digests_of_parts_add_up(opened: Open) -> None:
    with opened() as warehouse:
        warehouse.widen("one", {"a": "text", "_batch_id": "text"})
        assert warehouse.digest("landing", "one", ()) == Digest(0, 0, 0)
        warehouse.query("insert into landing.one values ('1', '0000000001'), ('2', '0000000002')")
        early = warehouse.digest("landing", "one", ())
        warehouse.query("insert into landing.one values ('3', '0000000010')")
        late = warehouse.digest("landing", "one", (), after="0000000002")
        assert late.rows == 1
        assert early + late == warehouse.digest("landing", "one", ())


def test_a_table_of_any_name_is_listed_and_a_view_too(opened: Open) -> None:
    with opened() as warehouse:
        assert warehouse.tables("landing") == []
        warehouse.widen("b", {"a b": "text", 'q"x': "text"})
        warehouse.query("create view landing.a as select 1 as n")
        assert warehouse.tables("landing") == ["a", "b"]
        assert warehouse.digest("landing", "a", ()) == expected(["n=1:1;"])
        warehouse.query("insert into landing.b values ('1', '2')")
        assert warehouse.digest("landing", "b", ()) == expected(['a b=1:1;q"x=1:2;'])


def test_a_type_without_a_text_is_told(opened: Open) -> None:
    with opened() as warehouse:
        warehouse.widen("b", {"a": "text"})
        warehouse.query("create table landing.odd as select [1, 2] as pair")
        with pytest.raises(WarehouseError, match=r"landing.odd.pair: has no canonical text"):
            warehouse.digest("landing", "odd", ())
