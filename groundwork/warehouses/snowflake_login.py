"""Who signs in to Snowflake, where, and in which role: from the environment, or handed in by a task.

A key pair is the way for programs (Snowflake, "Key-pair authentication and key-pair rotation"); a password
or a programmatic access token in its place works too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from groundwork.errors import SettingMissing
from groundwork.warehouses import LANDING

PREFIX = "GROUNDWORK_SNOWFLAKE_"
_SECRETS = ("private_key", "private_key_passphrase", "password")
CREDENTIALS = ("private_key_path", "private_key", "password")
"""Fields of which one signs in; the first that is set counts."""

_PASSPHRASE = "private_key_passphrase"
_SECRET_FIELDS = (*CREDENTIALS, _PASSPHRASE)
_DBT_SECRET = "DBT_ENV_SECRET_SNOWFLAKE_"
"""dbt takes the values of variables with this beginning out of everything it logs."""


class SnowflakeLogin(BaseModel):
    """All that a session needs. Each field is ``GROUNDWORK_SNOWFLAKE_<FIELD>`` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str = ""
    user: str = ""
    role: str = ""
    warehouse: str = ""
    """The virtual warehouse, i.e. the machines that are paid for while they run."""
    database: str = ""
    private_key: SecretStr = SecretStr("")
    """PEM text."""
    private_key_path: Path | None = None
    private_key_passphrase: SecretStr = SecretStr("")
    password: SecretStr = SecretStr("")
    stage: str = "landing.groundwork"
    staging: Literal["external", "internal"] = "external"
    """Whether Snowflake reads the bucket itself, or gets the files of each load from us."""
    host: str = ""
    """With ``port`` and ``protocol``: another address than the account's own."""
    port: int = 443
    protocol: Literal["https", "http"] = "https"

    @classmethod
    def from_environment(cls, **known: Any) -> SnowflakeLogin:
        """Read ``GROUNDWORK_SNOWFLAKE_*``; ``known`` fills what the environment does not set.

        Exactly one credential is in the result. It comes whole from one place: from the environment when it
        holds one, else from what is known. A key of one place beside a key of the other is refused by dbt,
        or signs in as another user. Where a place holds several, the first of `CREDENTIALS` counts.

        Raises:
            SettingMissing: when something is missing without which nobody can sign in, or when the
                environment names another user than the one the known credential belongs to.
        """
        names = {name: f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        found = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
        held = [place for place in (found, known) if any(name in place for name in CREDENTIALS)]
        credential = _credential(held[0]) if held else {}
        if held and held[0] is known:
            _check_same_user(found, known)
            passphrase = found.get(_PASSPHRASE) if _PASSPHRASE not in credential else None
            credential |= {_PASSPHRASE: passphrase} if passphrase else {}
        rest = {name: value for name, value in (known | found).items() if name not in _SECRET_FIELDS}
        login = cls(**rest | credential)
        login.check()
        return login

    def check(self) -> None:
        """Report all that is missing at once.

        Raises:
            SettingMissing: when something is.
        """
        lacking = [name for name in ("account", "user", "warehouse", "database") if not getattr(self, name)]
        secrets = (self.private_key.get_secret_value(), self.password.get_secret_value())
        if not (self.private_key_path or any(secrets)):
            lacking.append("private_key_path")
        if lacking:
            raise SettingMissing(
                "warehouse 'snowflake'",
                "cannot be signed in to",
                why=f"nothing says {', '.join(f'{PREFIX}{name.upper()}' for name in lacking)}",
                fix="set them, or save the Prefect block `groundwork-snowflake`; see docs/snowflake.md",
            )

    @property
    def where(self) -> str:
        """The database, as messages name it."""
        return f"snowflake {self.account}/{self.database}"

    def connection_options(self) -> dict[str, Any]:
        """What the connector is told.

        Raises:
            SettingMissing: when the private key cannot be read.
        """
        options: dict[str, Any] = {
            "account": self.account,
            "user": self.user,
            "warehouse": self.warehouse,
            "database": self.database,
            "schema": LANDING,
            "role": self.role or None,
        }
        if self.private_key_path or self.private_key.get_secret_value():
            options["private_key"] = self._key()
        else:
            options["password"] = self.password.get_secret_value()
        if self.host:
            options |= {"host": self.host, "port": self.port, "protocol": self.protocol}
        return options

    def dbt_environment(self, query_tag: str) -> dict[str, str]:
        """What dbt/profiles.yml asks the environment for."""
        texts = {
            name: str(getattr(self, name) or "")
            for name in type(self).model_fields
            if name not in (*_SECRETS, "stage", "staging")
        }
        secrets = {name: getattr(self, name).get_secret_value() for name in _SECRETS}
        return {
            **{f"{PREFIX}{name.upper()}": text for name, text in texts.items()},
            **{f"{_DBT_SECRET}{name.upper()}": text for name, text in secrets.items()},
            "GROUNDWORK_QUERY_TAG": query_tag,
        }

    def _key(self) -> bytes:
        """The private key as the connector wants it: DER, without a passphrase."""
        from cryptography.hazmat.primitives import serialization as form

        try:
            if self.private_key_path:
                pem = self.private_key_path.read_bytes()
            else:
                pem = self.private_key.get_secret_value().encode()
            passphrase = self.private_key_passphrase.get_secret_value().encode() or None
            key = form.load_pem_private_key(pem, passphrase)
        except (OSError, ValueError, TypeError) as error:
            raise SettingMissing(
                f"private key of {self.user}",
                f"cannot be read ({type(error).__name__})",
                fix=f"check {PREFIX}PRIVATE_KEY_PATH (PKCS#8, PEM) and {PREFIX}PRIVATE_KEY_PASSPHRASE",
            ) from error
        return key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())


def _credential(place: Mapping[str, Any]) -> dict[str, Any]:
    """The one credential of a place, with the passphrase of its key."""
    name = next(name for name in CREDENTIALS if name in place)
    fields = (name,) if name == "password" else (name, _PASSPHRASE)
    return {field: place[field] for field in fields if field in place}


def _check_same_user(found: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a user of the environment with the credential of another one."""
    user = found.get("user")
    if user and known.get("user") and str(user).upper() != str(known["user"]).upper():
        raise SettingMissing(
            "warehouse 'snowflake'",
            f"the environment names the user {user}, and only {known['user']} has a credential",
            why=f"{PREFIX}USER is set without a key or password, so those of the Prefect block are used",
            fix=f"set {PREFIX}PRIVATE_KEY_PATH too, or unset {PREFIX}USER",
        )
