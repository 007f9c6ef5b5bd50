"""The servers: which program, how it is started, and when it can be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import ClassVar

from demo.service import LOOPBACK, Service
from tests.integration.servers.asking import answers
from tests.integration.servers.installed import program, script


class Server(Service):
    """A server with one port; ``at`` is a path that it answers when it is up."""

    start_timeout: ClassVar[float] = 180.0
    at: ClassVar[str] = "/"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        return answers(f"{self.url}{self.at}")


class Datasette(Server):
    """Tables of an SQLite file, and GraphQL over them by a plugin."""

    name: ClassVar[str] = "datasette"
    at: ClassVar[str] = "/-/versions.json"

    @property
    def database(self) -> Path:
        return self.directory / "library.db"

    def prepare(self) -> None:
        sqlite3.connect(self.database).close()
        self.database.touch()

    def command(self) -> list[str]:
        words = ["serve", str(self.database), "--host", LOOPBACK, "--port", str(self.port)]
        return [program("datasette"), *words]


class Kinto(Server):
    """Mozilla's store of JSON records, in memory."""

    name: ClassVar[str] = "kinto"
    at: ClassVar[str] = "/v1/__heartbeat__"

    def prepare(self) -> None:
        backends = "".join(
            f"kinto.{kind}_backend = kinto.core.{kind}.memory\n"
            for kind in ("storage", "permission", "cache")
        )
        (self.directory / "kinto.ini").write_text(
            f"[app:main]\nuse = egg:kinto\n{backends}kinto.userid_hmac_secret = tests\n"
            "multiauth.policies = basicauth\nkinto.bucket_create_principals = system.Authenticated\n"
            "[server:main]\nuse = egg:waitress#main\n"
            f"host = {LOOPBACK}\nport = {self.port}\n"
        )

    def command(self) -> list[str]:
        return [program("pserve", of="kinto"), str(self.directory / "kinto.ini")]


class MLflow(Server):
    """Experiments and their runs, in SQLite."""

    name: ClassVar[str] = "mlflow"
    at: ClassVar[str] = "/health"

    def command(self) -> list[str]:
        store = f"sqlite:///{self.directory / 'mlflow.db'}"
        words = ["server", "--backend-store-uri", store, "--workers", "1"]
        return [program("mlflow"), *words, "--host", LOOPBACK, "--port", str(self.port)]


class JsonServer(Server):
    """A REST API over a JSON file."""

    name: ClassVar[str] = "json-server"
    at: ClassVar[str] = "/books"

    def prepare(self) -> None:
        (self.directory / "db.json").write_text('{"books": []}')

    def command(self) -> list[str]:
        run = script("json-server", "lib/cli/bin.js")
        return [*run, str(self.directory / "db.json"), "--host", LOOPBACK, "--port", str(self.port), "-q"]


class PocketBase(Server):
    """A backend in one file, with logins."""

    name: ClassVar[str] = "pocketbase"
    at: ClassVar[str] = "/api/health"

    def command(self) -> list[str]:
        words = ["serve", "--http", f"{LOOPBACK}:{self.port}", "--dir", str(self.directory / "data")]
        return [program("pocketbase"), *words]


class Dagster(Server):
    """Dagster's webserver, whose API is GraphQL."""

    name: ClassVar[str] = "dagster"
    at: ClassVar[str] = "/server_info"

    def prepare(self) -> None:
        (self.directory / "definitions.py").write_text(
            "from dagster import Definitions\n\ndefs = Definitions()\n"
        )

    def program_environment(self) -> dict[str, str]:
        return {"DAGSTER_HOME": str(self.directory)}

    def command(self) -> list[str]:
        words = ["-f", str(self.directory / "definitions.py"), "-h", LOOPBACK, "-p", str(self.port)]
        return [program("dagster-webserver", of="dagster"), *words]


class PouchDB(Server):
    """PouchDB's server, which speaks CouchDB's protocol."""

    name: ClassVar[str] = "pouchdb"

    def command(self) -> list[str]:
        run = script("pouchdb-server", "bin/pouchdb-server")
        return [*run, "--in-memory", "--no-color", "--port", str(self.port), "--host", LOOPBACK]
