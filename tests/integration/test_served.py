"""A transform that would break what people read refuses before it builds; upkeep, as a flow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.commands import PROJECT
from tests.keep.dbt_project import Project


@pytest.fixture
def shop_platform(platform: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {
        **platform,
        "GROUNDWORK_HOME": str(tmp_path / "home"),
        "GROUNDWORK_BUCKET": (tmp_path / "bucket").as_uri(),
        "GROUNDWORK_DBT": str(tmp_path / "dbt"),
    }


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def served(tmp_path: Path) -> list[str]:
    with duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb"), read_only=True) as warehouse:
        found = warehouse.execute(
            "select column_name from duckdb_columns() where schema_name = 'visualization'"
            " and table_name = 'orders' order by column_index"
        ).fetchall()
    return [name for (name,) in found]


def test_a_transform_that_would_break_readers_refuses_and_builds_nothing(
    shop_platform: dict[str, str], tmp_path: Path
) -> None:
    project = Project(tmp_path / "dbt")
    first = run(shop_platform, "flows.transform")
    assert first.returncode == 0, first.stderr
    assert served(tmp_path) == ["id", "amount", "status"]

    project.change("models/models.yml", "      - {name: status, data_type: varchar}\n", "")
    project.change("models/visualization/orders.sql", ", 'new' as status", "")
    refused = run(shop_platform, "flows.transform")
    assert refused.returncode != 0
    assert "PromiseBroken" in refused.stderr
    assert "visualization.orders.status would be gone" in refused.stderr
    assert "Revenue by day (finance@example.com)" in refused.stderr
    assert served(tmp_path) == ["id", "amount", "status"], "nothing was built"

    stored = tmp_path / "bucket" / "artifacts" / "served.json"
    checked = run(shop_platform, "groundwork", "check", "--served", str(stored))
    assert checked.returncode == 1
    assert "visualization.orders.status would be gone" in checked.stderr


def test_the_nightly_upkeep_runs_over_every_source(shop_platform: dict[str, str]) -> None:
    done = run(shop_platform, "flows.keep")
    assert done.returncode == 0, done.stderr
    for source in ("shop", "payments", "ops"):
        assert f"compacted source={source} objects_before=0" in done.stderr
        assert f"swept source={source} removed=False objects=0" in done.stderr
