"""Where things are: read from the environment once, at the door of each command.

Secrets are named in the catalog and looked up here by name, so a value exists only in memory. Prefect's
blocks are another place to look; that resolver lives in ``tasks`` because nothing here knows Prefect.

A secret can change while it is used: a refresh token that is new each time. Then it is saved where it is
looked up first, which `Keep` stands for.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from groundwork.errors import SettingMissing
from groundwork.sizes import Size


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


class Keep(Protocol):
    """Saves a secret that changed, where it will be looked up first."""

    def turn(self, named: Named) -> AbstractContextManager[None]:
        """Make sure of a place, and keep others of this machine from changing the secret meanwhile.

        Raises:
            SettingMissing: when there is no place to save it; nothing is spent yet then.
        """
        ...

    def save(self, named: Named, value: str) -> None:
        """Save the new value, durably, before anyone uses what came with it."""
        ...


SECRETS_DIRECTORY = "GROUNDWORK_SECRETS_DIR"
"""Setting: a directory with one file per secret, named as the catalog names it; the first place to look."""


def secrets_directory() -> Path | None:
    """The directory of secrets, if there is one."""
    text = os.environ.get(SECRETS_DIRECTORY, "")
    return Path(text) if text else None


def _secret_file(directory: Path, named: Named) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", named.name):
        raise SettingMissing(
            f"secret '{named.name}'", "cannot be the name of a file",
            fix=f"name it with letters, digits, - and _, or unset {SECRETS_DIRECTORY}",
        )  # fmt: skip
    return directory / named.name


class KeepInDirectory:
    """Saves secrets as files that only we may read."""

    def __init__(self, directory: Path | None = None) -> None:
        """Save in a directory; the one that the environment names when None."""
        self._directory = directory

    @contextmanager
    def turn(self, named: Named) -> Iterator[None]:
        """See `Keep.turn`."""
        from filelock import FileLock

        file = self._file(named)
        with FileLock(file.with_name(f".{file.name}.lock"), mode=0o600):
            yield

    def save(self, named: Named, value: str) -> None:
        """Replace the file in one step, so that a crash leaves the old value or the new one."""
        write_private(self._file(named), value)

    def _file(self, named: Named) -> Path:
        directory = self._directory or secrets_directory()
        if directory is None:
            raise SettingMissing(
                f"secret '{named.name}'",
                "changes when it is used, and there is no place to save the new value",
                why=f"the environment variable {named.environment_name} cannot be changed from here",
                fix=f"set {SECRETS_DIRECTORY} to a directory that only you can read; nothing was spent yet",
            )
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            writable = os.access(directory, os.W_OK | os.X_OK)
        except OSError:
            writable = False
        if not writable:
            raise SettingMissing(
                f"secret '{named.name}'",
                f"changes when it is used, and the directory {directory} cannot be written",
                fix=f"let {SECRETS_DIRECTORY} name a directory that can; nothing was spent yet",
            )
        return _secret_file(directory, named)


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read: whole or not at all, and durable on return."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as open_file:
            open_file.write(text)
            open_file.flush()
            os.fsync(open_file.fileno())
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    place = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def resolve_from_environment(named: Named) -> str:
    """Look a named value up: a secret's file first, where there is a directory, then the environment.

    Raises:
        SettingMissing: when it is in neither, or empty.
    """
    directory = secrets_directory() if named.secret else None
    if directory is not None:
        try:
            kept = _secret_file(directory, named).read_text(encoding="utf-8").strip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            kept = ""
        if kept:
            return kept
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


class Settings(BaseModel):
    """The platform's own settings, from ``GROUNDWORK_*`` in the environment.

    Read here, because to load pydantic-settings takes longer than all the work of a run with nothing new.
    """

    model_config = ConfigDict(extra="ignore")

    home: Path = Path(".groundwork")
    bucket: str = ""
    warehouse: Literal["duckdb", "snowflake"] = "duckdb"
    duckdb_path: Path | None = None
    duckdb_memory: Size | None = None
    """Memory that a load into DuckDB may use at most, ``4 GB``; derived from the machine if not set."""
    readers_copy: Path | None = None
    """Where `groundwork.serving.publishing` puts a copy for readers after each build; none when not set."""
    catalog: Path = Path("catalog")
    dbt: Path = Path("dbt")
    runbooks: str = "docs/runbooks.md"
    """Address of the page of runbooks, for the links in mails; e.g. where your repository is shown."""
    patience_seconds: float = 600
    """How late anything may be, at least, before its silence is a trouble (`groundwork.alerts.silence`)."""
    late_seconds: float = 180
    """How long a run may wait to be taken up."""
    least_free_percent: float = 10
    """A disk with less free space than this is filling."""

    def __init__(self, **given: Any) -> None:
        """Take what is not given from the environment."""
        names = {name: f"GROUNDWORK_{name.upper()}" for name in type(self).model_fields}
        found = {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}
        super().__init__(**found | given)

    @property
    def bucket_url(self) -> str:
        """The bucket's URL; a directory under ``home`` unless one was set."""
        return self.bucket or (self.home.absolute() / "bucket").as_uri()

    @property
    def patience(self) -> timedelta:
        """`patience_seconds` as a span."""
        return timedelta(seconds=self.patience_seconds)

    @property
    def duckdb_file(self) -> Path:
        """The DuckDB file of the embedded warehouse."""
        return (self.duckdb_path or self.home / "warehouse.duckdb").absolute()

    @property
    def dbt_target(self) -> Path:
        """Where dbt writes what it compiled, and how it went: DBT_TARGET_PATH, else in its project."""
        return Path(os.environ.get("DBT_TARGET_PATH") or self.dbt / "target").absolute()

    @property
    def warehouse_name(self) -> str:
        """What records call the warehouse: ``snowflake``, or a DuckDB file by its name and its place."""
        if self.warehouse != "duckdb":
            return self.warehouse
        place = f"{socket.gethostname()}:{self.duckdb_file}"
        return f"duckdb-{self.duckdb_file.stem}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    def into(self, other: str) -> Settings:
        """The same platform with another warehouse: ``snowflake``, or the path of a DuckDB file.

        Raises:
            SettingMissing: when it is neither.
        """
        if not other:
            return self
        if other in ("duckdb", "snowflake"):
            return self.model_copy(update={"warehouse": other})
        path = Path(other.removeprefix("duckdb:"))
        if path.suffix not in (".duckdb", ".db") or not path.absolute().parent.is_dir():
            raise SettingMissing(
                f"warehouse '{other}'", "is no warehouse",
                fix="name snowflake, or a DuckDB file in a directory that is there: /data/other.duckdb",
            )  # fmt: skip
        return self.model_copy(update={"warehouse": "duckdb", "duckdb_path": path})
