"""docs/prefect-traps.md: every trap has what holds it off, and a test that exists and that somebody runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/prefect-traps.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| trap")
]


def where(test: str) -> Path:
    """The file that holds a test."""
    found = [
        file
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(rf"^def {test}\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(found) == 1, f"{test}: {found}"
    return found[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_trap_has_a_guard_and_a_test(row: list[str]) -> None:
    trap, guard, proof = row
    assert trap and guard
    for page in re.findall(r"\]\(([a-z-]+\.md)\)", proof):
        assert (ROOT / "docs" / page).exists()
    tests = re.findall(r"`(test_\w+)`", proof)
    assert tests or "](" in proof, f"no test holds: {trap}"
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    for test in tests:
        file = where(test)
        if f"◇ `{test}`" in proof:
            assert str(file.relative_to(ROOT)) in make, f"{test}: `make test-deploy` does not run it"
            assert "GROUNDWORK_TEST_DEPLOY" in file.read_text(encoding="utf-8")


def test_the_page_names_enough_to_be_the_list() -> None:
    assert len(ROWS) >= 25
