"""One credential for Snowflake, whichever places hold one: for the connector and for dbt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa

from groundwork.errors import SettingMissing
from groundwork.settings import Settings
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from tasks.warehouse import SNOWFLAKE_BLOCK, snowflake_login
from tests.commands import PROJECT


def key(passphrase: bytes | None = None) -> bytes:
    locked = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked)


PLAIN, LOCKED = key(), key(b"open sesame")

IN_ENVIRONMENT = {
    "nothing": {},
    "file": {"PRIVATE_KEY_PATH": PLAIN},
    "locked file": {"PRIVATE_KEY_PATH": LOCKED, "PRIVATE_KEY_PASSPHRASE": "open sesame"},
    "key": {"PRIVATE_KEY": PLAIN.decode()},
    "password": {"PASSWORD": "of the environment"},
    "all": {"PRIVATE_KEY_PATH": PLAIN, "PRIVATE_KEY": "another", "PASSWORD": "of the environment"},
}
IN_BLOCK = {
    "key": {"private_key": PLAIN},
    "locked key": {"private_key": LOCKED, "private_key_passphrase": "open sesame"},
    "password": {"password": "of the block"},
}


@pytest.fixture(autouse=True)
def _only_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GROUNDWORK_SNOWFLAKE_", "DBT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def save_block(prefect_api: str) -> Iterator[Any]:
    from prefect.client.orchestration import get_client
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials

    def save(**credential: Any) -> None:
        who = SnowflakeCredentials(account="acme-eu", user="groundwork", role="loader", **credential)
        SnowflakeConnector(
            credentials=who, database="analytics", warehouse="small", schema="public"
        ).save(SNOWFLAKE_BLOCK, overwrite=True)  # fmt: skip

    yield save
    with get_client(sync_client=True) as client:
        found = client.read_block_document_by_name(SNOWFLAKE_BLOCK, "snowflake-connector")
        client.delete_block_document(found.id)


def dbt_credentials(login: SnowflakeLogin) -> dict[str, Any]:
    """What dbt-snowflake hands to the connector, read from our profile as dbt reads it."""
    from dbt.adapters.snowflake.connections import SnowflakeCredentials
    from dbt.config.renderer import ProfileRenderer

    profile = yaml.safe_load((PROJECT / "dbt/profiles.yml").read_text())["groundwork"]["outputs"]["snowflake"]
    with pytest.MonkeyPatch.context() as within:
        for name, value in login.dbt_environment("{}").items():
            within.setenv(name, value)
        from dbt_common.context import set_invocation_context

        set_invocation_context(os.environ)
        rendered = ProfileRenderer({}).render_data(profile)
        SnowflakeCredentials.validate(rendered)
        credentials: dict[str, Any] = SnowflakeCredentials.from_dict(rendered).auth_args()
    return {name: value for name, value in credentials.items() if value}


@pytest.mark.parametrize("held", IN_BLOCK)
@pytest.mark.parametrize("given", IN_ENVIRONMENT)
def test_exactly_one_credential_signs_in(
    given: str, held: str, save_block: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in IN_ENVIRONMENT[given].items():
        if isinstance(value, bytes):
            (tmp_path / "key.p8").write_bytes(value)
            value = str(tmp_path / "key.p8")
        monkeypatch.setenv(f"GROUNDWORK_SNOWFLAKE_{name}", value)
    save_block(**IN_BLOCK[held])

    login = snowflake_login(Settings(warehouse="snowflake"))
    assert login is not None
    by_password = "password" in (held if given == "nothing" else given)
    ours, dbts = login.connection_options(), dbt_credentials(login)
    assert ("private_key" in ours, "password" in ours) == (not by_password, by_password)
    assert ("private_key" in dbts, "password" in dbts) == (not by_password, by_password)
    if by_password:
        assert ours["password"] == dbts["password"]
        assert ours["password"] == ("of the block" if given == "nothing" else "of the environment")
    else:
        assert ours["private_key"] == dbts["private_key"]
    assert (login.account, login.user, login.role) == ("acme-eu", "groundwork", "loader")


def test_a_passphrase_of_the_environment_opens_the_blocks_key(
    save_block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWORK_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "open sesame")
    save_block(private_key=LOCKED)
    login = snowflake_login(Settings(warehouse="snowflake"))
    assert login is not None
    assert login.connection_options()["private_key"] == dbt_credentials(login)["private_key"]


def test_another_user_than_the_credentials_is_refused(
    save_block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_block(private_key=PLAIN)
    monkeypatch.setenv("GROUNDWORK_SNOWFLAKE_USER", "alice")
    with pytest.raises(SettingMissing, match="names the user alice, and only groundwork has a credential"):
        snowflake_login(Settings(warehouse="snowflake"))


def test_a_passphrase_alone_is_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCOUNT", "USER", "WAREHOUSE", "DATABASE", "PRIVATE_KEY_PASSPHRASE"):
        monkeypatch.setenv(f"GROUNDWORK_SNOWFLAKE_{name}", "x")
    with pytest.raises(SettingMissing, match="Nothing says GROUNDWORK_SNOWFLAKE_PRIVATE_KEY_PATH"):
        SnowflakeLogin.from_environment()
