"""What holds of HTTP APIs: every test that the page names exists, and no row of the list is missing."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rest-capture.md").read_text(encoding="utf-8")
ROWS = 21
"""Of the list of what a serious API ingestion must hold."""


def test_every_test_that_the_page_names_exists() -> None:
    files = (file for file in (ROOT / "tests").rglob("test_*.py"))
    written = set(re.findall(r"^def (test_\w+)", "\n".join(f.read_text("utf-8") for f in files), re.M))
    assert set(re.findall(r"`(test_\w+)`", PAGE)) - written == set()


def test_no_row_is_missing_and_each_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.M)
    assert {int(number) for number, _ in rows} == set(range(1, ROWS + 1))
    assert [number for number, row in rows if "`test_" not in row] == []


def test_every_server_that_has_a_page_of_the_catalog_stands_in_the_table() -> None:
    pages = {file.stem for file in (ROOT / "tests" / "integration" / "servers" / "catalog").glob("*.yml")}
    table = re.sub(r"\W", "", PAGE.split("## Row by row")[0].lower())
    assert {page for page in pages if page.replace("_", "") not in table} == set()
