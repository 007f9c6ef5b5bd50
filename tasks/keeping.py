"""Secrets that change while a flow runs: a new refresh token is saved in the Prefect block it came from.

The block is the truth. But Prefect's API may be away just then, or the run may be killed before it has
answered, so the new value is first written to a file of this machine (mode 0600, under GROUNDWORK_HOME) that
says which value it replaces. Whoever looks the secret up next finishes the save. A file that replaces
another value than the block's is stale: somebody signed in anew, and their value counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from groundwork.errors import GroundworkError, SettingMissing
from groundwork.settings import (
    SECRETS_DIRECTORY,
    KeepInDirectory,
    Named,
    Settings,
    secrets_directory,
    write_private,
)

log = logging.getLogger(__name__)

_TRIES = 4
"""How often the block is saved before we leave it to the next run; half a second, one, two between."""


def read_secret(named: Named) -> str:
    """The value of a Prefect Secret block, "" if there is none; a save that was cut short is finished."""
    value = _block_value(named)
    newer = _unsaved(named, value) if value else ""
    if not newer:
        return value
    try:
        _save_block(named, newer)
    except Exception as error:  # the file is still there for the next run
        log.warning("secret waits to be saved secret=%s why=%s", named.name, type(error).__name__)
    else:
        _file(named).unlink(missing_ok=True)
    return newer


class KeepInPrefect:
    """Saves a secret that changed where a flow run looks it up first."""

    def __init__(self) -> None:
        """Speak to the Prefect that this process speaks to."""
        self._directory = KeepInDirectory()
        self._replaced: dict[str, str] = {}

    @contextmanager
    def turn(self, named: Named) -> Iterator[None]:
        """See `groundwork.settings.Keep.turn`."""
        if secrets_directory() is not None:
            with self._directory.turn(named):
                yield
            return
        if os.environ.get(named.environment_name):
            raise SettingMissing(
                f"secret '{named.name}'",
                "changes when it is used, and comes from a place that cannot be changed",
                why=f"the environment variable {named.environment_name} comes before Prefect's block",
                fix=f"save it as a Prefect Secret block and unset the variable, or set {SECRETS_DIRECTORY}; "
                "nothing was spent yet",
            )
        file = _file(named)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), mode=0o600):
            value = read_secret(named)  # which also proves that Prefect can be reached
            if not value:
                raise SettingMissing(
                    f"secret '{named.name}'", "has no value",
                    fix=f"save a Prefect secret named '{named.name}'",
                )  # fmt: skip
            self._replaced[named.name] = _digest(value)
            yield

    def save(self, named: Named, value: str) -> None:
        """Save the new value: in a file first, then in the block."""
        if secrets_directory() is not None:
            self._directory.save(named, value)
            return
        kept = {"replaces": self._replaced[named.name], "value": value}
        write_private(_file(named), json.dumps(kept))
        _save_block(named, value)
        _file(named).unlink(missing_ok=True)


def _block_value(named: Named) -> str:
    from prefect.blocks.system import Secret

    try:
        block = Secret.load(named.name)
    except ValueError:  # Prefect's word for a block that is not there
        return ""
    found = block.get()  # type: ignore[union-attr]
    if not isinstance(found, str):  # Prefect reads 12e3 as a number; it was a text
        found = block.value.get_secret_value()  # type: ignore[union-attr]
    return str(found or "")


def _save_block(named: Named, value: str) -> None:
    from prefect.blocks.system import Secret

    failed = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(0.5 * 2 ** (attempt - 1))
        try:
            Secret(value=value).save(named.name, overwrite=True)
        except Exception as error:
            failed = type(error).__name__
        else:
            return
    raise GroundworkError(  # without its cause: what Prefect was sent may hang on it
        f"secret '{named.name}'", f"the new value could not be saved in Prefect ({failed})",
        why="it waits in a file under GROUNDWORK_HOME of this machine",
        fix="the next run on this machine that uses it saves it",
    )  # fmt: skip


def _unsaved(named: Named, value: str) -> str:
    """The value that a run could not save, if it is the one that follows ``value``."""
    try:
        kept = json.loads(_file(named).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    return str(kept["value"]) if kept.get("replaces") == _digest(value) else ""


def _file(named: Named) -> Path:
    return Settings().home.absolute() / "secrets" / f"{named.name}.json"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
