"""The whole embedded default: all parts side by side, twice in one directory, and nothing left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from demo.platform import Platform, masked
from demo.service import ServiceError
from tests.prefect_access import api_of

pytestmark = pytest.mark.timeout(600)


def begin_a_run(api: httpx.Client) -> tuple[str, str]:
    """A run that has its deployment's only place and is running, though in no process; and the place."""

    def made(path: str, **body: object) -> Any:
        return api.post(path, json=body).raise_for_status().json()

    flow = made("flows/", name="dies")["id"]
    deployment = made("deployments/", name="dies", flow_id=flow, concurrency_limit=1)
    limit = deployment["global_concurrency_limit"]["name"]
    run = made(f"deployments/{deployment['id']}/create_flow_run", state={"type": "SCHEDULED"})["id"]
    for state in ("PENDING", "RUNNING"):
        made(f"flow_runs/{run}/set_state", state={"type": state})
    assert taken(api, limit) == 1
    return run, limit


def taken(api: httpx.Client, limit: str) -> int:
    found = api.get(f"v2/concurrency_limits/{limit}").raise_for_status().json()
    return int(found["active_slots"])


def test_every_part_starts_on_a_fresh_directory_and_again_on_the_same_one(tmp_path: Path) -> None:
    others = set(psutil.Process().children(recursive=True))  # of other tests in this session
    with Platform(tmp_path / "home", durable=False, workload_rate=50) as platform:
        first = platform.environment()
        assert platform.prefect is not None
        api = api_of(platform.prefect)
        processes = set(psutil.Process().children(recursive=True)) - others
        assert len(processes) > 14
        assert {name.split("_")[0] for name in first} >= {"AWS", "GROUNDWORK", "PAYMENTS", "PREFECT", "SHOP"}
        with pytest.raises(ServiceError, match="a platform is running in this directory"):
            Platform(tmp_path / "home").start()
        orders = platform.shop_server.sql("select count(*) from orders", database="shop")
        platform.s3.client().put_object(Bucket=platform.s3.bucket, Key="kept", Body=b"1")
        variable = {"name": "kept", "value": 1}
        api.post("variables/", json=variable).raise_for_status()
        run, limit = begin_a_run(api)
    assert not any(process.is_running() for process in processes)

    with Platform(tmp_path / "home", durable=False) as platform:
        again = platform.environment()
        assert platform.prefect is not None
        api = api_of(platform.prefect)
        assert platform.shop_server.sql("select count(*) from orders", database="shop") == orders
        assert platform.s3.client().get_object(Bucket=platform.s3.bucket, Key="kept")["Body"].read() == b"1"
        kept = api.get("variables/name/kept").raise_for_status()
        assert kept.json()["value"] == 1
        lost = api.get(f"flow_runs/{run}").raise_for_status().json()["state"]
        assert (lost["type"], lost["message"]) == ("CANCELLED", "Everything was stopped.")
        assert taken(api, limit) == 0
        assert first["SHOP_DATABASE_URL"].split("@")[0] == again["SHOP_DATABASE_URL"].split("@")[0]
        settings = api.get("admin/settings").json()["server"]
        assert settings["events"]["causal_ordering"] == "prefect.server.events.ordering.db"
        assert platform.prefect_database.sql("select name from work_pool", database="prefect") == [
            ["default"]
        ]
        pools = api.post("work_pools/filter", json={}).json()
        assert [(pool["name"], pool["type"], pool["status"]) for pool in pools] == [
            ("default", "process", "READY")
        ]


def test_a_part_that_does_not_start_stops_the_others(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)
    (tmp_path / "home" / "services" / "s3").mkdir(parents=True)
    (tmp_path / "home" / "services" / "s3" / "objects").write_text("not a directory")
    with pytest.raises(FileExistsError):
        Platform(tmp_path / "home", parts=["shop", "s3"], durable=False).start()
    assert psutil.Process().children(recursive=True) == before


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown part 'kafka'; there are: shop, payments"):
        Platform(tmp_path, parts=["kafka"])


def test_the_command_starts_prints_masked_values_and_stops_at_sigterm(tmp_path: Path) -> None:
    options = ["--directory", str(tmp_path / "home"), "--parts", "payments", "mailbox", "workload"]
    command = subprocess.Popen(
        [sys.executable, "-m", "demo.platform", *options], stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    lines = []
    for line in command.stdout:
        lines.append(line)
        if line.startswith("running"):
            break
    processes = psutil.Process(command.pid).children(recursive=True)
    assert len(processes) > 8
    os.kill(command.pid, signal.SIGTERM)
    command.communicate(timeout=60)
    assert command.returncode == 0
    assert not any(process.is_running() for process in processes)
    told = "".join(lines)
    assert "SHOP_DATABASE_URL=postgresql://groundwork:***@127.0.0.1" in told
    assert "PAYMENTS_TOKEN=***" in told
    assert not re.search(r"[0-9a-f]{32}", told), "a secret is shown"


def test_the_command_stops_at_once_while_it_is_starting(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = subprocess.Popen(
        [sys.executable, "-m", "demo.platform", "--directory", str(home)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (home / "services" / "prefect" / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes = psutil.Process(command.pid).children(recursive=True)
    os.kill(command.pid, signal.SIGTERM)
    _, told = command.communicate(timeout=60)
    assert command.returncode == 0
    assert "Traceback" not in told
    assert not any(process.is_running() for process in processes)


def test_masking_leaves_no_secret() -> None:
    variables = {"A_URL": "smtp://user:pass@host:25", "A_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "k", "B": "b"}
    assert masked(variables) == {
        "A_URL": "smtp://user:***@host:25",
        "A_TOKEN": "***",
        "AWS_SECRET_ACCESS_KEY": "***",
        "B": "b",
    }
