"""dbt within a flow: a failing test fails the run, and what became of every node is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from groundwork.bucket import open_bucket
from groundwork.dbt_results import failed_nodes
from tests.commands import PROJECT, run_command

SMALL_PROJECT = {
    "dbt_project.yml": "{name: groundwork, version: '1.0', profile: groundwork}",
    "profiles.yml": """
groundwork:
  target: duckdb
  outputs: {duckdb: {type: duckdb, path: "{{ env_var('GROUNDWORK_DUCKDB_PATH') }}", threads: 1}}
""",
    "models/good.sql": "select 1 as id",
    "models/better.sql": "select id from {{ ref('good') }}",
    "tests/always_wrong.sql": "select id from {{ ref('good') }}",
}


@pytest.fixture
def small_platform(platform: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A platform with a dbt project of two models and a test that fails."""
    for name, text in SMALL_PROJECT.items():
        file = tmp_path / "dbt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {
        **platform,
        "GROUNDWORK_HOME": str(tmp_path / "home"),
        "GROUNDWORK_BUCKET": (tmp_path / "bucket").as_uri(),
        "GROUNDWORK_DBT": str(tmp_path / "dbt"),
    }


def test_a_failing_test_fails_the_run_and_its_result_reaches_landing(
    small_platform: dict[str, str], tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "flows.transform"],
        cwd=PROJECT,
        env={**os.environ, **small_platform},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "always_wrong" in result.stderr
    assert "built node=always_wrong status=fail" in result.stderr

    run_command("flows.export_logs", "0", environment=small_platform)
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), read_only=True) as warehouse:
        results = warehouse.execute(
            "select record ->> 'name', record ->> 'resource_type', record ->> 'status',"
            " record ->> 'flow_run_id' from landing.ops__dbt_results order by 1"
        ).fetchall()
        lines = warehouse.execute("select record ->> 'message' from landing.ops__logs").fetchall()
        runs = warehouse.execute(
            "select distinct record ->> 'id' from landing.ops__flow_runs"
            " where record ->> 'flow_name' = 'transform' and record ->> 'state_type' = 'FAILED'"
        ).fetchall()
    assert [(name, kind, status) for name, kind, status, _ in results] == [
        ("always_wrong", "test", "fail"),
        ("better", "model", "skipped"),
        ("good", "model", "success"),
    ]
    run_id = results[0][3]
    assert (run_id,) in runs
    told = [message for (message,) in lines]
    assert any(message.startswith("built node=always_wrong status=fail") for message in told)
    assert any(message.startswith("Finished in state Failed(") for message in told)
    bucket = open_bucket(small_platform["GROUNDWORK_BUCKET"])
    assert failed_nodes(bucket, run_id) == ["test.groundwork.always_wrong"]

    run_command("flows.export_logs", "0", environment=small_platform)
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), read_only=True) as warehouse:
        counted = warehouse.execute("select count(*) from landing.ops__dbt_results").fetchone()
    assert counted == (3,), "what was exported is not exported again"


def test_only_what_is_selected_is_built(small_platform: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dbt" / "tests" / "always_wrong.sql").write_text(
        "select id from {{ ref('good') }} where id > 1"
    )
    command = [sys.executable, "-m", "flows.transform", "good"]
    environment = {**os.environ, **small_platform}
    result = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "built node=good status=success" in result.stderr
    assert "better" not in result.stderr


@pytest.mark.parametrize(
    "select", ["--target=elsewhere", "good --profiles-dir /tmp", "-t elsewhere", "--vars {a: 1}"]
)
def test_a_selection_cannot_pass_options_to_dbt(
    small_platform: dict[str, str], tmp_path: Path, select: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "flows.transform", select],
        cwd=PROJECT,
        env={**os.environ, **small_platform},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "is an option of dbt, not a selection" in result.stderr
    assert not (tmp_path / "home" / "target").exists()
    assert not list(tmp_path.rglob("*.duckdb")), "nothing was built"
