# ruff: noqa: E501 (statements and messages read better in one line)
"""Every mistake in the catalog is told once: where, what, and what was probably meant."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundwork.catalog import PostgresSource, load_catalog, load_source
from groundwork.errors import CatalogError

GOOD: dict[str, Any] = {
    "source": "shop",
    "kind": "postgres",
    "priority": 1,
    "questions": ["How much do we sell?"],
    "requested_by": ["finance"],
    "owner": {"name": "Ann", "email": "ann@example.com"},
    "format": "tables",
    "history": "all",
    "update_every": "5 minutes",
    "connection": {"url": {"secret": "shop-database-url"}},
    "streams": {
        "orders": {
            "table": "public.orders",
            "replication": "log_based",
            "primary_key": ["id"],
            "columns": {
                "id": {"type": "integer"},
                "customer_id": {"type": "integer"},
                "status": {"type": "text"},
                "total": {"type": "decimal(14, 2)"},
            },
        }
    },
}

REST: dict[str, Any] = {
    **{key: value for key, value in GOOD.items() if key not in ("connection", "streams")},
    "source": "payments",
    "kind": "rest",
    "connection": {"base_url": "https://api.example.com"},
    "streams": {
        "payments": {
            "endpoint": "/v1/payments", "replication": "full_table", "primary_key": ["id"], "columns": {"id": {"type": "text"}}
        }
    },
}  # fmt: skip


def changed(base: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    entry = copy.deepcopy(base)
    change(entry)
    return entry


def orders(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry["streams"]["orders"]
    return found


def loaded(tmp_path: Path, entry: Any) -> Any:
    file = tmp_path / f"{entry['source'] if isinstance(entry, dict) and 'source' in entry else 'shop'}.yml"
    file.write_text(entry if isinstance(entry, str) else yaml.safe_dump(entry, sort_keys=False))
    return load_source(file)


def test_a_good_entry_is_read_whole(tmp_path: Path) -> None:
    entry = loaded(tmp_path, GOOD)
    assert isinstance(entry, PostgresSource)
    assert entry.update_every.total_seconds() == 300
    assert entry.streams["orders"].columns["total"].type == "decimal(14,2)"
    assert entry.connection.url.environment_name == "SHOP_DATABASE_URL"


def test_the_message_of_the_design(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        loaded(tmp_path, changed(GOOD, lambda e: orders(e).update(primary_key=["order_id"])))
    assert str(caught.value) == (
        f"{tmp_path}/shop.yml: streams.orders.primary_key: "
        "'order_id' is not a column (id, customer_id, status …). Did you mean 'id'?"
    )


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (GOOD, lambda e: e.pop("priority"), "shop.yml: priority: is missing"),
        (GOOD, lambda e: e.update(questions=[]), "shop.yml: questions: "),
        (GOOD, lambda e: e["owner"].update(email="ann"), "shop.yml: owner.email: "),
        (GOOD, lambda e: e.update(questionz=["x"]), "shop.yml: questionz: is not a key here (source, kind"),
        (GOOD, lambda e: e.update(questionz=["x"]), "Did you mean 'questions'?"),
        (GOOD, lambda e: orders(e).update(tabel="x"), "shop.yml: streams.orders.tabel: is not a key here"),
        (GOOD, lambda e: orders(e).update(tabel="x"), "Did you mean 'table'?"),
        (GOOD, lambda e: orders(e)["columns"]["id"].update(typ="x"), "streams.orders.columns.id.typ: is not a key here (type, "),
        (GOOD, lambda e: orders(e)["columns"]["id"].update(type="int"), "streams.orders.columns.id.type: 'int' is not a column type"),
        (GOOD, lambda e: orders(e)["columns"]["id"].update(type="int"), "Did you mean 'integer'?"),
        (GOOD, lambda e: orders(e)["columns"]["id"].update(type="decimal"), "'decimal' is not a column type (text, "),
        (GOOD, lambda e: orders(e).update(replication="cdc"), "streams.orders.replication: "),
        (GOOD, lambda e: orders(e).update(replication="incremental"), "streams.orders.replication: a PostgreSQL table is read 'log_based' or 'full_table'"),
        (GOOD, lambda e: orders(e).update(table="orders"), "streams.orders.table: "),
        (GOOD, lambda e: e["connection"].update(url="postgresql://u:geheim@h/d"), "shop.yml: connection.url"),
        (GOOD, lambda e: e.update(update_every="often"), "shop.yml: update_every: "),
        (GOOD, lambda e: e.update(kind="postgresql"), "shop.yml: kind: 'postgresql' is not a kind of source (postgres, rest, pushed). Did you mean 'postgres'?"),
        (GOOD, lambda e: e.pop("kind"), "shop.yml: kind: 'None' is not a kind of source"),
        (GOOD, lambda e: e["streams"].update({"Bad Name": orders(e)}), "streams.Bad Name"),
        (GOOD, lambda e: e.update(streams={}), "shop.yml: streams: "),
        (REST, lambda e: e["streams"]["payments"].update(replication="log_based"), "streams.payments.replication: an API is read 'incremental' or 'full_table'"),
        (REST, lambda e: e["streams"]["payments"].update(replication="incremental"), "streams.payments.cursor: an incremental stream needs one"),
        (REST, lambda e: e["connection"].update(publication="x"), "connection.publication: is not a key here (base_url"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(
    tmp_path: Path, base: dict[str, Any], change: Any, message: str
) -> None:
    with pytest.raises(CatalogError, match=re.escape(message)) as caught:
        loaded(tmp_path, changed(base, change))
    assert "geheim" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: shop\n  kind: x", r"shop.yml:2: is not YAML"),
        ("- a\n- b", "shop.yml: must be a mapping of keys"),
        ("", "shop.yml: must be a mapping of keys"),
        ("a: [1", r"shop.yml:\d: is not YAML"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        loaded(tmp_path, text)


def test_a_file_is_named_as_its_source(tmp_path: Path) -> None:
    (tmp_path / "store.yml").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(
        CatalogError,
        match=r"store.yml: source: 'shop' stands in a file of another name. Rename the file to shop.yml",
    ):
        load_source(tmp_path / "store.yml")


def test_sources_come_in_the_order_of_their_priority(tmp_path: Path) -> None:
    for name, priority in (("alpha", 3), ("beta", 1), ("gamma", 2)):
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump({**GOOD, "source": name, "priority": priority}))
    catalog = load_catalog(tmp_path)
    assert list(catalog) == ["beta", "gamma", "alpha"]
    with pytest.raises(
        CatalogError, match=r"there is no source 'alpa' \(beta, gamma, alpha\). Did you mean 'alpha'\?"
    ):
        catalog["alpa"]


def test_an_empty_catalog_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"holds no \*.yml file"):
        load_catalog(tmp_path)


def test_our_own_catalog_is_good() -> None:
    assert {"shop", "payments", "ops"} <= set(load_catalog(Path(__file__).parents[2] / "catalog"))
