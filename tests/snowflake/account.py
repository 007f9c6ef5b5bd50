"""An account to test with: the emulator, or a real one when ``GROUNDWORK_SNOWFLAKE_ACCOUNT`` is set.

On the emulator every test has a database of its own. On a real account the tests work in the database that
the environment names, and empty the schemas they use: it must be one made for this.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError
from urllib.request import urlopen

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa

from demo.s3 import S3Server
from demo.service import LOOPBACK, Service
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.snowflake_session import Session
from tests.snowflake import environment

USER, ROLE, WAREHOUSE = "GROUNDWORK", "GROUNDWORK_LOADER", "GROUNDWORK_WH"


class Emulator(Service):
    """The emulator of ``tests/snowflake/emulator``, where user GROUNDWORK signs in with a key pair.

    Args:
        directory: holds the keys, the journal and the log.
        s3: what external stages read.
    """

    name: ClassVar[str] = "snowflake-emulator"

    def __init__(self, directory: Path, s3: S3Server) -> None:
        super().__init__(directory)
        self._s3 = s3

    @property
    def journal(self) -> Path:
        """Every statement that arrived, one JSON object a line."""
        return self.directory / "journal.jsonl"

    @property
    def private_key(self) -> Path:
        """The key that the user signs in with."""
        return self.directory / "rsa_key.p8"

    def prepare(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_key.write_bytes(
            key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        )
        self.private_key.chmod(0o600)
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "rsa_key.pub").write_bytes(public)
        environment.python()

    def command(self) -> list[str]:
        s3 = self._s3
        words = {
            "port": self.port,
            "journal": self.journal,
            "s3-endpoint": f"{LOOPBACK}:{s3.port}",
            "s3-key": s3.access_key_id,
            "s3-secret": s3.secret_access_key,
            "key": f"{USER}={self.directory / 'rsa_key.pub'}",
        }
        given = [f"--{name}={value}" for name, value in words.items()]
        return [str(environment.python()), "-m", "tests.snowflake.emulator", *given]

    def program_environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(environment.ROOT), "VIRTUAL_ENV": "", "PYTHONDONTWRITEBYTECODE": "1"}

    def is_ready(self) -> bool:
        try:
            with urlopen(f"http://{LOOPBACK}:{self.port}/monitoring/queries/none", timeout=5):
                return True
        except URLError as error:
            return getattr(error, "code", None) is not None  # it answered, if only with a refusal

    def login(self, database: str, **other: Any) -> SnowflakeLogin:
        """How a program signs in."""
        return SnowflakeLogin(
            account="groundwork", user=USER, role=ROLE, warehouse=WAREHOUSE, database=database,
            private_key_path=self.private_key, host=LOOPBACK, port=self.port, protocol="http", **other,
        )  # fmt: skip


@dataclass
class Account:
    """One database of an account, its stages made, and the journal of what was sent there."""

    login: SnowflakeLogin
    s3: S3Server
    journal: Path | None = None
    """None with a real account."""
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def bucket_url(self) -> str:
        return f"s3://{self.s3.bucket}/{self.prefix}"

    def statements(self, outcome: str = "executed") -> list[dict[str, Any]]:
        """What was sent to this database's sessions, oldest first."""
        assert self.journal is not None
        entries = [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]
        return [entry for entry in entries if entry["outcome"] == outcome]

    def environment(self) -> dict[str, str]:
        """The platform's settings for this account."""
        fields = self.login.model_dump(exclude_defaults=True)
        secrets = ("private_key", "private_key_passphrase", "password")
        return {
            **{
                f"GROUNDWORK_SNOWFLAKE_{name.upper()}": (
                    value.get_secret_value() if name in secrets else str(value)
                )
                for name, value in fields.items()
            },
            **self.s3.environment(),
            "GROUNDWORK_WAREHOUSE": "snowflake",
            "GROUNDWORK_BUCKET": self.bucket_url,
        }


def account_on(emulator: Emulator, s3: S3Server, **other: Any) -> Account:
    """A new database on the emulator, with its two stages."""
    database = f"T{uuid.uuid4().hex[:10]}".upper()
    account = Account(emulator.login(database, **other), s3, emulator.journal)
    session = Session(emulator.login(""), "test")
    try:
        for statement in (
            f"create database {database}",
            f"create schema {database}.landing",
            f"create stage {database}.landing.groundwork url = '{account.bucket_url}/'"
            " storage_integration = groundwork_bucket",
            f"create stage {database}.landing.groundwork_files",
        ):
            session.query(statement)
    finally:
        session.close()
    return account


def real_account(environ: Mapping[str, str] = os.environ) -> SnowflakeLogin | None:
    """The account that the environment names, if it does."""
    return SnowflakeLogin.from_environment() if environ.get("GROUNDWORK_SNOWFLAKE_ACCOUNT") else None
