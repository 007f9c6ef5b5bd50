"""An account to test with: the emulator, or the one of the environment with ``GROUNDWORK_TEST_ACCOUNT``.

Every test has a database of its own, with the two stages of docs/snowflake/setup.sql, and its own place in
the bucket.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch
from urllib.error import URLError
from urllib.request import urlopen

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from demo.s3 import S3Server
from demo.service import LOOPBACK, Service
from groundwork.bucket import Bucket, open_bucket
from groundwork.warehouses.snowflake_login import SnowflakeLogin
from groundwork.warehouses.snowflake_session import Session
from tests.environment import account
from tests.snowflake import environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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
    """One database of an account with its stages, the bucket that the external one reads, and the journal."""

    login: SnowflakeLogin
    bucket_url: str
    client: S3Client | None = None
    """None with a real account, whose bucket boto3 signs in to by itself."""
    s3_environment: Mapping[str, str] = field(default_factory=dict)
    journal: Path | None = None
    """Of the emulator; a real account tells by QUERY_HISTORY, hours later."""

    @property
    def is_real(self) -> bool:
        return self.journal is None

    def bucket(self) -> Bucket:
        return open_bucket(self.bucket_url, self.client)

    def statements(self, outcome: str = "executed", tag: str = "") -> list[dict[str, Any]]:
        """What the emulator was sent, oldest first: with this outcome, and this text in the query tag."""
        assert self.journal is not None
        entries = [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]
        return [e for e in entries if e["outcome"] == outcome and tag in (e.get("query_tag") or "")]

    def environment(self) -> dict[str, str]:
        """The platform's settings for this account."""
        fields = self.login.model_dump(exclude_defaults=True)
        plain = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in fields.items()
        }
        return {
            **{f"GROUNDWORK_SNOWFLAKE_{name.upper()}": value for name, value in plain.items()},
            **self.s3_environment,
            "GROUNDWORK_WAREHOUSE": "snowflake",
            "GROUNDWORK_BUCKET": self.bucket_url,
        }

    def prepare(self) -> None:
        """Make the database and its stages, as docs/snowflake/setup.sql does."""
        integration = os.environ.get("GROUNDWORK_TEST_SNOWFLAKE_INTEGRATION", "groundwork_bucket")
        database = self.login.database
        self._run(
            f"create database {database}",
            f"create schema {database}.landing",
            f"create stage {database}.landing.groundwork url = '{self.bucket_url}/'"
            f" storage_integration = {integration}",
            f"create stage {database}.landing.groundwork_files",
        )

    def drop(self) -> None:
        self._run(f"drop database {self.login.database}")

    def _run(self, *statements: str) -> None:
        session = Session(self.login.model_copy(update={"database": ""}), "test")
        try:
            for statement in statements:
                session.query(statement)
        finally:
            session.close()


def account_on(emulator: Emulator, s3: S3Server, **other: Any) -> Account:
    """A new database on the emulator."""
    name = uuid.uuid4().hex[:10]
    login = emulator.login(f"T{name}".upper(), **other)
    return Account(login, f"s3://{s3.bucket}/{name}", s3.client(), s3.environment(), emulator.journal)


def real_account(**other: Any) -> Account:
    """A new database of the account that the environment names, and a new place in the bucket it names.

    The role must be allowed to make databases and to use the storage integration
    ``GROUNDWORK_TEST_SNOWFLAKE_INTEGRATION``.
    """
    name = uuid.uuid4().hex[:10]
    known = account()
    with patch.dict(os.environ, known):
        login = SnowflakeLogin.from_environment()
    login = login.model_copy(update={"database": f"GROUNDWORK_TEST_{name}".upper(), **other})
    return Account(login, f"{known['GROUNDWORK_BUCKET'].rstrip('/')}/test-{name}")


def is_real() -> bool:
    """Whether the tests are to use the account that the environment names."""
    return bool(account())
