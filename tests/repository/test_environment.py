"""The caller's environment: whatever it names, no test touches it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from groundwork.settings import Settings
from groundwork.warehouses.snowflake_login import PREFIX, SnowflakeLogin
from tests.environment import ACCOUNT, KNOBS, PREFIXES, PROJECT, cleared, named_in_catalog

MARK = "poisoned-by-the-test"
PART = (
    *("tests/unit/test_idle.py", "tests/unit/test_bad_input.py", "tests/unit/test_old_formats.py"),
    *("tests/contracts/test_duckdb.py", "tests/integration/test_prefect_lookup.py"),
    "tests/integration/test_wrong_places.py::test_all_settings_right_and_the_command_works",
    "tests/repository/test_environment.py::test_no_variable_of_the_caller_is_visible",
)
PLACES = re.compile(r"(HOME|PATH|DIR|COPY|CATALOG|DBT|FILE)$")
KNOWN = re.compile(
    r"\b(?:GROUNDWORK|PREFECT|AWS|SNOWFLAKE|DBT|SHOP|PAYMENTS|ERASURE|SWITCH)_[A-Z0-9_]*[A-Z0-9]\b"
)


def documented() -> set[str]:
    """Every variable that the documents, the code and the catalog name, and those of libpq."""
    pages = [PROJECT / "README.md", PROJECT / "prefect.yaml", PROJECT / "Makefile"]
    for directory, ending in (("docs", "md"), ("groundwork", "py"), ("tasks", "py"), ("flows", "py")):
        pages += (PROJECT / directory).rglob(f"*.{ending}")
    for directory in ("demo", "deployments", "dbt"):
        pages += [
            page
            for page in (PROJECT / directory).rglob("*")
            if page.suffix in (".py", ".yml", ".yaml") and PROJECT / "dbt/target" not in page.parents
        ]
    found = {name for page in pages for name in KNOWN.findall(page.read_text(encoding="utf-8"))}
    found |= {f"GROUNDWORK_{name.upper()}" for name in Settings.model_fields}
    found |= {f"{PREFIX}{name.upper()}" for name in SnowflakeLogin.model_fields}
    found |= {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGPASSFILE"}
    found |= {"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "SNOWFLAKE_HOME", "DBT_PROFILES_DIR"}
    found |= named_in_catalog()
    return {name for name in found if not name.startswith("GROUNDWORK_TEST_")} - KNOBS


@contextmanager
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port on which nobody may connect, and who did."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                callers.append(str(address))
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], callers


def treasure(place: Path, port: int) -> dict[str, str]:
    """What a caller's shell may name: a warehouse, a bucket, profiles of libraries. The variables."""
    (place / "bucket" / "shop" / "manifests").mkdir(parents=True)
    (place / "bucket" / "shop" / "manifests" / "0000000001.json").write_text(MARK)
    for file, text in {
        ".prefect/profiles.toml": f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "http://127.0.0.1:{port}"\n',
        ".aws/config": f"[default]\nregion = {MARK}\nendpoint_url = http://127.0.0.1:{port}\n",
        ".aws/credentials": f"[default]\naws_access_key_id = {MARK}\naws_secret_access_key = {MARK}\n",
        ".pgpass": f"127.0.0.1:{port}:*:*:{MARK}\n",
    }.items():
        (place / file).parent.mkdir(exist_ok=True)
        (place / file).write_text(text)
    with duckdb.connect(str(place / "warehouse.duckdb")) as connection:
        connection.execute("create schema landing; create table landing.shop__a as select 1 as id")
    variables = {}
    for name in documented():
        variables[name] = f"http://{MARK}:x@127.0.0.1:{port}/{name}"
        if PLACES.search(name):
            variables[name] = str(place / MARK / name.lower())
            Path(variables[name]).mkdir(parents=True)
    return variables | {
        "GROUNDWORK_BUCKET": (place / "bucket").as_uri(),
        "GROUNDWORK_DUCKDB_PATH": str(place / "warehouse.duckdb"),
        "HOME": str(place),
    }


def contents(place: Path) -> dict[str, str]:
    """Every file with its bytes' digest; but what caches of libraries may add."""
    return {
        str(file.relative_to(place)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in place.rglob("*")
        if file.is_file() and ".cache" not in file.parts
    }


def test_every_documented_variable_is_cleared() -> None:
    names = documented()
    assert len(names) > 80
    kept = names - set(cleared(dict.fromkeys(names, "x")))
    assert kept == set(), "add the beginning of these to PREFIXES in tests/environment.py"
    assert set(cleared({ACCOUNT: "1", "GROUNDWORK_SEED": "1", "PATH": "/bin", "LANG": "C"})) == set()
    assert all(prefix.isupper() for prefix in PREFIXES)


def test_no_variable_of_the_caller_is_visible() -> None:
    assert [name for name, value in os.environ.items() if MARK in value] == []


@pytest.mark.slow
def test_a_part_of_the_suite_touches_nothing_that_the_environment_names(tmp_path: Path) -> None:
    place = tmp_path / "callers"
    with canary() as (port, callers):
        variables = treasure(place, port)
        before = contents(place)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *PART],
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "TMPDIR": os.environ["TMPDIR"], **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert callers == []
    assert contents(place) == before


def test_the_checkout_may_have_any_path_in_any_locale() -> None:
    # Python reads .pth files in the encoding of the locale: under LC_ALL=C a path in one that is not ASCII
    # would stop every command. The project is found without, from any directory.
    for file in Path(sysconfig.get_path("purelib")).glob("*.pth"):
        assert str(PROJECT) not in file.read_text(encoding="utf-8"), file.name
    found = subprocess.run(
        [sys.executable, "-c", "import groundwork; print(ascii(groundwork.__file__))"],
        cwd="/",
        env={"LC_ALL": "C", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ascii(str(PROJECT / "groundwork" / "__init__.py"))
