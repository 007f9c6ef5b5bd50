"""A Docker Engine of the tests' own: installed if it is absent, without a registry, without a bridge.

It listens on a socket of its own, and leaves the machine's network alone: containers use the host's. What
it keeps (layers, volumes) lies in `.groundwork/docker`, so that the second run builds in seconds.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import tarfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import docker
import pytest

from tests.commands import PROJECT

HOME = PROJECT / ".groundwork" / "docker"
BASE = "python:3.11-slim-bookworm"


class Engine:
    """dockerd; also a context manager."""

    def __init__(self, directory: Path = HOME) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def client(self) -> Any:
        return docker.DockerClient(base_url=self.url, timeout=600)

    def __enter__(self) -> Self:
        install()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._end_the_last_one()
        place = self.directory
        with (place / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    *("dockerd", "--host", self.url, "--data-root", str(place / "data")),
                    *("--exec-root", str(place / "exec"), "--pidfile", str(place / "docker.pid")),
                    *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.ping()
                return self
            except Exception as error:
                if self._daemon.poll() is not None or time.monotonic() > deadline:
                    tail = (place / "dockerd.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"dockerd does not start:\n{tail}") from error
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        assert self._daemon is not None
        try:
            self.remove_containers()
        finally:
            self._daemon.terminate()
            try:
                self._daemon.wait(60)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait(30)
        subprocess.run(
            ["umount", str(self.directory / "exec/netns/default")], capture_output=True, check=False
        )

    def _end_the_last_one(self) -> None:
        """End an engine that a killed session of ours left behind here."""
        try:
            left = int((self.directory / "docker.pid").read_text())
            ours = str(self.socket) in Path(f"/proc/{left}/cmdline").read_text()
        except (OSError, ValueError):
            return
        if ours:
            os.kill(left, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while Path(f"/proc/{left}").exists() and time.monotonic() < deadline:
                time.sleep(0.1)

    def remove_containers(self) -> None:
        """Remove all of them, running or not."""
        for container in self.client.containers.list(all=True):
            try:
                container.remove(force=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # it is gone, or on its way
                    raise

    def run(self, image: str, *command: str, **options: Any) -> str:
        """Run a container as ours are run, to its end; what it wrote. A failure raises."""
        settings = {**HARDENED, "remove": True, "stderr": True, **options}
        return str(self.client.containers.run(image, list(command), **settings).decode())


HARDENED: dict[str, Any] = {
    "network_mode": "host",
    "read_only": True,
    "tmpfs": {"/tmp": "size=512m"},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""How containers of ours are run, here and by the template of the pool."""


def install() -> None:
    """Have an engine on this machine: Debian's own, which starts nothing by itself."""
    if shutil.which("dockerd"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.exit("make test-docker needs dockerd (package docker.io), and root to start it", 2)
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "docker.io", "mmdebstrap"],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=600)


def base_image(engine: Engine) -> str:
    """The official base image's stand-in, made of Debian's packages: no registry is asked.

    On Debian 12 of this machine's own (seconds), elsewhere by mmdebstrap (a minute).
    """
    if not engine.client.images.list(BASE):
        debian = Path("/etc/debian_version")
        own = debian.is_file() and debian.read_text().startswith("12.")
        script = "base_from_host.sh" if own else "base_from_packages.sh"
        command = ["bash", str(Path(__file__).with_name(script)), BASE]
        environment = {**os.environ, "DOCKER_HOST": engine.url}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    return BASE


def build(engine: Engine, tag: str, place: str = ".", **arguments: str) -> Any:
    """Build an image as a user would: `docker build` in the project's directory, by the classic builder."""
    base_image(engine)
    given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    command = ["docker", "build", "--network", "host", "--tag", tag, *given, place]
    environment = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return engine.client.images.get(tag)


def files_of(engine: Engine, image: str) -> list[tarfile.TarInfo]:
    """Every file of an image, with its mode and owner; nothing of it is run."""
    container = engine.client.containers.create(image, ["true"], network_mode="none")
    try:
        spool = BytesIO()
        for chunk in container.export():
            spool.write(chunk)
    finally:
        container.remove(force=True)
    spool.seek(0)
    with tarfile.open(fileobj=spool) as archive:
        return archive.getmembers()


def machine() -> str:
    """What this was measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
