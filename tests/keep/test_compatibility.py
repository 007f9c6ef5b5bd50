"""What people read is added to; what would break is told before anything is built. By dbt's own parser."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from groundwork.bucket import open_bucket
from groundwork.catalog import Catalog, load_source
from groundwork.dbt_turn import parsed
from groundwork.errors import CatalogError, ObjectDamaged, PromiseBroken
from groundwork.render import rendered
from groundwork.serving.compatibility import breaches, insist
from groundwork.serving.served import Served, by_contracts, keep, last
from groundwork.settings import Settings
from tests.keep.dbt_project import Project
from tests.keep.world import make_catalog

TODAY = date(2026, 12, 1)
YML, ORDERS = "models/models.yml", "models/visualization/orders.sql"


class Shop(Project):
    """The project, and what it would serve."""

    def serves(self) -> Served:
        return by_contracts(parsed(Settings(dbt=self.directory), self.directory / "target"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "dbt")


def texts(before: Served, would: Served, today: date = TODAY) -> list[str]:
    return [breach.text for breach in breaches(before, would, today)]


def test_what_is_served_is_what_the_contracts_say_with_who_reads_it(shop: Shop) -> None:
    relations = shop.serves().relations
    assert sorted(relations) == ["staging.base_orders", "visualization.orders", "visualization.totals"]
    orders = relations["visualization.orders"]
    assert {name: column.type for name, column in orders.columns.items()} == {
        "id": "integer", "amount": "decimal(18,2)", "status": "varchar",
    }  # fmt: skip
    for relation in relations.values():  # base_orders too: the dashboard stands on it
        assert relation.consumers == ["Revenue by day (finance@example.com)"]


def test_columns_and_models_may_be_added(shop: Shop) -> None:
    before = shop.serves()
    shop.change(
        YML, "      - {name: status", "      - {name: note, data_type: varchar}\n      - {name: status"
    )
    shop.change(
        YML,
        "  - name: totals",
        "  - name: more\n    columns: [{name: a, data_type: integer}]\n  - name: totals",
    )
    shop.write("models/visualization/more.sql", "select 1 as a")
    would = shop.serves()
    assert len(would.relations) == 4
    assert texts(before, would) == []
    insist(None, would, TODAY)


def test_a_column_that_goes_is_retyped_or_renamed_is_told_with_model_readers_and_the_way_out(
    shop: Shop,
) -> None:
    before = shop.serves()
    shop.change(YML, "{name: status, data_type: varchar}", "{name: order_status, data_type: varchar}")
    shop.change(
        YML, '      - {name: amount, data_type: "decimal(18,2)"}\n  - name: orders', "  - name: orders"
    )
    shop.change(YML, '{name: amount, data_type: "decimal(18,2)"}', "{name: amount, data_type: double}")
    readers = "; read by Revenue by day (finance@example.com)"
    where = f"(model orders, {ORDERS}){readers}"
    would = shop.serves()
    assert texts(before, would) == [
        "staging.base_orders.amount would be gone (model base_orders, models/staging/base_orders.sql)"
        + readers,
        f"visualization.orders.amount was decimal(18,2) and would be double {where}",
        f"visualization.orders.status would be gone (renamed to 'order_status'?) {where}",
    ]
    with pytest.raises(
        PromiseBroken, match=r"3 things that people read.*deprecated: <date>.*as a new version"
    ):
        insist(before, would, TODAY)


def test_a_model_that_goes_is_told_and_may_go_once_its_announced_day_has_come(shop: Shop) -> None:
    before = shop.serves()
    totals = "  - name: totals\n    columns"
    shop.change(YML, totals, totals.replace("totals\n", "totals\n    deprecation_date: 2026-12-24\n"))
    announced = shop.serves()
    assert announced.relations["visualization.totals"].deprecated == date(2026, 12, 24)
    assert texts(before, announced) == []
    (shop.directory / "models/visualization/totals.sql").unlink()
    shop.change(YML, "    depends_on: [ref('totals')]", "    depends_on: [ref('orders')]")
    text = (shop.directory / YML).read_text()
    (shop.directory / YML).write_text(
        text[: text.index("  - name: totals")] + text[text.index("exposures:") :]
    )
    gone = shop.serves()
    assert texts(before, gone, date(2027, 1, 1)) == [  # nobody was told
        "visualization.totals would be gone (model totals, models/visualization/totals.sql)"
        "; read by Revenue by day (finance@example.com)"
    ]
    assert "which was announced for 2026-12-24" in texts(announced, gone, date(2026, 12, 23))[0]
    assert texts(announced, gone, date(2026, 12, 24)) == []


def test_a_column_may_change_from_the_day_on_that_was_served_with_it(shop: Shop) -> None:
    before = shop.serves()
    status = "{name: status, data_type: varchar}"
    shop.change(YML, status, status[:-1] + ", config: {meta: {deprecated: 2026-11-30}}}")
    announced = shop.serves()
    shop.change(
        YML,
        "status, data_type: varchar, config: {meta: {deprecated: 2026-11-30}}",
        "status, data_type: integer",
    )
    would = shop.serves()
    assert len(texts(before, would)) == 1  # a day that stands beside the change itself was told to nobody
    assert texts(announced, would) == []
    assert len(texts(announced, would, date(2026, 11, 29))) == 1


def test_a_new_version_beside_the_old_one_breaks_nothing_until_the_old_one_goes(shop: Shop) -> None:
    before = shop.serves()
    (shop.directory / ORDERS).rename(shop.directory / "models/visualization/orders_v1.sql")
    shop.write(
        "models/visualization/orders_v2.sql", "select id, 'new' as status from {{ ref('base_orders') }}"
    )
    text = (shop.directory / YML).read_text()
    shop.write(YML, text.replace("  - name: orders\n", """  - name: orders
    latest_version: 2
    versions:
      - {v: 1, deprecation_date: 2026-12-24, config: {alias: orders}}
      - {v: 2, columns: [{include: all, exclude: [amount]}]}
"""))  # fmt: skip
    shop.change("models/visualization/totals.sql", "ref('orders')", "ref('orders', v=1)")
    would = shop.serves()
    assert would.relations["visualization.orders"].model == "orders v1"
    assert would.relations["visualization.orders"].deprecated == date(2026, 12, 24)
    assert sorted(would.relations["visualization.orders_v2"].columns) == ["id", "status"]
    assert texts(before, would) == []


def test_what_was_built_is_stored_and_the_rest_is_as_it_was(shop: Shop, tmp_path: Path) -> None:
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    assert last(bucket) is None
    before = shop.serves()
    keep(bucket, before, ["visualization.ORDERS"])
    stored = last(bucket)
    assert stored is not None and list(stored.relations) == ["visualization.orders"]
    shop.change(YML, "data_type: integer", "data_type: bigint")
    keep(bucket, shop.serves(), ["visualization.totals"])
    stored = last(bucket)
    assert stored is not None
    assert stored.relations["visualization.orders"].columns["id"].type == "integer"
    assert "visualization.totals" in stored.relations
    bucket.put("artifacts/served.json", b"{}")
    with pytest.raises(ObjectDamaged, match="does not say what was served last"):
        last(bucket)


def test_a_date_that_is_none_is_told(shop: Shop) -> None:
    shop.change(YML, "{name: status, data_type: varchar}",
                "{name: status, data_type: varchar, config: {meta: {deprecated: soon}}}")  # fmt: skip
    with pytest.raises(CatalogError, match=r"orders.status: is deprecated from 'soon', which is no date"):
        shop.serves()


def test_what_the_catalog_announces_stands_in_the_base_models_contract(tmp_path: Path) -> None:
    sources = make_catalog(tmp_path / "catalog")
    page = (tmp_path / "catalog" / "shop.yml").read_text()
    page = page.replace("{type: text, pii: true}", "{type: text, pii: true, deprecated: 2026-12-24}")
    page = page.replace("    table: public.items", "    deprecated: 2027-01-01\n    table: public.items")
    (tmp_path / "catalog" / "shop.yml").write_text(page)
    files = rendered(Catalog([load_source(tmp_path / "catalog" / "shop.yml"), sources["payments"]]))
    base = Path("dbt/models/staging/shop/base")
    assert "config: {meta: {pii: true, deprecated: 2026-12-24}}" in files[base / "base_shop__customers.yml"]
    assert "    deprecation_date: 2027-01-01\n" in files[base / "base_shop__items.yml"]
    assert "deprecat" not in files[base / "base_shop__orders.yml"]
