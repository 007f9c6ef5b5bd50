"""What a call for help says, and what it keeps to itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from groundwork.affected import Affected, by_nodes, by_source
from groundwork.catalog import load_catalog
from groundwork.notices import Sender, Trouble, compose, masked
from tasks.watch import silence

CATALOG = load_catalog(Path(__file__).parents[2] / "catalog")
NOW = datetime(2026, 11, 22, 12)


def model(name: str, layer: str) -> dict[str, Any]:
    return {"resource_type": "model", "schema": layer, "alias": name, "fqn": ["groundwork", layer, name]}


MANIFEST = {
    "sources": {
        "source.groundwork.shop.orders": {"source_name": "shop", "identifier": "shop__orders"},
        "source.groundwork.payments.payments": {
            "source_name": "payments",
            "identifier": "payments__payments",
        },
    },
    "nodes": {
        "model.groundwork.base": model("base_shop__orders", "staging"),
        "model.groundwork.orders": model("orders", "visualization"),
        "model.groundwork.fees": model("fees", "visualization"),
    },
    "exposures": {"exposure.groundwork.closing": {"name": "closing", "label": "Monthly closing"}},
    "child_map": {
        "source.groundwork.shop.orders": ["model.groundwork.base"],
        "model.groundwork.base": ["model.groundwork.orders", "test.groundwork.unique_base"],
        "model.groundwork.orders": ["exposure.groundwork.closing"],
        "source.groundwork.payments.payments": ["model.groundwork.fees"],
    },
    "parent_map": {"test.groundwork.unique_base": ["model.groundwork.base"]},
}


def test_a_source_touches_its_tables_and_all_that_is_built_from_them() -> None:
    touched = by_source(CATALOG["shop"], MANIFEST)
    assert "landing.shop__orders" in touched.tables
    assert touched.models == ["visualization.orders"]
    assert touched.exposures == ["Monthly closing"]
    assert touched.questions[0].startswith("How much do we take per day")


def test_a_source_is_told_of_even_when_dbt_has_never_run() -> None:
    assert by_source(CATALOG["payments"], {}).tables == [
        "landing.payments__payments",
        "landing.payments__refunds",
    ]


def test_a_failing_test_touches_what_is_built_from_what_it_tests() -> None:
    touched = by_nodes(["test.groundwork.unique_base"], MANIFEST)
    assert touched.models == ["visualization.orders"]
    assert touched.exposures == ["Monthly closing"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach postgresql://shop:hunter2@host/shop", "hunter2"),
        ("smtp://user:p%40ss@mail.example.com refused", "p%40ss"),
        ("password=hunter2 was wrong", "hunter2"),
        ("Conversion Error: Could not convert string 'jane@example.com' to INT32", "jane"),
        ('Constraint Error: Duplicate key "email: jane@example.com" violates', "jane"),
        ("Key (email)=(jane@example.com) violates unique constraint; key (email)=(jane)", "jane"),
    ],
)
def test_no_secret_and_no_value_is_mailed(text: str, secret: str) -> None:
    assert secret not in masked(text)


def test_a_mail_is_plain_and_html_and_nothing_in_it_is_markup() -> None:
    trouble = Trouble(
        "id", "ingest-shop", "ingest", "ingest-shop", "Failed", "s", "<b>no</b>", "12:00", "http://x/1",
        source="shop", log_lines=["a <script>"],
    )  # fmt: skip
    mail = compose(trouble, Affected(["landing.t"]), Sender("", "a@x.org", ["b@x.org", "c@x.org"]))
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain and html
    assert mail["To"] == "b@x.org, c@x.org"
    assert "a <script>" in plain.get_content()
    assert "<script>" not in html.get_content()
    assert "&lt;b&gt;no&lt;/b&gt;" in html.get_content()


@pytest.mark.parametrize(
    ("looked", "told"),
    [
        (timedelta(minutes=14), ""),
        (timedelta(minutes=16), "shop was last looked at 16 minutes ago, wanted every 5 minutes"),
        (timedelta(hours=3), "shop was last looked at 3 hours ago, wanted every 5 minutes"),
        (None, "shop was last looked at never, wanted every 5 minutes"),
    ],
)
def test_a_source_that_was_not_looked_at_is_silent(looked: timedelta | None, told: str) -> None:
    assert silence(CATALOG["shop"], NOW - looked if looked else None, NOW) == told
