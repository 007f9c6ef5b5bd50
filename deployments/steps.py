"""Steps of prefect.yaml: what `prefect deploy` does before it writes deployments.

They refuse what Prefect would take without a word: a file that disagrees with the catalog, a job variable
that no pool knows, a variable of the environment that is not set, the wrong server.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client

from deployments import stanzas
from deployments.environments import Environment, choose
from deployments.pools import template
from groundwork.errors import GroundworkError, SettingMissing

VERSION = "GROUNDWORK_VERSION"
"""Setting: what is deployed, where git cannot say it."""

IMAGE = "GROUNDWORK_IMAGE"
"""Setting: an image with its tag, built elsewhere, to deploy instead of building one."""


def environment() -> dict[str, Any]:
    """Build step: check everything that can be, and say what differs in this environment.

    Returns:
        ``name``; ``version``, what is deployed; ``schedules``, whether runs begin by themselves;
        ``directory``, where the project is when a run begins.

    Raises:
        GroundworkError: when something is wrong; nothing of this deployment is written then.
    """
    return describe(_chosen())


def describe(chosen: Environment) -> dict[str, Any]:
    """What stanzas may say of an environment, as ``{{ environment.… }}``."""
    return {
        "name": chosen.name,
        "version": version(),
        "schedules": chosen.schedules,
        "directory": chosen.directory or str(Path.cwd()),
    }


def build_image() -> dict[str, Any]:
    """Build step: the image of this version, if the environment's runs are containers.

    An image that is there already is not built again: its tag is the commit.

    Returns:
        ``image``, with its tag; empty where runs are processes.

    Raises:
        SettingMissing: when the working tree differs from what is committed, so that the tag would lie.
    """
    name = image_name(_chosen())
    if name and not os.environ.get(IMAGE):
        _build(name)
    return {"image": name}


def push_image(image: str) -> dict[str, Any]:
    """Push step: bring the image to its registry, unless it was built elsewhere or is to stay here."""
    wanted = _chosen().image
    if not image or wanted is None or not wanted.push or os.environ.get(IMAGE):
        return {}
    from prefect_docker.deployments.steps import push_docker_image

    name, _, tag = image.rpartition(":")
    return dict(push_docker_image(image_name=name, tag=tag))


def image_name(chosen: Environment) -> str:
    """The image that an environment's runs are made of, with its tag; empty where they are processes.

    Raises:
        SettingMissing: as `build_image`.
    """
    if chosen.image is None:
        return ""
    if given := os.environ.get(IMAGE, ""):
        if ":" not in given.rpartition("/")[2] and "@" not in given:
            raise SettingMissing(
                IMAGE, f"'{given}' has no tag", why="Docker then takes 'latest', which moves",
                fix="name the tag or the digest",
            )  # fmt: skip
        return given
    if version().endswith("-dirty"):
        raise SettingMissing(
            f"image '{chosen.image.name}'", "cannot be named for its commit",
            why="the working tree differs from what is committed",
            fix=f"commit first, or set {VERSION}, or {IMAGE} to an image that is there",
        )  # fmt: skip
    return f"{chosen.image.name}:{version()}"


def version() -> str:
    """What is deployed: GROUNDWORK_VERSION, or the commit, with ``-dirty`` when files differ from it."""
    if given := os.environ.get(VERSION, ""):
        return given
    try:
        commit = _git("describe", "--always", "--tags")
        return (
            f"{commit}-dirty" if _git("status", "--porcelain") else commit
        )  # new files go into an image too
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=60)
    return found.stdout.strip()


@functools.cache
def _chosen() -> Environment:
    """The environment, and everything checked; once per process, though it is a step of every stanza."""
    with get_client(sync_client=True) as client:
        chosen = choose(client)
    if problems := stanzas.problems(template(chosen)[1]):
        raise GroundworkError(str(stanzas.FILE), "cannot be deployed", why=" ".join(problems))
    return chosen


@functools.cache
def _build(name: str) -> None:
    import docker
    from prefect_docker.deployments.steps import build_docker_image

    client = docker.from_env()
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        wanted = _chosen().image
        assert wanted is not None
        repository, _, tag = name.rpartition(":")
        build = dict(wanted.build)
        if build.get("build_backend") != "buildx":  # which calls its arguments otherwise
            build = {"rm": True, **build}  # else each of its steps leaves a container
            build["buildargs"] = {"VERSION": tag, **build.get("buildargs", {})}
        build_docker_image(image_name=repository, tag=tag, dockerfile=wanted.dockerfile, **build)
    finally:
        client.close()
