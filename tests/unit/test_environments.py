"""Environments, pools and the steps of prefect.yaml: what is wrong is told before anything is deployed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.utilities.templating import find_placeholders

from demo.prefect_server import PrefectServer
from deployments import stanzas, steps
from deployments.environments import read_environment
from deployments.pools import TEMPLATES, check_job_variables, template
from deployments.server import complaints
from groundwork.errors import SettingMissing
from tests.commands import PROJECT

KINDS = sorted(file.stem for file in TEMPLATES.glob("*.yaml"))


def pool(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((TEMPLATES / f"{kind}.yaml").read_text())
    return content


def written(directory: Path, **fields: Any) -> str:
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump({"pool": "docker", **fields}))
    return str(file)


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
def test_every_environment_fits_its_pool_and_the_stanzas_fit_both(name: str) -> None:
    _, made = template(read_environment(name))
    assert stanzas.problems(made, PROJECT / "prefect.yaml") == []


@pytest.mark.parametrize(("name", "said"), [("local", None), ("prod", None), ("dev", "off")])
def test_where_nothing_runs_by_itself_nobody_is_called_for_it(name: str, said: str | None) -> None:
    own = read_environment(name).own_variables
    assert own["groundwork_environment"] == name and own.get("groundwork_schedules") == said


def test_the_stanzas_name_no_environment() -> None:
    text = (PROJECT / "prefect.yaml").read_text()
    below = text[text.index("\ndeployments:") :]
    assert [name for name in ("docker", "process", "prod", "dev") if f" {name}" in below] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pool_knows_the_job_variables_of_the_stanzas(kind: str) -> None:
    for stanza in stanzas.read(PROJECT / "prefect.yaml").values():
        assert check_job_variables(stanza["work_pool"].get("job_variables", {}), pool(kind)) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pool_refuses_what_it_does_not_know_and_uses_what_it_does(kind: str) -> None:
    made = pool(kind)
    known = set(made["variables"]["properties"])
    used = {placeholder.name for placeholder in find_placeholders(made["job_configuration"])}
    assert made["variables"]["additionalProperties"] is False
    assert used <= known
    assert known - used <= {"mem_limit", "image"}  # what only containers have


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pool_sends_heartbeats_and_log_lines_soon(kind: str) -> None:
    env = pool(kind)["variables"]["properties"]["env"]["default"]
    assert env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert float(env["PREFECT_LOGGING_TO_API_BATCH_INTERVAL"]) <= 0.5


@pytest.mark.parametrize("kind", ["process", "docker", "ecs"])
def test_what_a_pool_configures_is_what_its_worker_knows(kind: str) -> None:
    from prefect.workers.process import ProcessJobConfiguration
    from prefect_aws.workers.ecs_worker import ECSJobConfiguration
    from prefect_docker.worker import DockerWorkerJobConfiguration

    classes = {
        "process": ProcessJobConfiguration,
        "docker": DockerWorkerJobConfiguration,
        "ecs": ECSJobConfiguration,
    }
    assert set(pool(kind)["job_configuration"]) <= set(classes[kind].model_fields)


def test_secrets_of_an_environment_stand_in_the_pool_as_references(tmp_path: Path) -> None:
    own = written(tmp_path, secrets={"API_TOKEN": "api-token"}, env={"GROUNDWORK_WAREHOUSE": "snowflake"})
    _, made = template(read_environment(own))
    env = made["variables"]["properties"]["env"]["default"]
    assert env["API_TOKEN"] == "{{ prefect.blocks.secret.api-token }}"
    assert env["GROUNDWORK_WAREHOUSE"] == "snowflake"
    assert env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30", "the pool's own stay"


def test_an_environment_with_an_unknown_field_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingMissing, match=r"is wrong\. Memory: Extra inputs are not permitted"):
        read_environment(written(tmp_path, memory="2g"))


def test_an_environment_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SettingMissing, match="Choose one of dev, local, prod"):
        read_environment("production")


def test_a_default_that_the_pool_does_not_know_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingMissing, match="job_variables: 'mem_limitt': the pool knows no such variable"):
        template(read_environment(written(tmp_path, job_variables={"mem_limitt": "2g"})))


def test_an_image_without_a_tag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    prod = read_environment("prod")
    for moving in ("registry.example.com:5000/groundwork", "groundwork"):
        monkeypatch.setenv("GROUNDWORK_IMAGE", moving)
        with pytest.raises(SettingMissing, match="has no tag"):
            steps.image_name(prod)
    for fixed in ("registry.example.com:5000/groundwork:1.2", "groundwork@sha256:" + "0" * 64):
        monkeypatch.setenv("GROUNDWORK_IMAGE", fixed)
        assert steps.image_name(prod) == fixed


def test_a_tree_that_differs_from_its_commit_makes_no_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GROUNDWORK_IMAGE", "GROUNDWORK_VERSION"):
        monkeypatch.delenv(name, raising=False)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    (tmp_path / "file").write_text("committed")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    prod = read_environment("prod")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert steps.image_name(prod) == f"registry.example.com/groundwork:{commit}"
    (tmp_path / "new").write_text("COPY would take it into the image")
    assert steps.version() == f"{commit}-dirty"
    (tmp_path / "new").unlink()
    (tmp_path / "file").write_text("changed")
    with pytest.raises(SettingMissing, match=r"(?i)the working tree differs from what is committed"):
        steps.image_name(prod)
    assert steps.image_name(read_environment("local")) == "", "processes need no image"


def test_no_step_gives_what_another_is_called() -> None:
    # Prefect puts a step's outputs beside the steps' ids: of two that are named alike one is lost
    top = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    ids = {inputs["id"] for step in top["build"] for inputs in step.values()}
    given = set(steps.describe(read_environment("local"))) | {"image"}
    assert ids == {"environment", "built"}
    assert not ids & given


def test_a_server_that_forgets_leases_is_told(tmp_path: Path) -> None:
    names = [one.name for one in complaints(settings_of({}), "3.8.8")]
    assert "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE" in names
    server = PrefectServer(tmp_path, "postgresql+asyncpg://nowhere/prefect")
    server.ports = {"main": 4200}
    assert list(complaints(settings_of(server.program_environment()), "3.8.8")) == []


def test_a_server_that_lets_strangers_in_is_named_setting_by_setting() -> None:
    api = "PREFECT_SERVER_API"
    shut = {
        f"{api}_AUTH_STRING": "user:password",
        f"{api}_CORS_ALLOWED_ORIGINS": "https://prefect.example.com",
        f"{api}_CSRF_PROTECTION_ENABLED": "true",
    }
    for missing in shut:
        given = {name: value for name, value in shut.items() if name != missing}
        names = {one.name for one in complaints(settings_of(given), "3.8.8")}
        assert names & set(shut) == {missing}


@pytest.mark.parametrize("kind", KINDS)
def test_no_variable_of_a_pool_chooses_the_program_that_runs(kind: str) -> None:
    variables = pool(kind)["variables"]
    properties = variables["properties"]
    assert variables["additionalProperties"] is False
    assert set(properties) & {"command", "entrypoint", "working_dir", "container_create_kwargs"} == set()
    templates = set(re.findall(r"\{\{ *(\w+) *\}\}", json.dumps(pool(kind)["job_configuration"])))
    assert templates <= set(properties), "what no variable fills would be left to Prefect's own ones"


def test_a_server_that_is_older_than_what_speaks_to_it_is_told(tmp_path: Path) -> None:
    server = PrefectServer(tmp_path, "postgresql+asyncpg://nowhere/prefect")
    server.ports = {"main": 4200}
    (told,) = complaints(settings_of(server.program_environment()), "3.7.0")
    assert "the server is 3.7.0; upgrade it before its workers" in str(told)


def settings_of(environment: dict[str, str]) -> dict[str, Any]:
    """What a server with these settings answers when it is asked for them."""
    script = "from prefect.settings import Settings; print(Settings().model_dump_json())"
    clean = {"PATH": "", "HOME": "/nonexistent", "PREFECT_HOME": "/nonexistent", **environment}
    result = subprocess.run(
        [sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True, timeout=120
    )
    answer: dict[str, Any] = json.loads(result.stdout)
    assert set(answer) == set(Settings.model_fields)
    return answer


def test_our_servers_run_on_postgresql(tmp_path: Path) -> None:
    server = PrefectServer(tmp_path, "postgresql+asyncpg://nowhere/prefect")
    server.ports = {"main": 4200}
    assert server.program_environment()["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql")


def test_deploying_loads_neither_dbt_nor_a_warehouse() -> None:
    files = sorted(
        {stanza["entrypoint"].split(":")[0] for stanza in stanzas.read(PROJECT / "prefect.yaml").values()}
    )
    script = (
        f"import runpy, sys\nfor file in {files!r}: runpy.run_path(file)\n"
        "print([name for name in ('dbt', 'duckdb', 'polars', 'pyarrow', 'boto3', 'snowflake.connector')"
        " if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "[]"


def test_prefect_is_held_at_versions_that_work_together() -> None:
    from importlib.metadata import version

    from packaging.version import Version

    assert version("prefect") == "3.8.8"
    assert Version(version("fastapi")) < Version("0.151")
    assert Version("2.0") <= Version(version("sqlalchemy")) < Version("2.1")
    project = (PROJECT / "pyproject.toml").read_text()
    assert all(f'"{cap}"' in project for cap in ("prefect==3.8.8", "fastapi<0.151", "sqlalchemy>=2.0,<2.1"))
