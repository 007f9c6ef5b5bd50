"""The switch: one setting, then `replay`. By the commands that people type, and by tasks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from groundwork.warehouses.snowflake import open_snowflake
from tests.commands import run_command
from tests.snowflake.account import Account
from tests.snowflake.batches import commit
from tests.snowflake.comparing import ROOT
from tests.snowflake.test_build import LATER, SHOP

WHOLE = bool(os.environ.get("GROUNDWORK_TEST_SNOWFLAKE"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def filled(account: Account, tmp_path: Path) -> Account:
    bucket = account.bucket()
    commit(bucket, tmp_path, "shop", 1, SHOP)
    commit(bucket, tmp_path, "shop", 2, LATER)
    return account


@pytest.mark.skipif(not WHOLE, reason="takes a minute: make test-snowflake")
def test_landing_is_filled_by_one_setting_and_replay(filled: Account, tmp_path: Path) -> None:
    here = {"GROUNDWORK_HOME": str(tmp_path), "GROUNDWORK_BUCKET": filled.bucket_url, **filled.s3_environment}
    run_command("groundwork", "load", "shop", environment=here | {"GROUNDWORK_WAREHOUSE": "duckdb"})
    there = here | filled.environment()  # GROUNDWORK_WAREHOUSE=snowflake, and how to sign in
    printed = run_command("groundwork", "replay", "shop", "--landing-only", environment=there)
    assert "replay shop: 2 batches" in printed
    told = run_command("groundwork", "digest", environment=there)
    assert "landing.shop__orders" in told
    again = run_command("groundwork", "replay", "shop", "--landing-only", environment=there)
    assert "replay shop: 2 batches" in again
    assert run_command("groundwork", "digest", environment=there).split() == told.split()
    counted = "select count(*) as orders from landing.shop__orders"
    assert run_command("groundwork", "sql", counted, "--csv", environment=there) == "orders\n6\n"


def test_an_idle_load_opens_no_session(filled: Account, tmp_path: Path) -> None:
    if filled.is_real:
        pytest.skip("looks into the emulator's journal")
    settings = filled.environment() | {"GROUNDWORK_HOME": str(tmp_path)}
    assert "2 batches" in run_command("groundwork", "load", "shop", environment=settings)
    before = len(filled.statements())
    assert "0 batches" in run_command("groundwork", "load", "shop", environment=settings)
    assert len(filled.statements()) == before, "somebody signed in"


def test_a_flow_runs_sign_in_is_the_blocks(
    filled: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The block is made in this process and not saved: that needs a server."""
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials
    from pydantic import SecretBytes

    from groundwork.settings import Settings
    from tasks.warehouse import snowflake_login

    login = filled.login
    if login.private_key_path is None:
        pytest.skip("the account is signed in to in another way")
    key = SecretBytes(login.private_key_path.read_bytes())
    who = SnowflakeCredentials(account=login.account, user=login.user, role=login.role, private_key=key)
    block = SnowflakeConnector(
        credentials=who, database=login.database, warehouse=login.warehouse, schema="public"
    )
    monkeypatch.setattr(SnowflakeConnector, "load", lambda _name: block)
    for name in list(os.environ):
        if name.startswith("GROUNDWORK_SNOWFLAKE_"):
            monkeypatch.delenv(name)
    for name in ("host", "port", "protocol"):  # blocks have no field for another address
        monkeypatch.setenv(f"GROUNDWORK_SNOWFLAKE_{name.upper()}", str(getattr(login, name)))
    assert snowflake_login(Settings(warehouse="duckdb")) is None
    found = snowflake_login(Settings(warehouse="snowflake"))
    assert found is not None
    with open_snowflake(found, who="a test") as warehouse:
        assert warehouse.query("select current_user()") == [(login.user,)]


@pytest.mark.skipif(not WHOLE, reason="takes minutes: make test-snowflake")
def test_the_whole_platform_moves_and_its_digests_agree(
    new_account: Callable[..., Account], tmp_path: Path
) -> None:
    """Both warehouses are filled from the bucket by `replay`, with all models, and compared by `digest`."""
    account = new_account()
    commit(account.bucket(), tmp_path, "shop", 1, SHOP)
    commit(account.bucket(), tmp_path, "shop", 2, LATER)
    settings = account.environment() | {
        "GROUNDWORK_HOME": str(tmp_path),
        "GROUNDWORK_DUCKDB_PATH": str(tmp_path / "warehouse.duckdb"),
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "target"),
    }
    run_command(
        "groundwork", "replay", environment=settings | {"GROUNDWORK_WAREHOUSE": "duckdb"}, seconds=1200
    )
    run_command("groundwork", "replay", environment=settings, seconds=1200)
    run_command("groundwork", "digest", "--against", str(tmp_path / "warehouse.duckdb"), environment=settings)


def test_every_setting_of_the_login_is_described() -> None:
    from groundwork.warehouses.snowflake_login import SnowflakeLogin

    page = (ROOT / "docs" / "snowflake.md").read_text(encoding="utf-8")
    for name in SnowflakeLogin.model_fields:
        assert f"`GROUNDWORK_SNOWFLAKE_{name.upper()}`" in page, name
    target = yaml.safe_load((ROOT / "dbt" / "profiles.yml").read_text(encoding="utf-8"))
    assert target["groundwork"]["outputs"]["snowflake"]["query_tag"]
