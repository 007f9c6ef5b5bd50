"""Numbers in records on Snowflake: every digit stays, at any depth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundwork.warehouses import LANDING_METADATA, TEXT
from groundwork.warehouses.snowflake import open_snowflake
from tests.integration.test_json_numbers import (
    EDGES,
    LIKE_MARKS,
    NAMES,
    Number,
    landed_columns,
    matches,
    written,
)
from tests.snowflake.account import Account
from tests.snowflake.comparing import dbt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("GROUNDWORK_TEST_SNOWFLAKE"), reason="make test-snowflake"),
]


def test_numbers_keep_their_digits_on_snowflake(new_account: Callable[..., Account], tmp_path: Path) -> None:
    account = new_account()
    numbers, strings = [Number(one) for one in EDGES], LIKE_MARKS
    records: list[dict[str, Any]] = [
        dict.fromkeys(NAMES, value) for value in [*numbers, *strings, True, None]
    ]
    records += [
        {"a": [number, {text: [number, text]}], "=b": text, "1.50": number}
        for number, text in zip(numbers, strings, strict=False)
    ]
    environment = {"GROUNDWORK_WAREHOUSE": "snowflake", **account.login.dbt_environment("{}")}
    inline = f"{{{{ landed('landing.numbers', [], {landed_columns()!r}, 'true') }}}}"
    sql = dbt(environment, tmp_path, "compile", "--quiet", "--inline", inline)
    with open_snowflake(account.login, who="test") as warehouse:
        warehouse.widen("numbers", {"record": TEXT, "_request": TEXT, **LANDING_METADATA})
        for number, record in enumerate(records):
            text = written(record, " ", escaped=number % 2 == 0)
            warehouse.query(
                "insert into landing.numbers (record, _row, _batch_id, _file) select ?, ?, '1', 'f'",
                [text, number],
            )
        rows = warehouse.query(f"select * from ({sql}) as found order by _row")
    wrong = [
        (record, name, row)
        for record, row in zip(records, rows, strict=True)
        for at, name in enumerate(NAMES)
        if not matches(record.get(name), row[at], row[at + len(NAMES)])
    ]
    assert wrong == []
