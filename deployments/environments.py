"""Environments: what differs between this machine, dev and prod. The stanzas of prefect.yaml are the same.

One file each in ``environments/``. A server (or a workspace of Prefect Cloud) is of one environment: the
first apply writes its name into the Prefect variable `groundwork_environment`, later ones take it from
there, and refuse another. So nobody deploys dev to prod by a forgotten setting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from groundwork.errors import SettingMissing
from tasks.run_states import SWITCH

DIRECTORY = Path(__file__).with_name("environments")
SETTING = "GROUNDWORK_ENVIRONMENT"
"""Setting: the environment's name, or the path of a file of your own."""

VARIABLE = "groundwork_environment"
"""Prefect variable: which environment a server is of."""

DEFAULT = "local"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Image(_Strict):
    """The image that runs are made of."""

    name: str
    """With its registry, without a tag: the tag is the version that is deployed."""
    dockerfile: str = "Dockerfile"
    push: bool = True
    build: dict[str, Any] = {}
    """Passed on to Prefect's build step, e.g. ``platform``, ``pull``, ``network_mode``, ``buildargs``."""


class Queue(_Strict):
    """A work queue of the pool."""

    priority: int = Field(ge=1)
    """1 comes first."""
    concurrency_limit: int | None = Field(default=None, ge=0)
    """How many of its runs may run at once, over all workers."""


class Limit(_Strict):
    """A global concurrency limit."""

    limit: int = Field(ge=0)
    slot_decay_per_second: float = Field(default=0, ge=0)


class Environment(_Strict):
    """Everything that differs between environments; no secret is among it."""

    name: str
    pool: str
    """Kind of the work pool: the name of a template in ``work_pools/``."""
    directory: str = ""
    """Where the project is when a run begins; the deployer's own when empty."""
    image: Image | None = None
    schedules: bool = True
    """Whether runs begin by themselves."""
    job_variables: dict[str, Any] = {}
    """Defaults of the pool's own variables."""
    env: dict[str, str] = {}
    """Environment variables of every run."""
    secrets: dict[str, str] = {}
    """Environment variables of every run, each with the Secret block that the worker reads it from."""
    queues: dict[str, Queue] = {}
    limits: dict[str, Limit] = {}
    variables: dict[str, Any] = {}
    """Prefect variables."""

    @property
    def own_variables(self) -> dict[str, Any]:
        """`variables`, the environment's name, and that nobody is to be called because nothing runs."""
        quiet = {} if self.schedules else {SWITCH: "off"}
        return {VARIABLE: self.name, **quiet, **self.variables}


def read_environment(name: str) -> Environment:
    """The environment of a name, or in a file.

    Raises:
        SettingMissing: when there is none, or the file is wrong.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else DIRECTORY / f"{name}.yaml"
    known = sorted(found.stem for found in DIRECTORY.glob("*.yaml"))
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Environment.model_validate({"name": file.stem, **(content or {})})
    except FileNotFoundError as error:
        raise SettingMissing(
            f"environment '{name}'", f"there is no file {file}", fix=f"choose one of {', '.join(known)}"
        ) from error
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        why = "; ".join(_told(error)) if isinstance(error, ValidationError) else type(error).__name__
        raise SettingMissing(f"environment '{name}'", f"{file} is wrong", why=why) from error


def choose(client: SyncPrefectClient, name: str = "") -> Environment:
    """The environment to deploy: the one asked for, or else the one that the server is of.

    Args:
        client: speaks to the server.
        name: asked for; else GROUNDWORK_ENVIRONMENT, else what the server says, else ``local``.

    Raises:
        SettingMissing: when the server is of another environment than asked for.
    """
    recorded = _recorded(client)
    asked = name or os.environ.get(SETTING, "")
    chosen = read_environment(asked or recorded or DEFAULT)
    if recorded and chosen.name != recorded:
        raise SettingMissing(
            f"environment '{chosen.name}'", f"this Prefect is '{recorded}' ({client.api_url})",
            why="an environment has a server or workspace of its own",
            fix=f"set PREFECT_API_URL to the right one, or leave {SETTING} unset; to make this one "
            f"'{chosen.name}' for good, run `prefect variable unset {VARIABLE}` first",
        )  # fmt: skip
    return chosen


def _recorded(client: SyncPrefectClient) -> str:
    found = client.read_variable_by_name(VARIABLE)
    return str(found.value) if found else ""


def _told(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
