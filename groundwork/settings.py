"""Where things are: read from the environment once, at the door of each command.

Secrets are named in the catalog and looked up here by name, so a value exists only in memory. Prefect's
blocks are another place to look; that resolver lives in ``tasks`` because nothing here knows Prefect.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic_settings import BaseSettings, SettingsConfigDict

from groundwork.errors import SettingMissing


class Named(BaseModel):
    """A value the catalog names instead of writing it: ``{secret: …}`` or ``{variable: …}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    secret: str | None = None
    variable: str | None = None

    @property
    def name(self) -> str:
        """The name as written, e.g. ``shop-database-url``."""
        return self.secret or self.variable or ""

    @property
    def environment_name(self) -> str:
        """The environment variable that may hold it, e.g. ``SHOP_DATABASE_URL``."""
        return self.name.upper().replace("-", "_")


Resolve = Callable[[Named], str]
"""Turns a named value into the value; raises `SettingMissing`."""


def resolve_from_environment(named: Named) -> str:
    """Look a named value up in the environment.

    Raises:
        SettingMissing: when it is not set, or empty.
    """
    value = os.environ.get(named.environment_name, "")
    if not value:
        kind = "secret" if named.secret else "variable"
        raise SettingMissing(
            f"{kind} '{named.name}'",
            "has no value",
            why=f"the environment variable {named.environment_name} is not set",
            fix=f"set {named.environment_name}, or save a Prefect {kind} named '{named.name}'",
        )
    return value


class Settings(BaseSettings):
    """The platform's own settings, from ``GROUNDWORK_*`` in the environment."""

    model_config = SettingsConfigDict(env_prefix="GROUNDWORK_", extra="ignore")

    home: Path = Path(".groundwork")
    bucket: str = ""
    warehouse: Literal["duckdb", "snowflake"] = "duckdb"
    duckdb_path: Path | None = None
    catalog: Path = Path("catalog")
    dbt: Path = Path("dbt")

    @property
    def bucket_url(self) -> str:
        """The bucket's URL; a directory under ``home`` unless one was set."""
        return self.bucket or (self.home.absolute() / "bucket").as_uri()

    @property
    def duckdb_file(self) -> Path:
        """The DuckDB file of the embedded warehouse."""
        return (self.duckdb_path or self.home / "warehouse.duckdb").absolute()
