"""The shop, its workload, and the payment provider's API over what the shop's triggers recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pg8000.exceptions import DatabaseError

from demo.operations import OPERATIONS
from demo.payments import PaymentsApi
from demo.platform import Platform
from demo.postgres import Postgres
from demo.shop import DATABASE, Shop
from demo.workload import Workload, running

pytestmark = pytest.mark.timeout(180)

TABLES = (
    *("countries", "customers", "addresses", "categories", "products", "price_changes"),
    *("orders", "order_items", "shipments", "returns", "stock_movements", "page_views"),
)
DAY = date(2026, 3, 1)

exact = msgspec.json.Decoder(float_hook=Decimal)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    with Platform(home, parts=["payments"], durable=False, today=DAY, requests_per_second=10_000) as it:
        yield it


def digests(server: Postgres) -> dict[str, list[Any]]:
    query = "select count(*), sum(hashtextextended(t::text, 1)) from {} as t"
    return {table: server.sql(query.format(table), database=DATABASE)[0] for table in TABLES}


@pytest.fixture(scope="module", autouse=True)
def history(platform: Platform) -> dict[str, list[Any]]:
    """What the tables held before a test changed them."""
    return digests(platform.shop_server)


@pytest.fixture
def api(platform: Platform) -> Iterator[httpx.Client]:
    assert platform.payments is not None
    headers = {"Authorization": f"Bearer {platform.payments.token}"}
    with httpx.Client(base_url=platform.payments.url, headers=headers, timeout=30) as client:
        yield client


def rows(platform: Platform, query: str, **values: Any) -> list[list[Any]]:
    return platform.shop_server.sql(query, database=DATABASE, **values)


def everything(api: httpx.Client, path: str, **parameters: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = api.get(path, params={"limit": "500", **parameters, **cursor}).raise_for_status()
        page = exact.decode(response.content)
        records += page["data"]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return records
        cursor = {"starting_after": page["next_cursor"]}


# the shop ---------------------------------------------------------------------------------------------


def test_the_shop_has_more_than_250_000_rows_in_twelve_tables(platform: Platform) -> None:
    counts = {table: rows(platform, f"select count(*) from {table}")[0][0] for table in TABLES}
    assert min(counts.values()) > 0
    assert sum(counts.values()) >= 250_000


def test_the_shop_has_every_kind_of_column(platform: Platform) -> None:
    kinds = rows(
        platform,
        "select data_type from information_schema.columns where table_schema = 'public'"
        " and data_type <> 'name' group by 1",
    )
    assert {kind for (kind,) in kinds} == {
        *("ARRAY", "USER-DEFINED", "bigint", "boolean", "character", "date", "double precision", "inet"),
        *("integer", "interval", "jsonb", "numeric", "text", "timestamp with time zone", "uuid"),
    }
    generated = rows(platform, "select attrelid::regclass::text from pg_attribute where attgenerated = 's'")
    assert generated == [["order_items"]]
    partitioned = rows(platform, "select relname::text from pg_class where relkind = 'p'")
    assert partitioned == [["stock_movements"]]
    without_key = rows(platform, "select relname::text from pg_class where relreplident = 'f'")
    assert without_key == [["page_views"]]
    toasted = rows(platform, "select count(*) from products where length(description) > 2048")
    assert toasted[0][0] > 500


def test_an_order_is_the_sum_of_its_lines(platform: Platform) -> None:
    wrong = rows(
        platform,
        "select count(*) from orders where total_amount is distinct from"
        " (select sum(line_total) from order_items where order_id = orders.id)",
    )
    assert wrong == [[0]]


def test_the_history_ends_before_its_day(platform: Platform) -> None:
    newest = rows(
        platform,
        "select max(greatest(placed_at, paid_at, cancelled_at, updated_at)) from orders"
        " where placed_at < :day::timestamptz",
        day=DAY.isoformat(),
    )
    assert newest[0][0] <= datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)


def test_the_same_day_makes_the_same_shop(history: dict[str, list[Any]], tmp_path: Path) -> None:
    with Postgres(tmp_path / "other", durable=False) as server:
        assert Shop(server).create(DAY)
        assert digests(server) == history
        assert not Shop(server).create(DAY), "it is there already"


def test_the_platform_may_read_and_capture_but_not_write(platform: Platform) -> None:
    server, password = platform.shop_server, platform.shop.password("groundwork")
    with server.connection(DATABASE, user="groundwork", password=password) as connection:
        for table in TABLES:
            connection.run(f"select 1 from {table} limit 1")
        connection.run("select pg_create_logical_replication_slot('tried', 'pgoutput')")
        connection.run("select pg_drop_replication_slot('tried')")
        with pytest.raises(DatabaseError, match="permission denied"):
            connection.run("delete from page_views")
        with pytest.raises(DatabaseError, match="permission denied"):
            connection.run("select 1 from provider.payments")
    published = rows(
        platform, "select tablename::text from pg_publication_tables where pubname = 'groundwork'"
    )
    assert sorted(name for (name,) in published) == sorted(TABLES)


def test_the_workload_changes_every_table_in_every_way(platform: Platform) -> None:
    rows(platform, "select pg_create_logical_replication_slot('watched', 'test_decoding')")
    try:
        with Workload(platform.shop.url("shop"), seed=7) as load:
            for name in OPERATIONS:
                # one visitor in five has seen nothing that could be forgotten
                assert any(load.do(name) for _ in range(50)), name
            load.run(300)
        changes = rows(platform, "select data from pg_logical_slot_get_changes('watched', null, null)")
    finally:
        rows(platform, "select pg_drop_replication_slot('watched')")
    seen = Counter(
        (words[1].removeprefix("public.").rstrip(":"), words[2].rstrip(":"))
        for words in (data.split() for (data,) in changes)
        if words[0] == "table" and words[1].startswith("public.")
    )
    written = {table for table in TABLES if any(name.startswith(table) for name, _ in seen)}
    assert written == set(TABLES)
    assert {kind for _, kind in seen} == {"INSERT", "UPDATE", "DELETE"}
    texts = [data for (data,) in changes]
    assert any("order_items: UPDATE: old-key:" in text for text in texts), "a key changed"
    assert any("unchanged-toast-datum" in text for text in texts), "a long text stayed as it was"
    assert ("addresses", "DELETE") in seen
    assert ("page_views", "DELETE") in seen


# the provider's API ------------------------------------------------------------------------------------


def test_the_api_wants_its_token(platform: Platform) -> None:
    assert platform.payments is not None
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        response = httpx.get(f"{platform.payments.url}/v1/payments", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/nothing", 404),
        ("/nothing", 404),
        ("/v1/payments?limit=501", 400),
        ("/v1/payments?limit=0", 400),
        ("/v1/payments?limit=many", 400),
        ("/v1/payments?updated_since=yesterday", 400),
        ("/v1/payments?starting_after=me", 400),
        ("/v1/payments?color=red", 400),
    ],
)
def test_the_api_answers_a_wrong_request_with_one_clear_error(
    api: httpx.Client, path: str, status: int
) -> None:
    response = api.get(path)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_payment_looks_as_documented_and_its_amount_is_exact(api: httpx.Client) -> None:
    page = api.get("/v1/payments", params={"limit": "100"}).text
    record = exact.decode(page)["data"][0]
    assert set(record) == {
        *("id", "object", "order", "amount", "status", "method", "fees", "created_at", "updated_at"),
    }
    assert record["id"].startswith("pay_")
    assert set(record["order"]) == {"reference", "channel"}
    amounts = [record["amount"]["value"] for record in exact.decode(page)["data"]]
    assert all(Decimal(amount).as_tuple().exponent == -2 for amount in amounts)
    assert any(str(amount).endswith("0") for amount in amounts), "a float would have lost the zero"


def test_pages_hold_every_record_exactly_once(platform: Platform, api: httpx.Client) -> None:
    for kind in ("payments", "refunds"):
        ids = [record["id"] for record in everything(api, f"/v1/{kind}")]
        stored = rows(platform, f"select id from provider.{kind} order by updated_at, id")
        assert ids == [record_id for (record_id,) in stored]
    assert len(ids) > 1_000


def test_updated_since_is_inclusive(api: httpx.Client) -> None:
    records = everything(api, "/v1/payments")
    since = records[-700]["updated_at"]
    expected = [record["id"] for record in records if record["updated_at"] >= since]
    assert [record["id"] for record in everything(api, "/v1/payments", updated_since=since)] == expected
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert everything(api, "/v1/refunds", updated_since=late) == []


def test_the_payments_agree_with_the_orders_but_for_the_known_differences(
    platform: Platform, api: httpx.Client
) -> None:
    orders = dict(rows(platform, "select id, total_amount from orders where paid_at is not null"))
    charged: dict[int, list[Decimal]] = {}
    for payment in everything(api, "/v1/payments"):
        if payment["status"] != "failed":
            charged.setdefault(int(payment["order"]["reference"]), []).append(payment["amount"]["value"])
    assert sum(map(len, charged.values())) > 20_000
    assert set(charged) <= set(orders)
    missing = {order for order in orders if order not in charged}
    assert missing == {order for order in orders if order % 900 == 17}
    differing = {order for order, amounts in charged.items() if amounts[0] != orders[order]}
    assert differing == {order for order in charged if order % 700 == 13}
    doubled = {order for order, amounts in charged.items() if len(amounts) == 2}
    assert doubled == {order for order in charged if order % 1100 == 23}
    assert missing and differing and doubled


def test_a_refund_never_exceeds_its_payment(api: httpx.Client) -> None:
    payments = {payment["id"]: payment for payment in everything(api, "/v1/payments")}
    for refund in everything(api, "/v1/refunds"):
        assert 0 < refund["amount"]["value"] <= payments[refund["payment"]]["amount"]["value"]


def test_a_payment_that_commits_late_is_not_passed_over(platform: Platform, api: httpx.Client) -> None:
    url = platform.shop.url("shop")
    with Workload(url, seed=1) as slow, Workload(url, seed=2) as fast:
        for _ in range(4):
            fast.do("place_order")
        since = datetime.now(UTC).isoformat()
        slow.connection.run("begin")
        assert OPERATIONS["pay_order"][1](slow)
        assert fast.do("pay_order")
        # the newer payment is committed, but an older one may still come: neither is shown
        assert everything(api, "/v1/payments", updated_since=since) == []
        slow.connection.run("commit")
        assert len(everything(api, "/v1/payments", updated_since=since)) >= 2


def test_a_reader_that_follows_updated_since_sees_all_that_is_written(
    platform: Platform, api: httpx.Client
) -> None:
    began = datetime.now(UTC)
    since, seen = began.isoformat(), {}
    with (
        running(platform.shop.url("shop"), rate=400, seed=11) as one,
        running(platform.shop.url("shop"), rate=400, seed=12) as other,
    ):
        while one.counts["pay_order"] + other.counts["pay_order"] < 60:
            for record in everything(api, "/v1/payments", updated_since=since):
                seen[record["id"]] = record
                since = record["updated_at"]
    for record in everything(api, "/v1/payments", updated_since=since):
        seen[record["id"]] = record
    stored = rows(
        platform, "select id, status from provider.payments where updated_at >= :began", began=began
    )
    assert {record_id: record["status"] for record_id, record in seen.items()} == dict(stored)
    assert len(seen) >= 50


def test_too_many_requests_are_told_when_to_come_again(platform: Platform, tmp_path: Path) -> None:
    url = platform.shop.url("provider")
    with PaymentsApi(tmp_path / "slow", url, requests_per_second=2) as slow:
        headers = {"Authorization": f"Bearer {slow.token}"}
        with httpx.Client(base_url=slow.url, headers=headers) as client:
            answers = [client.get("/v1/payments", params={"limit": "1"}) for _ in range(6)]
    assert [answer.status_code for answer in answers][:2] == [200, 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
