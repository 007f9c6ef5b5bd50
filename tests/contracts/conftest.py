"""Snowflake's emulator, for the contract that all warehouses keep."""

from tests.snowflake.fixtures import emulator, new_account, s3_server

__all__ = ["emulator", "new_account", "s3_server"]
