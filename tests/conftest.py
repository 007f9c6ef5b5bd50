"""What holds for every test."""

# ruff: noqa: E402 (libraries read the environment when they are imported)
from tests import environment

environment.clear()

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Our loggers speak outside of flow runs here; Prefect need not warn of each line.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
os.environ.setdefault("DO_NOT_TRACK", "1")

# How fast is measured in `benchmarks`; a machine that does other things too is no failure.
settings.register_profile("groundwork", deadline=None)
settings.load_profile("groundwork")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: packed a second later they are others, and two workers collect two suites."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _scratch() -> Iterator[None]:
    """What tests, and the programs they start and kill, leave behind ends with them."""
    with (
        tempfile.TemporaryDirectory(prefix="groundwork-tests-", ignore_cleanup_errors=True) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        # PostgreSQL, started by root, runs as somebody else, who must be able to walk there.
        Path(directory).chmod(0o755)
        patch.setenv("TMPDIR", directory)
        patch.setenv("PREFECT_HOME", f"{directory}/prefect")  # no profile of the caller's
        patch.setenv("GROUNDWORK_HOME", f"{directory}/home")  # no settings that the developer's demo saved
        patch.setattr(tempfile, "tempdir", directory)
        yield
