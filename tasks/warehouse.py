"""The warehouse, for flow runs: how to sign in to Snowflake is for the environment or a block to say."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundwork.settings import Settings
    from groundwork.warehouses import Warehouse
    from groundwork.warehouses.snowflake_login import SnowflakeLogin

SNOWFLAKE_BLOCK = "groundwork-snowflake"
"""Name of the SnowflakeConnector block; `deployments.apply` makes it."""


def platform_warehouse(
    settings: Settings, who: str, *, read_only: bool = False, wait: float | None = None
) -> AbstractContextManager[Warehouse]:
    """Open the warehouse that the settings name, in the name of this flow run."""
    from groundwork.warehouses import open_warehouse
    from tasks.lookup import run_id

    login = snowflake_login(settings)
    return open_warehouse(settings, who=who, read_only=read_only, login=login, run_id=run_id(), wait=wait)


def snowflake_login(settings: Settings) -> SnowflakeLogin | None:
    """How to sign in to Snowflake: ``GROUNDWORK_SNOWFLAKE_*``, and where that is silent the block.

    Returns:
        None when the warehouse is another one.

    Raises:
        SettingMissing: when neither says enough.
    """
    if settings.warehouse != "snowflake":
        return None
    from prefect_snowflake import SnowflakeConnector

    from groundwork.warehouses.snowflake_login import SnowflakeLogin

    try:
        place = SnowflakeConnector.load(SNOWFLAKE_BLOCK)
    except ValueError:  # there is no such block
        return SnowflakeLogin.from_environment()
    who = place.credentials
    known = {
        "account": who.account,
        "user": who.user,
        "role": who.role,
        "warehouse": place.warehouse,
        "database": place.database,
        "private_key": who.private_key and _text(who.private_key.get_secret_value()),
        "private_key_path": who.private_key_path,
        "private_key_passphrase": who.private_key_passphrase
        and who.private_key_passphrase.get_secret_value(),
        "password": who.password and who.password.get_secret_value(),
    }
    return SnowflakeLogin.from_environment(**{name: value for name, value in known.items() if value})


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
