"""Settings that a platform has saved in its home: the demo's, for commands in a shell that sets nothing.

The demo's services are stopped when it ends. A command that needs some of them starts them and stops them
again; a platform that runs is used as it is. See docs/decisions/0042-settings-of-the-demo.md.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork.errors import SettingMissing
from groundwork.settings import write_private

log = logging.getLogger(__name__)

FILE = "settings.json"
LOCK = "platform.lock"
"""Held by a platform while it runs."""
SOURCES = ("s3", "shop", "payments", "prefect")
NEEDED: Mapping[str, Collection[str]] = {
    **dict.fromkeys(("replay", "load", "forget", "compact", "sweep", "digest"), ("s3",)),
    **dict.fromkeys(("extract", "full-refresh", "doctor"), SOURCES),
}
"""The services that a command needs."""


class Saved(BaseModel):
    """What a platform saved."""

    model_config = ConfigDict(frozen=True)
    variables: dict[str, str]
    """Its settings and secrets, by the names of environment variables."""
    serve: list[str]
    """The command that starts services, without their names. It prints `variables` as one line of JSON
    when they run, and stops them when its standard input ends."""
    checkout: Path
    """Where that command is run."""


def save(home: Path, saved: Saved) -> None:
    """Save them where only we may read them."""
    write_private(home / FILE, saved.model_dump_json(indent=1))


def read(home: Path) -> Saved | None:
    """What a platform saved in this home; None when there is nothing.

    Raises:
        SettingMissing: when others could have written or can read it, or it is not what `save` wrote.
    """
    file = home / FILE
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingMissing(
            str(file),
            "belongs to another user, or others may read or write it",
            why="it holds secrets and says what is run",
            fix=f"remove it and run `make demo` again, or make it yours alone: chmod 600 {file}",
        )
    try:
        return Saved.model_validate_json(file.read_bytes())
    except ValidationError as error:
        fix = "remove it and run `make demo` again"
        raise SettingMissing(str(file), "is not what a platform saved", fix=fix) from error


@contextmanager
def in_place(command: str, environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Set what the shell does not set, and let the services run that a command needs.

    A shell that names a bucket is not completed: its other settings would be of another platform.

    Args:
        command: its name.
        environment: what is completed, for as long as the context lasts.

    Raises:
        SettingMissing: see `read`; or when the services do not start.
    """
    home = Path(environment.get("GROUNDWORK_HOME") or ".groundwork")
    saved = None if environment.get("GROUNDWORK_BUCKET") else read(home)
    if saved is None:
        yield
        return
    before = dict(environment)
    try:
        _complete(environment, saved.variables)
        needed = NEEDED.get(command, ())
        if needed and not _runs(home):
            with _started(saved, needed, environment) as variables:
                _complete(environment, variables)
                yield
        else:
            yield
    finally:
        environment.clear()
        environment.update(before)


def _complete(environment: MutableMapping[str, str], variables: Mapping[str, str]) -> None:
    """The bucket with all that belongs to it; of everything else only what is not set."""
    for name, value in variables.items():
        if name == "GROUNDWORK_BUCKET" or name.startswith("AWS_") or not environment.get(name):
            environment[name] = value


def _runs(home: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(home / LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def _started(
    saved: Saved, parts: Collection[str], environment: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """Run services of the platform; their settings."""
    log.info("started for this command: %s", ", ".join(parts))
    with subprocess.Popen(
        [*saved.serve, *parts],
        cwd=saved.checkout,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C ends the command first, which then ends them
    ) as serving:
        assert serving.stdin is not None and serving.stdout is not None
        try:
            line = serving.stdout.readline()
            if not line:
                raise SettingMissing(
                    f"services {', '.join(parts)} of {saved.checkout}",
                    "did not start",
                    why="the lines above say why",
                    fix="start the whole platform: make serve",
                )
            yield json.loads(line)
        finally:
            serving.stdin.close()
            serving.wait()
