"""A session: when it begins, who signs in and how, and what its statements carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa

from groundwork.errors import SettingMissing, WarehouseError
from groundwork.warehouses import LEDGER, LEDGER_COLUMNS, TEXT
from groundwork.warehouses.snowflake import Snowflake, open_snowflake
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from tests.snowflake.account import USER, Account


@pytest.fixture
def emulated(account: Account) -> Account:
    if account.is_real:
        pytest.skip("looks into the emulator's journal")
    return account


def test_a_session_begins_with_the_first_statement(emulated: Account) -> None:
    before = len(emulated.statements())
    with open_snowflake(emulated.login, who="load shop", run_id="run-1") as warehouse:
        assert isinstance(warehouse, Snowflake)
        assert not warehouse.is_signed_in
    assert len(emulated.statements()) == before
    with open_snowflake(emulated.login, who="load shop", run_id="run-1") as warehouse:
        warehouse.query("select 1")
        assert warehouse.is_signed_in


def test_role_warehouse_time_zone_and_tag_are_set_at_the_login(emulated: Account) -> None:
    with open_snowflake(emulated.login, who="load shop", run_id="run-2") as warehouse:
        assert warehouse.query(
            "select current_role(), current_warehouse(), current_database(), current_schema()"
        ) == [(emulated.login.role, emulated.login.warehouse, emulated.login.database, "LANDING")]
    login, *statements = emulated.statements(tag='"flow_run_id": "run-2"')
    assert login["sql"] == "<login>"
    assert login["authenticator"] == "SNOWFLAKE_JWT"
    assert (login["user"], login["timezone"]) == (USER, "UTC")
    assert statements
    assert all(
        entry["query_tag"] == '{"groundwork": "load shop", "flow_run_id": "run-2"}' for entry in statements
    )


def test_a_key_in_the_environment_signs_in_like_one_in_a_file(
    emulated: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emulated.login.private_key_path is not None
    for name, value in emulated.environment().items():
        if name.startswith("GROUNDWORK_SNOWFLAKE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("GROUNDWORK_SNOWFLAKE_PRIVATE_KEY_PATH")
    monkeypatch.setenv("GROUNDWORK_SNOWFLAKE_PRIVATE_KEY", emulated.login.private_key_path.read_text())
    with open_snowflake(SnowflakeLogin.from_environment(), who="a test") as warehouse:
        assert warehouse.query("select 1") == [(1,)]


def another_key(directory: Path, passphrase: bytes | None = None) -> Path:
    locked = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = directory / "another.p8"
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))
    return path


def test_a_wrong_key_is_told(emulated: Account, tmp_path: Path) -> None:
    login = emulated.login.model_copy(update={"private_key_path": another_key(tmp_path)})
    told = pytest.raises(WarehouseError, match=r"GROUNDWORK cannot sign in .*public key")
    with open_snowflake(login, who="a test") as warehouse, told:
        warehouse.query("select 1")


@pytest.mark.parametrize("path", ["nowhere.p8", "locked.p8"])
def test_a_key_that_cannot_be_read_is_told_without_its_text(tmp_path: Path, path: str) -> None:
    another_key(tmp_path, b"secret").rename(tmp_path / "locked.p8")
    login = SnowflakeLogin(
        account="a", user="u", warehouse="w", database="d", private_key_path=tmp_path / path
    )  # fmt: skip
    told = pytest.raises(SettingMissing, match=r"private key of u: cannot be read .*PASSPHRASE")
    with open_snowflake(login, who="a test") as warehouse, told:
        warehouse.query("select 1")


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SnowflakeLogin.model_fields:
        monkeypatch.delenv(f"GROUNDWORK_SNOWFLAKE_{name.upper()}", raising=False)
    monkeypatch.setenv("GROUNDWORK_SNOWFLAKE_ACCOUNT", "acme-eu")
    with pytest.raises(SettingMissing, match=r"_USER, .*_WAREHOUSE, .*_DATABASE, .*_PRIVATE_KEY_PATH"):
        SnowflakeLogin.from_environment()


def test_an_error_holds_no_value_of_a_row(account: Account) -> None:
    with open_snowflake(account.login, who="a test") as warehouse:
        warehouse.widen(LEDGER, LEDGER_COLUMNS)
        with pytest.raises(WarehouseError) as told:
            warehouse.query("select cast('very secret' as bigint)")
    assert "very secret" not in str(told.value)


def test_few_statements_bring_many_batches(emulated: Account, tmp_path: Path) -> None:
    """Two tables, sixty batches: one COPY per table, whatever the number of batches."""
    from tests.contracts.places import Place
    from tests.contracts.test_warehouse import made, prepare

    place = Place(
        lambda: open_snowflake(emulated.login, who="load", run_id="many"), tmp_path, emulated.bucket_url,
        emulated.bucket(),
    )  # fmt: skip
    batches = [made(place, n, {"id": [str(n)]}, "orders" if n % 2 else "items") for n in range(1, 61)]
    with place.open() as warehouse:
        prepare(warehouse, "id")
        prepare(warehouse, "id", table="shop__items")
        sent = len(emulated.statements(tag="many"))
        warehouse.land(batches, "many")
        words = [entry["sql"].split()[0] for entry in emulated.statements(tag="many")[sent:]]
        assert words == [
            *("begin", "update", "rollback", "insert", "begin", "update"),  # its first turn
            *("delete", "copy", "copy", "insert", "commit"),
        ]
        assert warehouse.query("select count(*), count(distinct _batch_id) from landing.shop__items") == [
            (30, 30)
        ]
        found: Any = warehouse.query("select count(distinct _stored_at) from landing.shop__items")
        assert found[0][0] > 1


def test_a_name_is_stored_as_people_write_it(account: Account, new_account: Callable[..., Account]) -> None:
    with open_snowflake(account.login, who="a test") as warehouse:
        warehouse.widen("shop__orders", {"id": TEXT, "Odd name": TEXT, "select": TEXT})
        assert warehouse.query("select id from landing.shop__orders") == []
        assert warehouse.columns("landing", "shop__orders") == ["id", "Odd name", "select"]
