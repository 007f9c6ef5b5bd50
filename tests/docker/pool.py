"""A docker work pool with everything deployed to it, and a worker that is a container of the image."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from demo.platform import Platform
from demo.service import free_port
from tests.commands import PROJECT, run_command
from tests.conditions import until
from tests.docker.engine import BASE, HARDENED, Engine
from tests.prefect_access import speaking_to

TAG = "groundwork-deployed:tested"
VOLUME = "groundwork-tested"
PREFECT = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
LONGEST_RUN = 300
"""Seconds; the machine may be busy with other things."""

ENVIRONMENT: dict[str, Any] = {
    "pool": "docker",
    "directory": "/opt/groundwork",
    "schedules": False,
    "image": {
        "name": TAG.partition(":")[0],
        "push": False,
        "build": {"pull": False, "network_mode": "host", "buildargs": {"BASE_IMAGE": BASE}},
    },
    "job_variables": {
        "network_mode": "host",
        "image_pull_policy": "Never",
        "auto_remove": False,
        "mem_limit": "2g",
        "volumes": [f"{VOLUME}:/var/lib/groundwork"],
    },
    "queues": {"default": {"priority": 2}, "alerts": {"priority": 1}},
    "limits": {"groundwork-dbt": {"limit": 1}},
}


class Pool:
    """What `deployments.apply` made, with a worker; also a context manager."""

    def __init__(self, engine: Engine, services: Platform, directory: Path) -> None:
        self.engine, self.services, self.directory = engine, services, directory
        self.worker: Any = None
        self.report = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.engine.client.images.list(TAG):  # an earlier session's: the build step would leave it
            self.engine.client.images.remove(TAG, force=True)
        file = self.directory / "tested.yaml"
        file.write_text(yaml.safe_dump(ENVIRONMENT), encoding="utf-8")
        given = {
            **self.services.environment(),
            "DOCKER_HOST": self.engine.url,
            "DOCKER_BUILDKIT": "0",
            "GROUNDWORK_ENVIRONMENT": str(file),
            "GROUNDWORK_VERSION": TAG.partition(":")[2],
        }
        self.report = run_command("deployments.apply", "--deploy", environment=given)
        self._stack.enter_context(speaking_to(given))
        self.start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.stop_worker()
        self.engine.remove_containers()
        for volume in self.engine.client.volumes.list(filters={"name": VOLUME}):
            volume.remove(force=True)

    def start_worker(self) -> None:
        """The image's default door; it reaches the engine by its socket, and Prefect by its API."""
        self.worker = self.engine.client.containers.run(
            TAG,
            detach=True,
            volumes=[f"{self.engine.socket}:/var/run/docker.sock"],
            group_add=[str(self.engine.socket.stat().st_gid)],
            environment={
                **{name: self.services.environment()[name] for name in PREFECT},
                "PREFECT_WORKER_QUERY_SECONDS": "2",
                "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
            },
            healthcheck={"interval": 2_000_000_000, "start_period": 120_000_000_000},
            **HARDENED,
        )

    def stop_worker(self) -> None:
        """Stop it as an operator would: SIGTERM, then patience."""
        if self.worker is not None:
            self.worker.stop(timeout=30)
            self.worker.remove(force=True)
            self.worker = None

    def run(self, deployment: str, *, wait: bool = True, **options: Any) -> FlowRun:
        """Run a deployment; its run, ended if it was waited for."""
        run = run_deployment(deployment, timeout=LONGEST_RUN if wait else 0, poll_interval=0.5, **options)
        assert isinstance(run, FlowRun)
        return run

    def run_undisturbed(self, deployment: str, **options: Any) -> FlowRun:
        """Run a deployment that an automation may be running just now: Prefect then cancels ours, unbegun."""
        deadline = time.monotonic() + LONGEST_RUN
        while True:
            run = self.run(deployment, **options)
            assert run.state is not None
            if not run.state.is_cancelled() or time.monotonic() > deadline:
                return run

    def read(self, run: FlowRun | UUID) -> FlowRun:
        """A run as it is now."""
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run if isinstance(run, UUID) else run.id)

    def reaches(self, run: FlowRun, name: str, *, seconds: float = LONGEST_RUN) -> FlowRun:
        """The run, once its state has this name."""

        def reached() -> FlowRun | None:
            found = self.read(run)
            assert found.state is not None
            if found.state.is_final() and found.state.name != name:
                raise AssertionError(f"{found.name} is {found.state.name}: {found.state.message}")
            return found if found.state.name == name else None

        found: FlowRun = until(reached, seconds=seconds, what=f"{run.name} is {name}")
        return found

    def container(self, run: FlowRun) -> Any:
        """The container that a run was, or is, in; Prefect's labels say so."""
        labelled = {"label": f"io.prefect.flow-run-id={run.id}"}

        def there() -> Any:
            return next(iter(self.engine.client.containers.list(all=True, filters=labelled)), None)

        return until(there, seconds=60, what=f"a container of {run.name}")

    def ask(self, sql: str) -> str:
        """Ask the warehouse in the volume, in a container of its own."""
        mounted = {"volumes": [f"{VOLUME}:/var/lib/groundwork"]}
        return self.engine.run(TAG, "python", "-m", "groundwork", "sql", sql, **mounted)


def all_deployments() -> list[str]:
    """What prefect.yaml names, as ``flow/deployment``."""
    content = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    flows = {
        stanza["name"]: stanza["entrypoint"].rpartition(":")[2].replace("_", "-")
        for stanza in content["deployments"]
    }
    return [f"{flow}/{name}" for name, flow in flows.items()]
