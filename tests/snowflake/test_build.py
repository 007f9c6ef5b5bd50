"""dbt's whole battery on Snowflake: build with its tests, contracts, unit tests, twice; docs; freshness.

It takes minutes: `make test-snowflake`. Everything that was sent is then held against Snowflake's grammar.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from groundwork.catalog import load_catalog
from groundwork.load import load, prepare
from groundwork.warehouses.snowflake import open_snowflake
from groundwork.warehouses.snowflake_session import Session, query_tag
from tests.integration.test_dbt_build import DAY, order, payment
from tests.snowflake.account import Account
from tests.snowflake.batches import commit
from tests.snowflake.comparing import ROOT, dbt
from tests.snowflake.linting import complaints_about

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        not os.environ.get("GROUNDWORK_TEST_SNOWFLAKE"), reason="minutes: make test-snowflake"
    ),
]
TAG = query_tag("transform", "flow-run-build")
SHOP: dict[str, list[dict[str, Any]]] = {
    "countries": [{"code": "DE", "name": "Germany", "currency": "EUR", "vat_rate": "0.1900"}],
    "customers": [
        {"id": "1", "name": "Zoë O'Hara", "country_code": "DE", "status": "active", "created_at": DAY},
        {"id": "2", "country_code": "DE", "status": "merged", "merged_into_id": "1"},
    ],
    "orders": [order(1, "119.00"), order(2, "50.00", customer_id="2"), order(3, "20.00")],
    "products": [{"id": "1", "sku": "a", "name": "Tea", "price": "5.00", "cost": "2.00"}],
    "order_items": [
        {
            "order_id": "1",
            "line_number": "1",
            "product_id": "1",
            "quantity": "2",
            "unit_price": "5.00",
            "line_total": "10.00",
        }
    ],
    "page_views": [{"viewed_at": DAY, "path": "/"}, {"viewed_at": DAY, "path": "/"}],
}
LATER: dict[str, list[dict[str, Any]]] = {
    "orders": [
        order(1, "120.00", _operation="update"),
        order(3, "20.00", _operation="delete"),
        order(4, "10.00"),
    ],
    "page_views": [{"viewed_at": DAY, "path": "/tea"}],
}


@dataclass
class Built:
    account: Account
    environment: dict[str, str]
    target: Path


@pytest.fixture(scope="module")
def built(new_account: Callable[..., Account], tmp_path_factory: pytest.TempPathFactory) -> Built:
    account, place = new_account(), tmp_path_factory.mktemp("build")
    catalog, bucket = load_catalog(ROOT / "catalog"), account.bucket()
    built = Built(
        account,
        {
            "GROUNDWORK_WAREHOUSE": "snowflake",
            "GROUNDWORK_SNOWFLAKE_COST": "true",
            **account.login.dbt_environment(TAG),
        },
        place / "target",
    )
    if not account.is_real:
        _account_usage(account)
    payments = [
        payment(1, 1, "119.00"),
        payment(2, 2, "51.00"),
        payment(4, 4, "10.00"),
        payment(5, 4, "10.00"),
    ]
    for batch_id, rows in enumerate((SHOP, LATER), start=1):
        commit(bucket, place, "shop", batch_id, rows)
        commit(bucket, place, "payments", batch_id, {"payments": payments[2 * batch_id - 2 : 2 * batch_id]})
        with open_snowflake(account.login, who="load", run_id="flow-run-build") as warehouse:
            prepare(catalog.values(), warehouse)
            for entry in catalog.values():
                load(entry, bucket, warehouse)
        dbt(
            built.environment,
            built.target,
            "build",
            *(["--exclude-resource-type", "unit_test"] if batch_id > 1 else []),
        )
    return built


def _account_usage(account: Account) -> None:
    """The emulator has no views of its account: one of them, with what a run cost."""
    session = Session(account.login, "account usage")
    tag = query_tag("load shop", "flow-run-build").replace("'", "''")
    try:
        for statement in (
            "create database if not exists snowflake",
            "create schema if not exists snowflake.account_usage",
            "create or replace table snowflake.account_usage.query_attribution_history (query_id varchar,"
            " query_tag varchar, warehouse_name varchar, user_name varchar, credits_attributed_compute float,"
            " start_time timestamp_tz, end_time timestamp_tz)",
            "insert into snowflake.account_usage.query_attribution_history"
            " select 'q' || column1, column2, 'WH', 'U', 0.25, current_timestamp(), current_timestamp()"
            f" from values (1, '{tag}'), (2, '{tag}'), (3, '')",
        ):
            session.query(statement)
    finally:
        session.close()


def results(built: Built) -> dict[str, str]:
    found = json.loads((built.target / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"]: result["status"] for result in found}


def test_everything_is_built_and_tested_first_and_incrementally(built: Built) -> None:
    statuses = results(built)
    assert len(statuses) > 150
    assert set(statuses.values()) <= {"success", "pass", "warn", "no-op"}
    with open_snowflake(built.account.login, who="look") as warehouse:
        assert warehouse.query(
            "select total_amount, _operation from staging.base_shop__orders where id = 1"
        ) == [(Decimal("120.00"), "update")]
        assert warehouse.query("select order_id from staging.stg_shop__orders order by 1") == [
            ("1",),
            ("2",),
            ("4",),
        ]


def test_what_a_run_cost_is_read_by_its_tag(built: Built) -> None:
    if built.account.is_real:
        pytest.skip("the account's views are hours late")
    with open_snowflake(built.account.login, who="look") as warehouse:
        assert warehouse.query(
            "select flow_run_id, purpose, statement_count, credits"
            " from visualization.warehouse_cost order by 1 nulls last"
        ) == [("flow-run-build", "load shop", 2, 0.5), (None, "other", 1, 0.25)]


def test_docs_and_freshness(built: Built) -> None:
    dbt(built.environment, built.target, "docs", "generate", "--quiet")
    nodes = json.loads((built.target / "catalog.json").read_text(encoding="utf-8"))["nodes"]
    assert "TOTAL_AMOUNT" in nodes["model.groundwork.orders"]["columns"]
    dbt(built.environment, built.target, "source", "freshness", "--quiet", "--select", "source:shop")
    found = json.loads((built.target / "sources.json").read_text(encoding="utf-8"))["results"]
    assert {"pass"} == {
        result["status"] for result in found if "source.groundwork.shop" in result["unique_id"]
    }


def test_every_statement_carries_its_tag(built: Built) -> None:
    if built.account.is_real:
        pytest.skip("looks into the emulator's journal")
    sent = [entry for entry in built.account.statements() if "flow-run-build" in (entry["query_tag"] or "")]
    assert {json.loads(entry["query_tag"])["groundwork"] for entry in sent} == {"load", "transform"}
    assert len(sent) > 500


def test_every_statement_is_snowflakes(built: Built) -> None:
    if built.account.is_real:
        pytest.skip("Snowflake itself said so")
    outcomes = ("executed", "nothing")
    sent = [e["sql"] for outcome in outcomes for e in built.account.statements(outcome, tag="flow-run-build")]
    statements = [sql for sql in sent if sql and sql != "<login>"]
    assert complaints_about(statements) == {}
    nothing = {
        " ".join(e["sql"].split()[:2]).lower()
        for e in built.account.statements("nothing", tag="flow-run-build")
    }
    assert nothing <= {
        "alter table",
        "alter session",
        "alter view",
        '/* {"app":',
    }  # comments on columns, tags
