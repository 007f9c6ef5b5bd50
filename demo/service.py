"""One embedded service: a real program, on free loopback ports, with all its state in one directory.

A part of the demo says which program it is (`command`), what it needs before its first start
(`prepare`) and when it can be used (`is_ready`: a real condition, never a pause). Everything else
is the same for all of them and is here. The program runs under ``demo/guard.py``, which ends it
together with this process, whatever way this process ends.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
START_ATTEMPTS = 3  # a port that was free when it was chosen may be taken when it is opened

_given_out: set[int] = set()
_giving_out = threading.Lock()


class ServiceError(RuntimeError):
    """An embedded service did not start, or is not running when it must be."""


def is_free(port: int) -> bool:
    """Whether nothing listens on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(remembered: int | None = None) -> int:
    """A free loopback port that this process gives out only once.

    The ports are taken from 20000 to 29999: below the range out of which the kernel picks the ports
    of outgoing connections, so that no connection takes one between the choice and its use.

    Args:
        remembered: the port of an earlier start; kept if it is still free.
    """
    with _giving_out:
        if remembered is not None and is_free(remembered):
            _given_out.add(remembered)
            return remembered
        for _ in range(1000):
            port = 20000 + secrets.randbelow(10000)
            if port not in _given_out and is_free(port):
                _given_out.add(port)
                return port
    raise ServiceError("no free loopback port found between 20000 and 29999")


def keep_secret(path: Path, before: str = "") -> str:
    """The random secret kept in this file (mode 0600), made at the first call, behind a text."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(before + secrets.token_hex(16))
    return path.read_text()


class Service:
    """A program that is started, waited for and stopped; also a context manager.

    Args:
        directory: where all state, logs and secrets of the service are kept; made if absent.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("main",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    patience: ClassVar[float] = 15.0  # seconds from the stop signal to SIGKILL
    start_timeout: ClassVar[float] = 60.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.ports: dict[str, int] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    # what a part of the demo defines --------------------------------------------------------------

    def prepare(self) -> None:
        """Make what the program needs before it starts. Called at every start."""

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def program_environment(self) -> dict[str, str]:
        """Environment variables of the program, added to those of this process."""
        return {}

    def is_ready(self) -> bool:
        """Whether the service does its work now."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What a user of the service needs to know, as environment variables."""
        return {}

    # what is the same for all ---------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that users of the service connect to."""
        return self.ports[self.port_names[0]]

    @property
    def log_path(self) -> Path:
        """Where the program's output goes, of all its starts."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The program's process id while it runs."""
        try:
            return int((self.directory / "pid").read_text())
        except FileNotFoundError:
            return None

    @property
    def is_running(self) -> bool:
        """Whether the program has been started here and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> Self:
        """Start the program and wait until it is ready.

        Raises:
            ServiceError: it ended or was not ready in time; the message holds its last log lines.
        """
        if self.is_running:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        for attempt in range(1, START_ATTEMPTS + 1):
            self._choose_ports(remember=attempt == 1)
            self.prepare()
            self._spawn()
            try:
                self._wait_until_ready()
                break
            except ServiceError:
                self.stop()
                lost_port = "already in use" in self.log_tail().lower()
                if not lost_port or attempt == START_ATTEMPTS:
                    raise
        logger.info("started service=%s seconds=%.1f", self.name, time.monotonic() - began)
        return self

    def stop(self) -> None:
        """Ask the program to end, wait for it, and kill what does not end. Safe to call twice."""
        if self._guard is None:
            return
        if self._guard.poll() is None:
            self._guard.terminate()
        self._guard.wait(self.patience + 10)
        self._guard = None

    def kill(self) -> None:
        """End the program with SIGKILL, as a crash would, and wait until nothing of it is left."""
        pid = self.pid
        if self._guard is None or pid is None:
            raise ServiceError(f"{self.name}: not running, so it cannot be killed; start it first")
        os.kill(pid, signal.SIGKILL)
        self._guard.wait(self.patience + 10)
        self._guard = None

    def restart(self) -> Self:
        """Stop and start again, on the same ports."""
        self.stop()
        return self.start()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the program's log."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(max(0, self.log_path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _choose_ports(self, *, remember: bool) -> None:
        path = self.directory / "ports.json"
        known = json.loads(path.read_text()) if remember and path.exists() else {}
        self.ports = {name: free_port(known.get(name)) for name in self.port_names}
        path.write_text(json.dumps(self.ports))

    def _spawn(self) -> None:
        (self.directory / "pid").unlink(missing_ok=True)
        guard = Path(__file__).with_name("guard.py")
        words = [os.getpid(), int(self.stop_signal), self.patience, self.directory, "--"]
        command = [sys.executable, "-I", "-S", str(guard), *map(str, words), *self.command()]
        with self.log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.program_environment()},
                start_new_session=True,  # Ctrl-C is for the process that owns us, which stops us
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not (self.pid is not None and self.is_ready()):
            ended = not self.is_running
            if ended or time.monotonic() > deadline:
                why = "ended" if ended else f"was not ready after {self.start_timeout:.0f} seconds"
                raise ServiceError(
                    f"{self.name}: the program {why}; see {self.log_path}. Its last lines:\n{self.log_tail()}"
                )
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
