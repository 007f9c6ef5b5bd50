"""What makes the image, as far as it can be known without building it; `make test-docker` builds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from deployments.image.health import is_worker, worker_is_well
from deployments.image.trim import main as trim

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "platform.yml"
INSTRUCTIONS = re.findall(
    r"^([A-Z]+) (.+)$", re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)), re.M
)


def said(instruction: str) -> list[str]:
    return [text for name, text in INSTRUCTIONS if name == instruction]


def test_the_base_image_is_an_argument_with_a_version_and_without_a_registry() -> None:
    base = next(text for text in said("ARG") if text.startswith("BASE_IMAGE="))
    assert re.fullmatch(r"BASE_IMAGE=python:3\.11-slim-bookworm", base)
    assert said("FROM") == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"], "what builds is left behind"


def test_it_needs_no_buildkit_so_that_prefects_own_build_step_can_build_it() -> None:
    assert "--mount" not in DOCKERFILE and "<<" not in DOCKERFILE and "# syntax" not in DOCKERFILE


def test_no_secret_can_come_into_a_layer() -> None:
    given = " ".join([*said("ARG"), *said("ENV")])
    assert not re.search(r"(?i)password|secret|token|api_key|credential", given)
    assert "ADD" not in {name for name, _ in INSTRUCTIONS}, "nothing is fetched without a hash"


def test_dependencies_are_locked_with_hashes_and_compiled() -> None:
    (install,) = [text for text in said("RUN") if "uv sync" in text]
    assert "--locked" in install and "--no-default-groups --group lambda" in install
    assert "UV_COMPILE_BYTECODE=1" in " ".join(said("ENV"))
    assert "--require-hashes" in DOCKERFILE


def test_makefile_and_image_install_uv_from_one_file_of_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rule = r"^\$\(UV\): deployments/image/uv.txt\n.*--require-hashes --requirement \$<"
    assert re.search(rule, makefile, re.M)
    assert "deployments/image/uv.txt" in DOCKERFILE
    assert not re.search(r"uv==", makefile + DOCKERFILE), "a version without a hash"


def test_it_runs_as_a_user_by_number_so_that_an_orchestrator_can_see_that_it_is_not_root() -> None:
    assert said("USER") == ["10001:10001"]
    assert [name for name, _ in INSTRUCTIONS][-1] == "CMD"


def test_only_what_is_named_comes_into_the_build_context() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:].rstrip("/") for rule in rules if rule.startswith("!")}
    assert all((ROOT / path).exists() for path in let_in), let_in
    assert {"dbt", "catalog", "flows", "groundwork", "prefect.yaml"} <= let_in
    assert let_in & {"demo", "tests", "benchmarks", ".github", "docs"} == set()
    assert "**/.env*" in rules


def test_what_a_pool_expects_of_the_image_is_where_it_expects_it() -> None:
    pool = yaml.safe_load((ROOT / "deployments/work_pools/docker.yaml").read_text(encoding="utf-8"))
    hardened = pool["job_configuration"]["container_create_kwargs"]
    assert hardened["read_only"] and hardened["cap_drop"] == ["ALL"] and "/tmp" in hardened["tmpfs"]
    assert said("WORKDIR")[-1] == "/opt/groundwork"
    for name in ("dev", "prod"):
        environment = yaml.safe_load((ROOT / f"deployments/environments/{name}.yaml").read_text())
        assert environment["directory"] == "/opt/groundwork"
        assert all(
            volume.endswith(":/var/lib/groundwork") for volume in environment["job_variables"]["volumes"]
        )
    assert "GROUNDWORK_HOME=/var/lib/groundwork" in " ".join(said("ENV"))


def test_the_workflow_passes_actionlint() -> None:
    programs = Path(sys.executable).parent
    command = [programs / "actionlint", "-shellcheck", programs / "shellcheck", WORKFLOW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_actionlint_would_say_what_is_wrong(tmp_path: Path) -> None:
    broken = WORKFLOW.read_text(encoding="utf-8").replace("github.ref }}", "github.reff }}")
    (tmp_path / "broken.yml").write_text(broken.replace("needs: [check", "needs: [chek"), encoding="utf-8")
    program = Path(sys.executable).parent / "actionlint"
    done = subprocess.run([program, tmp_path / "broken.yml"], capture_output=True, text=True, check=False)
    assert "reff" in done.stdout and "chek" in done.stdout


def test_the_workflow_calls_make_targets_that_exist_and_pins_what_others_wrote() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"run: make ([a-z-]+)", text))
    assert {"check", "test", "slim"} <= called <= targets
    assert [use for use in re.findall(r"uses: (\S+)", text) if not re.search(r"@[0-9a-f]{40}$", use)] == []
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_trimming_takes_tests_and_leaves_packages(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    macro = "dbt/include/global_project/macros/materializations/tests/where_subquery.sql"
    locales = "babel/locale-data/fr.dat", "babel/locale-data/en.dat"
    for path in ("a/tests/test_a.py", "a/core.py", macro, *locales):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text("x")
    trim(tmp_path)
    left = {str(file.relative_to(packages)) for file in packages.rglob("*") if file.is_file()}
    assert left == {"a/core.py", macro, "babel/locale-data/en.dat"}


@contextmanager
def health_server(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_a_worker_is_as_well_as_its_health_server_says(status: int, well: bool) -> None:
    with health_server(status) as port:
        assert worker_is_well(port) is well
    assert worker_is_well(port) is False, "nobody answers there any more"


def test_only_a_worker_is_asked_how_it_is() -> None:
    assert is_worker(b"/opt/venv/bin/python\0/opt/venv/bin/prefect\0worker\0start\0--with-healthcheck\0")
    assert not is_worker(b"prefect\0flow-run\0execute\0")


def test_the_health_check_needs_nothing_but_the_standard_library() -> None:
    script = ROOT / "deployments/image/health.py"
    done = subprocess.run([shutil.which("python3") or sys.executable, "-I", "-S", script], check=False)
    assert done.returncode == 0, "process 1 of this machine is no worker of ours"
