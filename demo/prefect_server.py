"""A Prefect server and a worker, with a home of their own and PostgreSQL as the server's database.

SQLite is not used: on Prefect 3.8 it loses and doubles alerts. The order of events is kept in the
database too: kept in memory, an event after a restart may wait 15 minutes.

Loopback does not protect the API: any web page in a browser can send requests to it, and write access means
running code. So the API has a random password, allows no other origin, and requires CSRF tokens.
"""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from demo.payments import answers
from demo.postgres import Postgres
from demo.service import LOOPBACK, Service, keep_secret

DATABASE = "prefect"
ROLE = "prefect"
LOGIN_USER = "groundwork"
# A server and a worker import every Prefect collection that is installed: eight seconds of the
# processor's time each, for nothing they need here. A module that is None in sys.modules cannot be
# imported, which Prefect notes with one warning each. Flow runs are processes of their own and import all.
PREFECT_COMMAND = """
import runpy, sys
sys.modules.update(dict.fromkeys(("prefect_aws", "prefect_dbt", "prefect_snowflake")))
runpy.run_module("prefect", run_name="__main__", alter_sys=True)
"""

HEARTBEAT_SECONDS = 30  # the least that Prefect allows; a zombie is found after about three of them


def create_prefect_database(server: Postgres) -> str:
    """Make the role and the database of a Prefect server if they are absent.

    Returns:
        The database's address for SQLAlchemy and asyncpg.
    """
    password = keep_secret(server.directory / f"password-{ROLE}")
    if not server.sql("select 1 from pg_roles where rolname = :role", role=ROLE):
        server.sql(f"create role {ROLE} login password '{password}'")
    if not server.sql("select 1 from pg_database where datname = :name", name=DATABASE):
        server.sql(f"create database {DATABASE} owner {ROLE}")
    url = server.url(DATABASE, user=ROLE, password=password)
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


class PrefectServer(Service):
    """A Prefect server: API, user interface, scheduler and automations.

    Args:
        directory: holds Prefect's home and the log.
        database_url: SQLAlchemy's address of its PostgreSQL database.
        protected: false only for a test that wants an API without a password.
    """

    name: ClassVar[str] = "prefect-server"
    start_timeout: ClassVar[float] = 180.0  # the first start makes the tables

    def __init__(self, directory: Path, database_url: str, *, protected: bool = True) -> None:
        super().__init__(directory)
        self.database_url, self.protected = database_url, protected

    @property
    def login_file(self) -> Path:
        """Where the login of API and user interface is kept (mode 0600)."""
        return self.directory / "login"

    @property
    def login(self) -> str:
        """`user:password`, as Prefect's settings and its user interface want it."""
        return keep_secret(self.login_file, f"{LOGIN_USER}:")

    @property
    def url(self) -> str:
        """The address of the user interface."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"{self.url}/api"

    def environment(self) -> dict[str, str]:
        """What flows, workers and commands need to speak to this server and to no other."""
        return {
            "PREFECT_HOME": str(self.directory / "home"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_UI_URL": self.url,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",  # less is lost when a run is killed
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **({"PREFECT_API_AUTH_STRING": self.login} if self.protected else {}),
        }

    def headers(self) -> dict[str, str]:
        """What a request to the running API must carry: the login, and a CSRF token for what it changes."""
        if not self.protected:
            return {"Content-Type": "application/json"}
        given = {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(self.login.encode()).decode()}",
        }
        client = str(uuid.uuid4())
        request = urllib.request.Request(f"{self.api_url}/csrf-token?client={client}", headers=given)
        with urllib.request.urlopen(request, timeout=30) as response:
            token = json.load(response)["token"]
        return {**given, "Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    def prepare(self) -> None:
        """Make Prefect's home and the login; both are for this user only."""
        self.directory.chmod(0o700)
        (self.directory / "home").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        """Prefect's own command, in the foreground."""
        where = ["--host", LOOPBACK, "--port", str(self.port)]
        return [sys.executable, "-c", PREFECT_COMMAND, "server", "start", *where]

    def program_environment(self) -> dict[str, str]:
        """The server's own settings: on top of its users' ones, its database and its address."""
        return {
            **self.environment(),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database_url,
            "PREFECT_SERVER_API_HOST": LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(self.port),  # the user interface asks this port
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect.server.events.ordering.db",
            # Kept in memory, a restart forgets who holds a deployment's place, and it is never free again.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            # A run that waits for its deployment's place asks again after this; a person may be watching.
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
            **(self._protection() if self.protected else {}),
        }

    def _protection(self) -> dict[str, str]:
        return {
            "PREFECT_SERVER_API_AUTH_STRING": self.login,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": self.url,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        }

    def is_ready(self) -> bool:
        """Whether the API says it is healthy: the tables are made and the services run."""
        return answers(LOOPBACK, self.port, "/api/health")

    def settle(self) -> int:
        """Put its memory right while no worker lives; return how many runs that concerned.

        Runs whose time passed, or that never got to begin, are deleted: a worker would begin all of them at
        once. Those that were running when everything was stopped are cancelled: each would hold its
        deployment's only place until its lease ends, and what is called meanwhile is dropped.
        """
        missed = {
            "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}},
            "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
        }
        lost = {"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}
        cancelled = {"type": "CANCELLED", "message": "Everything was stopped."}
        count = 0
        while found := self._asked("POST", "/flow_runs/filter", {"flow_runs": missed, "limit": 200}):
            for run in found:
                self._asked("DELETE", f"/flow_runs/{run['id']}")
            count += len(found)
        for run in self._asked("POST", "/flow_runs/filter", {"flow_runs": lost, "limit": 200}):
            self._asked("POST", f"/flow_runs/{run['id']}/set_state", {"state": cancelled})
            count += 1
        return count

    def _asked(self, method: str, path: str, body: object = None) -> list[dict[str, str]]:
        data = None if body is None else json.dumps(body).encode()
        url, headers = self.api_url + path, self.headers()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = response.read()
        return json.loads(answer) if answer else []


class PrefectWorker(Service):
    """A worker of a process pool; the pool is made if it is absent.

    Args:
        directory: holds the log.
        server: the running server it works for.
        pool: the work pool's name.
        called: the worker's own name; two at once need two.
        queues: take work from these queues of it only.
        settings: environment variables of the flow runs.
    """

    name: ClassVar[str] = "prefect-worker"
    port_names: ClassVar[tuple[str, ...]] = ()
    start_timeout: ClassVar[float] = 90.0

    def __init__(
        self,
        directory: Path,
        server: PrefectServer,
        *,
        pool: str = "default",
        called: str = "embedded",
        queues: Sequence[str] = (),
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.server = server
        self.pool = pool
        self.called = called
        self.queues = queues
        self.settings = settings or {}
        self._began = datetime.now(UTC)

    def prepare(self) -> None:
        """Remember when it was started: older heartbeats are another worker's."""
        self._began = datetime.now(UTC)

    def command(self) -> list[str]:
        """Prefect's own command, in the foreground."""
        options = ["--pool", self.pool, "--type", "process", "--name", self.called]
        options += [word for queue in self.queues for word in ("--work-queue", queue)]
        return [sys.executable, "-c", PREFECT_COMMAND, "worker", "start", *options]

    def program_environment(self) -> dict[str, str]:
        """The settings of the flow runs, and a shorter wait between two looks for work."""
        return {
            **self.settings,
            **self.server.environment(),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }

    def is_ready(self) -> bool:
        """Whether the server has heard of this worker since it was started."""
        path = f"/work_pools/{self.pool}/workers/filter"
        try:
            headers = self.server.headers()
            request = urllib.request.Request(self.server.api_url + path, data=b"{}", headers=headers)
            with urllib.request.urlopen(request, timeout=5) as response:
                workers = json.load(response)
        except (OSError, urllib.error.HTTPError):
            return False
        heard = (
            datetime.fromisoformat(worker["last_heartbeat_time"])
            for worker in workers
            if worker["name"] == self.called
        )
        return any(instant > self._began for instant in heard)
