"""No test can wait for ever: a limit for each, and a bound wherever one waits for a process or a thread."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.commands import PROJECT

WAITS = {"wait", "join", "communicate"}
LONGEST = 3600


def calls(file: Path) -> Iterator[ast.Call]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_every_test_has_a_limit() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert 0 < settings["tool"]["pytest"]["ini_options"]["timeout"] <= 300
    groups = settings["dependency-groups"].values()
    assert any(str(one).startswith("pytest-timeout") for group in groups for one in group)
    for file in (PROJECT / "tests").rglob("*.py"):
        for call in calls(file):
            if ast.unparse(call.func) in ("pytest.mark.timeout", "mark.timeout"):
                (limit,) = call.args
                seconds = ast.literal_eval(limit) if isinstance(limit, ast.Constant) else 1
                assert 0 < seconds <= LONGEST, f"{file}:{call.lineno}"


def test_no_test_waits_for_a_process_or_a_thread_without_a_bound() -> None:
    """The limit of a test strikes once: what is waited for while it is cleaned up would hang for ever."""
    found = [
        f"{file.relative_to(PROJECT)}:{call.lineno} {ast.unparse(call)}"
        for file in (PROJECT / "tests").rglob("*.py")
        if "chaos" not in file.parts  # no tests: its links wait for their gate in threads that end with it
        for call in calls(file)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in WAITS
        and not call.args
        and "timeout" not in {word.arg for word in call.keywords}
    ]
    assert found == []
