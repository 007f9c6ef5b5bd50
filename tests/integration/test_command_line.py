"""The command line as a person uses it, against the shop's own database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.postgres import Postgres
from demo.shop import Shop
from groundwork.catalog import PostgresSource, load_source
from tests.landing import ROOT

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Postgres(tmp_path_factory.mktemp("shop"), durable=False) as server:
        shop = Shop(server)
        shop.create()
        yield shop


@pytest.fixture(scope="module")
def command(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """``command("check")``: run it with the shop's address in the environment."""
    home = tmp_path_factory.mktemp("home")
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("GROUNDWORK_", "AWS_"))}

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        told = {"GROUNDWORK_HOME": str(home), "SHOP_DATABASE_URL": shop.url("groundwork")} | environment
        return subprocess.run(
            [sys.executable, "-m", "groundwork", *words],
            cwd=ROOT,
            env=inherited | told,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_check_holds_the_catalog_against_the_live_source(command: Command, shop: Shop) -> None:
    assert command("check", "--live").returncode == 0
    shop.server.sql("alter table categories add column shelf text", database="shop")
    told = command("check", "--live")
    assert told.returncode == 1
    assert "catalog/shop.yml: streams.categories.columns: 'shelf' exists at the source" in told.stderr
    shop.server.sql("alter table categories drop column shelf", database="shop")


def test_discover_drafts_a_page_that_loads(command: Command, tmp_path: Path) -> None:
    drafted = command("discover", "drafted", "--secret", "shop-database-url")
    assert drafted.returncode == 0, drafted.stderr
    page = tmp_path / "drafted.yml"
    page.write_text(drafted.stdout)
    entry = load_source(page)
    assert isinstance(entry, PostgresSource)
    assert {"orders", "stock_movements", "page_views"} <= entry.streams.keys()
    assert entry.streams["order_items"].primary_key == ["order_id", "line_number"]
    assert entry.streams["products"].columns["price"].type == "decimal(12,2)"
    assert entry.streams["customers"].columns["email"].pii
    assert entry.streams["page_views"].primary_key == []
    assert "postgresql://" not in drafted.stdout


def test_doctor_says_what_is_wrong_and_what_to_do(command: Command) -> None:
    well = command("doctor")
    assert well.returncode == 0, well.stdout + well.stderr
    assert "✓ source shop" in well.stdout
    ill = command("doctor", SHOP_DATABASE_URL="postgresql://groundwork:wrong-pw@127.0.0.1:1/shop")
    assert ill.returncode == 1
    assert "✗ source shop" in ill.stdout
    assert "no connection to 127.0.0.1:1" in ill.stdout
    assert "wrong-pw" not in ill.stdout + ill.stderr


def test_doctor_prints_the_sql_that_a_source_lacks(command: Command) -> None:
    printed = command("doctor", "--sql").stdout
    assert "-- source 'shop': database " in printed
    assert "-- Nothing is to be run: all is there." in printed


def test_a_secret_without_a_value_is_one_clear_line(command: Command) -> None:
    told = command("extract", "shop", SHOP_DATABASE_URL="")
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("SettingMissing: secret 'shop-database-url': has no value.")
    assert "SHOP_DATABASE_URL" in line


def rows(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed below the names."""
    names, rule, *values = done.stdout.splitlines()
    assert names.split() == ["_batch_id", "count(id)"] and set(rule) == {"-", " "}
    return " ".join(values).split()


def test_extract_load_full_refresh_and_replay_end_with_the_same_rows(command: Command, shop: Shop) -> None:
    for words in (("extract", "shop"), ("load", "shop")):
        assert (done := command(*words)).returncode == 0, done.stderr
    ((orders,),) = shop.server.sql("select count(*) from orders", database="shop")
    counted = "select _batch_id, count(id) from landing.shop__orders group by 1 order by 1"
    assert rows(command("sql", counted)) == ["0000000001", str(orders)]
    for words in (("full-refresh", "shop"), ("load", "shop")):
        assert (done := command(*words)).returncode == 0, done.stderr
    twice = rows(command("sql", counted))
    assert twice == ["0000000001", str(orders), "0000000002", str(orders)]
    assert (done := command("replay", "shop", "--landing-only")).returncode == 0, done.stderr
    assert rows(command("sql", counted)) == twice
    assert command("sql", "select 1 as a, null as b, 'x,y' as c", "--csv").stdout == 'a,b,c\n1,,"x,y"\n'


def test_explain_says_which_columns_there_are(command: Command) -> None:
    command("load", "shop")
    told = command("explain", "landing.shop__orders", "order_id=1")
    assert told.returncode == 1
    assert "has no column 'order_id' (id, customer_id, status" in told.stderr
