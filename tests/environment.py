"""The environment of the tests: nothing of the caller's that names a place, a server or a secret.

Imported by tests/conftest.py before anything else, because libraries read variables when they are imported.
What a caller may set for the tests: ``GROUNDWORK_TEST_*``, and the seeds and counts of `KNOBS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

PROJECT = Path(__file__).parents[1]

PREFIXES = (
    *("GROUNDWORK_", "PREFECT_", "AWS_", "SNOWFLAKE_", "DBT_", "PG", "SHOP_", "PAYMENTS_", "ERASURE_"),
    *("SWITCH_", "MOTHERDUCK_", "DUCKDB_", "DOCKER_HOST", "S3_", "BOTO_"),
)
"""Beginnings of variables that are cleared."""
KNOBS = frozenset({"GROUNDWORK_SEED", "GROUNDWORK_FUZZ", "GROUNDWORK_ROWS", "GROUNDWORK_EXAMPLES"})
ACCOUNT = "GROUNDWORK_TEST_ACCOUNT"
"""Opt-in: the Snowflake tests use the account, bucket and AWS credentials that the environment names."""

_NAMED = re.compile(r"(?:secret|variable): *['\"]?([a-z0-9][a-z0-9_-]*)")
_kept_aside: dict[str, str] = {}


def account() -> Mapping[str, str]:
    """``GROUNDWORK_SNOWFLAKE_*`` and ``GROUNDWORK_BUCKET`` of the caller, with the opt-in; else nothing."""
    return _kept_aside


def named_in_catalog(catalog: Path = PROJECT / "catalog") -> set[str]:
    """Variables that hold what the catalog names instead of writing it."""
    return {
        name.upper().replace("-", "_")
        for page in catalog.glob("*.yml")
        for name in _NAMED.findall(page.read_text(encoding="utf-8"))
    }


def cleared(environment: Mapping[str, str]) -> Iterator[str]:
    """Names of the variables that no test may see."""
    named = named_in_catalog()
    for name in environment:
        ours = name.startswith(("GROUNDWORK_TEST_", "PYTEST_")) or name in KNOBS
        if not ours and (name.startswith(PREFIXES) or name in named):
            yield name


def clear(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take the caller's variables out, for this process and all that it starts.

    Files that a library looks for by itself (``~/.aws``, ``~/.prefect``) are out of reach too.

    Raises:
        RuntimeError: when the tests are to use an account, and the environment names none.
    """
    wants_account = bool(environment.get(ACCOUNT))
    for name in list(cleared(environment)):
        if wants_account and name.startswith("AWS_"):
            continue
        value = environment.pop(name)
        if wants_account and (name.startswith("GROUNDWORK_SNOWFLAKE_") or name == "GROUNDWORK_BUCKET"):
            _kept_aside[name] = value
    if wants_account and "GROUNDWORK_SNOWFLAKE_ACCOUNT" not in _kept_aside:
        raise RuntimeError(
            f"{ACCOUNT} is set, and GROUNDWORK_SNOWFLAKE_ACCOUNT is not; set it, and run without -n"
        )
    nowhere = str(PROJECT / "tests" / "no-such-directory")
    files = ("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "SNOWFLAKE_HOME", "PREFECT_PROFILES_PATH")
    if not wants_account:
        files += ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
    for name in files:
        environment[name] = f"{nowhere}/{name.lower()}"
