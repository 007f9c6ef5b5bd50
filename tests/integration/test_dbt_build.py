"""A whole build over a small shop: what people see, what is told about bad values, and freshness."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from groundwork.catalog import load_catalog
from tests.landing import ROOT, Dbt, Landing

DAY = "2026-01-02 10:00:00+02"


def payment(number: int, order: int, value: str, status: str = "succeeded") -> dict[str, Any]:
    record = (
        f'{{"id": "pay_{number}", "object": "payment", "order": {{"reference": "{order}", "channel": "web"}},'
        f' "amount": {{"value": {value}, "currency": "EUR"}}, "status": "{status}", "method": {{"type":'
        f' "card", "card": {{"brand": "visa", "last4": "4242"}}}}, "fees": [{{"kind": "a", "value": 0.35}}],'
        ' "created_at": "2026-01-02T08:00:00Z", "updated_at": "2026-01-02T08:00:00Z"}'
    )
    return {"record": record}


def order(number: int, total: str, **values: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "customer_id": "1",
        "status": "paid",
        "currency": "EUR",
        "country_code": "DE",
        "total_amount": total,
        "shipping": '{"method": "express"}',
        "placed_at": DAY,
        "paid_at": DAY,
    } | values


@dataclass
class Built:
    landing: Landing
    dbt: Dbt
    first: dict[str, str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("build")
    landing = Landing(directory / "warehouse.duckdb", load_catalog(ROOT / "catalog"))
    dbt = Dbt(landing.file, directory / "target")
    dbt("build", "--quiet")  # nothing landed yet: a platform's first minute
    landing.land("shop", 1, {
        "countries": [{"code": "DE", "name": "Germany", "currency": "EUR", "vat_rate": "0.1900"}],
        "customers": [
            {"id": "1", "name": "Zoë O'Hara", "country_code": "DE", "status": "active", "created_at": DAY},
            {"id": "2", "country_code": "DE", "status": "merged", "merged_into_id": "1"},
        ],
        "orders": [
            order(1, "119.00"), order(2, "50.00", customer_id="2"), order(3, "20.00"),
            order(4, "10.00", placed_at="not a time"),
        ],
        "products": [{"id": "1", "sku": "a", "name": "Tea", "price": "5.00", "cost": "2.00"}],
        "order_items": [{"order_id": "1", "line_number": "1", "product_id": "1", "quantity": "2",
                         "unit_price": "5.00", "line_total": "10.00"}],
        "page_views": [{"viewed_at": DAY, "path": "/"}, {"viewed_at": DAY, "path": "/"}],
    })  # fmt: skip
    landing.land(
        "payments",
        1,
        {
            "payments": [
                payment(1, 1, "119.00"),
                payment(2, 2, "51.00"),
                payment(4, 4, "10.00"),
                payment(5, 4, "10.00"),
            ]
        },
    )
    landing.land("ops", 1, {
        "flow_runs": [{"record": {"id": "run-1", "name": "odd-owl", "flow_name": "ingest",
                                  "state_type": "COMPLETED", "state": {"message": "fine"},
                                  "start_time": DAY, "total_run_time": 1.5}}],
        "logs": [{"record": {"id": "l1", "flow_run_id": "run-1", "level": 20, "name": "groundwork.load",
                             "timestamp": DAY, "message": "loaded source=shop batch=0000000001 rows=12"}}],
    })  # fmt: skip
    with duckdb.connect(str(landing.file)) as connection:  # both sides were read after the orders were paid
        connection.execute("update landing._batches set started_at = timestamp '2026-01-03'")
    dbt("build", "--quiet")
    return Built(landing, dbt, dbt.results())


def test_revenue_is_counted_by_utc_day(built: Built) -> None:
    found = built.landing.query(
        "select day::text, country_name, order_count, revenue_amount, _run_id"
        " from visualization.revenue_daily"
    )
    assert found == [("2026-01-02", "Germany", 4, Decimal("199.00"), "run-1")]


def test_orders_that_do_not_agree_with_their_payments_are_told(built: Built) -> None:
    found = built.landing.query(
        "select order_id, mismatch_kind, difference_amount from visualization.payment_mismatches order by 1"
    )
    assert found == [
        ("2", "amount differs", Decimal("1.00")),
        ("3", "payment missing", Decimal("-20.00")),
        ("4", "paid twice", Decimal("10.00")),
    ]


def test_a_merged_customers_orders_count_for_the_one_they_live_on_in(built: Built) -> None:
    found = built.landing.query(
        "select customer_id, customer_name, merged_customer_count, lifetime_value"
        " from visualization.customers"
    )
    assert found == [("1", "Zoë O'Hara", 1, Decimal("199.00"))]


def test_a_value_that_does_not_fit_is_null_and_named_and_reported(built: Built) -> None:
    found = built.landing.query(
        "select placed_at, _cast_failures from staging.base_shop__orders where _cast_failures is not null"
    )
    assert found == [(None, '["placed_at"]')]
    warned = {name for name, status in built.first.items() if status == "warn"}
    assert warned == {"values_fit_their_types_base_shop__orders_"}


def test_a_row_leads_back_to_its_batch_its_run_and_the_runs_log_lines(built: Built) -> None:
    found = built.landing.query(
        """
        select runs.flow_run_name, lines.message, loads.batch_key
        from visualization.orders
        inner join visualization.runs on orders._run_id = runs.flow_run_id
        inner join visualization.loads on orders._run_id = loads.extract_run_id and loads.source_name = 'shop'
        inner join visualization.run_logs as lines
            on runs.flow_run_id = lines.flow_run_id and loads.batch_key = lines.batch_key
        where orders.order_id = '1'
        """
    )
    assert found == [("odd-owl", "loaded source=shop batch=0000000001 rows=12", "shop/0000000001")]


def test_processing_times_go_all_the_way(built: Built) -> None:
    for table in ("revenue_daily", "orders", "customers", "product_performance", "runs", "run_logs"):
        assert built.landing.query(
            f"select count(*) from visualization.{table}"
            " where _stored_at is null or _loaded_at is null or _built_at is null"
            " or _file is null or _row is null"
        ) == [(0,)], table


def test_descriptions_reach_the_warehouse(built: Built) -> None:
    found = built.landing.query(
        "select comment from duckdb_columns() where table_name = 'orders' and schema_name = 'visualization'"
        " and column_name = 'total_amount'"
    )
    assert found == [("What the customer owes",)]


def test_freshness_comes_from_the_ledger(built: Built) -> None:
    with duckdb.connect(str(built.landing.file)) as connection:
        connection.execute(
            "update landing._batches set stored_at = ? where source = 'shop'",
            [datetime.now(UTC).replace(tzinfo=None)],
        )
        connection.execute(  # by a clock that was a day ahead
            "update landing._batches set stored_at = ? where source = 'payments' and batch_id = '0000000001'",
            [datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)],
        )
    built.dbt("source freshness", "--quiet", fails=True)
    results = json.loads((built.dbt.target / "sources.json").read_text(encoding="utf-8"))["results"]
    told = {result["unique_id"].split(".", 2)[2]: result["status"] for result in results}
    assert told["shop.page_views"] == "pass", "we looked, though no page was viewed"
    assert told["payments.payments"] == "error", "nobody looked for months"


def test_a_load_whose_clock_ran_ahead_is_told_and_holds_nothing_back(built: Built) -> None:
    ahead = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    with duckdb.connect(str(built.landing.file)) as connection:
        connection.execute("update landing.shop__customers set _loaded_at = ?", [ahead])
    selected = ("--quiet", "--full-refresh", "--select", "+customers", "stg_ledger__batches")
    built.dbt("build", *selected, fails=True)  # no load has that time: a model made it wrong
    with duckdb.connect(str(built.landing.file)) as connection:
        connection.execute("update landing._batches set loaded_at = ? where source = 'shop'", [ahead])
    built.dbt("build", *selected)
    results = json.loads((built.dbt.target / "run_results.json").read_text(encoding="utf-8"))["results"]
    told = {one["unique_id"]: one["status"] for one in results if "not_in_the_future" in one["unique_id"]}
    assert set(told.values()) == {"pass", "warn"}
    assert all("stg_ledger__batches" in name for name, status in told.items() if status == "warn")


def test_a_record_without_a_usable_key_fails_the_build(built: Built) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    built.landing.land("payments", 2, {"payments": [
        {"record": '{"object": "payment"}', "_loaded_at": now}, {"record": "{no json", "_loaded_at": now},
    ]})  # fmt: skip
    built.dbt("build", "--quiet", "--select", "base_payments__payments", fails=True)
    failed = {name for name, status in built.dbt.results().items() if status == "fail"}
    assert {name[:8] for name in failed} == {"keys_fit"}
    assert built.landing.query("select count(*) from staging.base_payments__payments") == [(4,)]


def test_a_base_model_is_for_staging_alone(built: Built, tmp_path: Path) -> None:
    project = shutil.copytree(ROOT / "dbt", tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    (project / "models/visualization/peek.sql").write_text(
        "select id from {{ ref('base_shop__orders') }}", encoding="utf-8"
    )
    told = Dbt(built.landing.file, tmp_path / "target", project)("parse", fails=True)
    assert "private" in told
