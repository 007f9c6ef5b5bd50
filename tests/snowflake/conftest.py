"""Fixtures of `tests.snowflake.fixtures`."""

from tests.snowflake.fixtures import account, emulator, new_account, s3_server

__all__ = ["account", "emulator", "new_account", "s3_server"]
