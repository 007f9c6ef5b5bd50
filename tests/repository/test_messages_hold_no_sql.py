"""No message holds SQL of its own: each statement is built in one module, and a test executes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BUILDERS = {"sources/statements.py", "sources/partition_guard.py"}
"""What they build is executed by test_suggested_sql.py and test_setup.py of the capture engine."""
EXECUTED = PROJECT / "tests" / "integration" / "capture" / "test_suggested_sql.py"
SQL = re.compile(
    r"\b(alter (system|table|role|publication|database)|grant (\w+ )+on|grant it|revoke"
    r"|create (role|publication|event)|drop (role|table|publication)|set logged|bypassrls"
    r"|replica identity (full|default|using)|pg_reload_conf)\b"
)


def suggesting() -> list[Path]:
    """The modules that speak of a PostgreSQL."""
    package = PROJECT / "groundwork"
    found = [*(package / "sources").glob("*.py"), *(package / "discovery").glob("*.py")]
    found += [*(package / "alerts").rglob("*.py"), package / "doctor.py", package / "slot_watch.py"]
    return [path for path in found if str(path.relative_to(package)) not in BUILDERS]


def texts(path: Path) -> list[str]:
    """All texts of a module but its docstrings."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def test_no_module_but_the_builders_holds_a_statement() -> None:
    held = [(path.name, text) for path in suggesting() for text in texts(path) if SQL.search(text)]
    assert held == []


def test_the_search_finds_what_it_is_for() -> None:
    builders = [PROJECT / "groundwork" / name for name in BUILDERS]
    assert all(any(SQL.search(text) for text in texts(path)) for path in builders)


def test_every_statement_is_executed_by_a_test() -> None:
    built = ast.parse((PROJECT / "groundwork" / "sources" / "statements.py").read_text())
    names = {node.name for node in built.body if isinstance(node, ast.FunctionDef)}
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(EXECUTED.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "statements"
    }
    assert names == called
