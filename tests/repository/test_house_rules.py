"""Rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def tracked(pattern: str = "") -> list[Path]:
    """Files that belong to the repository: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if Path(line).match(pattern or "*")]


def functions_with(decorator: str, directory: str) -> list[tuple[str, int]]:
    """Name and length of every function in a directory that carries a decorator."""
    found = []
    for file in sorted((ROOT / directory).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
                if decorator in names:
                    found.append((f"{file.name}:{node.name}", (node.end_lineno or 0) - node.lineno + 1))
    return found


def test_a_flow_is_at_most_60_lines_and_a_task_at_most_30() -> None:
    flows, tasks = functions_with("flow", "flows"), functions_with("task", "tasks")
    assert flows and tasks
    assert [f for f in flows if f[1] > 60] == []
    assert [t for t in tasks if t[1] > 30] == []


def test_a_module_is_read_in_one_sitting() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for package in ("groundwork", "tasks", "flows", "deployments", "demo")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 420
    }
    assert long == {}


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "types", "misc", "base"}
    named = [f for f in tracked("*.py") if f.stem in vague]
    assert named == []


def test_dbt_has_no_python() -> None:
    # A top-level dbt/ joins dbt-core's own package path: Python there would shadow it.
    assert list((ROOT / "dbt").rglob("*.py")) == []


# Written with a bracket each, so that this file does not find itself.
@pytest.mark.parametrize(
    "written",
    [
        r"\.\./share[d]",
        r"/wor[k]/",
        r"index-ur[l]",
        r"/roo[t]/",
        r"registr[y]\W+http",
        r"registr[y]\.npm",
        r"pyp[i]\.org",
    ],
)
def test_no_file_names_a_registry_or_a_path_of_one_machine(written: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in tracked()
        if file.suffix not in (".lock", ".png") and file.is_file()
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if re.search(written, line)
    ]
    assert found == []


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = [
        f"{file.relative_to(ROOT)} -> {target}"
        for file in tracked("*.md")
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
        if "://" not in target and not (file.parent / target).exists()
    ]
    assert broken == []


def test_documents_that_the_code_points_to_exist() -> None:
    missing = set()
    for file in tracked("*.py") + tracked("*.sql") + tracked("*.yml") + tracked("*.yaml") + tracked("*.toml"):
        text = file.read_text(encoding="utf-8")
        for target in re.findall(r"docs/[a-z0-9/_-]+\.md", text):
            if not (ROOT / target).exists():
                missing.add(f"{file.relative_to(ROOT)} -> {target}")
    assert missing == set()


def test_tests_that_the_documents_name_exist() -> None:
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = {
        f"{file.relative_to(ROOT)} -> {name}"
        for file in tracked("*.md")
        for name in re.findall(r"`(test_\w+)`", file.read_text(encoding="utf-8"))
        if name not in there
    }
    assert named == set()


def test_every_make_target_in_the_readme_exists_and_every_target_is_told() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:\$ |`)make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert named - targets == set()
    assert targets - named - {"help"} == set()


def test_every_source_of_the_catalog_answers_a_question_and_has_an_owner() -> None:
    for file in sorted((ROOT / "catalog").glob("*.yml")):
        entry = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert entry["questions"] and entry["owner"]["email"], file.name


def test_no_two_test_files_have_one_name() -> None:
    # The directories of tests are no packages: pytest imports one of two files of a name, and not the other.
    names = [file.name for file in tracked("*.py") if file.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
