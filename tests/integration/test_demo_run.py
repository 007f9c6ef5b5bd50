"""`make demo` as a person runs it, twice: the README's first promise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str, **environment: str) -> str:
    """Run a command from the repository's root and return what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=outside() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def first(home: Path) -> str:
    return run(sys.executable, "-m", "demo", "run", "--home", str(home))


@pytest.fixture(scope="module")
def second(home: Path, first: str) -> str:
    return run(sys.executable, "-m", "demo", "run", "--home", str(home))


def outside() -> dict[str, str]:
    """The environment of somebody who has set nothing of ours."""
    return {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "GROUNDWORK_", "AWS_"))}


def captured(printed: str, source: str) -> dict[str, int]:
    """Rows per operation that a run captured of a source."""
    (kinds,) = re.findall(rf"^  {source} .* rows in [\d.]+ s \((.*)\)$", printed, re.MULTILINE)
    return {kind: int(count.replace(",", "")) for count, kind in (part.split() for part in kinds.split(", "))}


def test_the_first_run_brings_everything_and_answers_three_questions(first: str) -> None:
    shop = captured(first, "shop")
    assert shop["snapshot"] > 250_000
    assert captured(first, "payments")["insert"] > 20_000
    for question in ("How much do we take", "Does what the provider paid us", "Which products sell"):
        assert f"\n{question}" in first
    assert "payment missing" in first


def test_the_first_run_leads_a_row_back_to_its_file_run_and_log_lines(first: str) -> None:
    assert re.search(r"object, row +shop/data/orders/\d{10}/part-\d{5}-[0-9a-f]{8}\.parquet, \d+", first)
    assert re.search(r"flow run +[0-9a-f-]{36}", first)
    assert re.search(r"committed source=shop batch=\d{10}", first)


def test_a_failure_on_purpose_is_mailed_once_and_in_detail(first: str) -> None:
    assert first.count("│ Subject: [Groundwork] shop: failed (ingest-shop)") == 1
    assert "password authentication failed" in first
    assert "visualization.payment_mismatches" in first


def test_the_second_run_captures_only_what_changed(second: str) -> None:
    shop = captured(second, "shop")
    assert "snapshot" not in shop
    assert 0 < sum(shop.values()) < 100_000
    assert sum(captured(second, "payments").values()) < 10_000


def test_the_readmes_questions_to_the_warehouse_have_answers(home: Path, first: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    asked = re.findall(r"^\$ \.venv/bin/python -m groundwork (sql|explain) (.+)$", readme, re.MULTILINE)
    assert asked
    for command, words in asked:
        arguments = re.findall(r'"([^"]+)"|(\S+)', words)
        flat = [quoted or plain for quoted, plain in arguments]
        assert run(sys.executable, "-m", "groundwork", command, *flat, GROUNDWORK_HOME=str(home)).strip()


def test_replay_and_digest_work_in_a_shell_that_sets_nothing(home: Path, second: str) -> None:
    command = (sys.executable, "-m", "groundwork")

    def digests() -> dict[str, str]:
        printed = run(*command, "digest", GROUNDWORK_HOME=str(home))
        return dict(line.split(maxsplit=1) for line in printed.splitlines())

    before = digests()
    run(*command, "replay", GROUNDWORK_HOME=str(home))
    assert before and digests() == before


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that is still there at the end, so that nobody waits for it for ever."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()


def logged_in(address: str, login: str) -> httpx.Client:
    """A client of the API as the user interface is one, with the login that a person is shown."""
    user, _, password = login.partition(":")
    api = httpx.Client(base_url=f"{address}/api", auth=(user, password), timeout=60)
    assert httpx.get(f"{address}/api/variables/name/x").status_code == 401, "without the login"
    token = api.get("/csrf-token", params={"client": "a-test"}).raise_for_status().json()["token"]
    api.headers.update({"Prefect-Csrf-Client": "a-test", "Prefect-Csrf-Token": token})
    return api


def test_serve_brings_up_a_platform_that_works_on_schedule_until_ctrl_c(home: Path, second: str) -> None:
    # As a shell starts it in the background: with SIGINT ignored.
    command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash"]
    command += [sys.executable, "-u", "-m", "demo", "serve", "--home", str(home)]
    with (
        subprocess.Popen(
            command, cwd=ROOT, env=outside(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as serving,
        ending(serving),
    ):
        assert serving.stdout is not None
        lines = []
        for line in serving.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        printed = "".join(lines)
        (address,) = re.findall(r"Prefect +(http://127\.0\.0\.1:\d+)", printed) or [printed]
        (login,) = re.findall(r"log in with the line in (\S+)", printed) or [printed]
        children = psutil.Process(serving.pid).children(recursive=True)
        api = logged_in(address, Path(login).read_text())
        scheduled = api.post("/deployments/filter", json={}).json()
        active = {d["name"] for d in scheduled if any(s["active"] for s in d["schedules"])}
        assert {"ingest-shop", "ingest-payments", "export-logs", "transform", "watch"} <= active
        began = {"flow_runs": {"start_time": {"after_": datetime.now(UTC).isoformat()}}}
        deadline = time.monotonic() + 400  # something is due every five minutes at least
        while not api.post("/flow_runs/filter", json=began).json():
            assert time.monotonic() < deadline, "no scheduled run began"
            time.sleep(1)
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=90) == 0
    psutil.wait_procs(children, timeout=30)
    assert [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE] == []
