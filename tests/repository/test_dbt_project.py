"""House rules of the dbt project, held against its files and its manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from groundwork.catalog import load_catalog
from groundwork.render import METADATA, stale
from tests.landing import ROOT, Dbt

DBT = ROOT / "dbt"
SOURCES_ONLY = re.compile(r"select\s+\*(?!\s*\))|\b\w+\.\*")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("target")
    Dbt(target / "none.duckdb", target)("parse", "--quiet")
    found: dict[str, Any] = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    return found


def models(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (node for node in manifest["nodes"].values() if node["resource_type"] == "model")


@cache
def model_files() -> list[Path]:
    return sorted((DBT / "models").rglob("*.sql"))


def test_there_is_no_python_under_dbt() -> None:
    """A top-level ``dbt`` folder joins dbt-core's own package path: an ``__init__.py`` would shadow it."""
    assert not list(DBT.rglob("*.py"))


def test_what_is_generated_is_current() -> None:
    assert stale(load_catalog(ROOT / "catalog"), ROOT) == [], "run: python -m groundwork render"


def test_no_model_selects_everything() -> None:
    assert [
        path.name for path in model_files() if SOURCES_ONLY.search(path.read_text(encoding="utf-8"))
    ] == []


def test_only_staging_reads_sources() -> None:
    readers = {path for path in model_files() if "source(" in path.read_text(encoding="utf-8")}
    assert all(path.is_relative_to(DBT / "models/staging") for path in readers)
    assert all(path.name.startswith(("base_", "stg_ledger__", "stg_account_usage__")) for path in readers)


def test_every_model_and_column_is_described(manifest: dict[str, Any]) -> None:
    for model in models(manifest):
        assert model["description"], model["name"]
        for name, column in model["columns"].items():
            assert column["description"], f"{model['name']}.{name}"


def test_every_model_has_a_tested_key(manifest: dict[str, Any]) -> None:
    unique, filled = set(), set()
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("attached_node"):
            kind = node["test_metadata"]["name"]
            unique |= {node["attached_node"]} if kind in ("unique", "unique_combination") else set()
            filled |= {node["attached_node"]} if kind == "not_null" else set()
    for model in models(manifest):
        assert model["unique_id"] in unique & filled, model["name"]


def test_base_models_are_private_and_contracted(manifest: dict[str, Any]) -> None:
    bases = [model for model in models(manifest) if model["name"].startswith("base_")]
    assert bases
    for model in bases:
        assert model["access"] == "private", model["name"]
        assert model["config"]["contract"]["enforced"], model["name"]
        assert model["config"]["group"] == "staging", model["name"]
        assert list(model["columns"])[-len(METADATA) :] == list(METADATA), model["name"]


def test_what_people_see_is_contracted_and_used_by_an_exposure(manifest: dict[str, Any]) -> None:
    exposures = manifest["exposures"].values()
    shown = {name for exposure in exposures for name in exposure["depends_on"]["nodes"]}
    for model in models(manifest):
        if model["path"].startswith("visualization"):
            assert model["config"]["contract"]["enforced"], model["name"]
            assert model["unique_id"] in shown, model["name"]


def test_every_row_that_people_see_leads_back_to_its_file_and_run(manifest: dict[str, Any]) -> None:
    way_back = {"_file", "_row", "_run_id", "_stored_at", "_loaded_at", "_built_at"}
    of_the_ledger = {"batch_key", "manifest_key", "extract_run_id", "stored_at", "loaded_at", "_built_at"}
    for model in models(manifest):
        if model["path"].startswith("visualization"):
            columns = set(model["columns"])
            assert way_back <= columns or of_the_ledger <= columns, model["name"]


def test_every_model_with_logic_has_a_unit_test(manifest: dict[str, Any]) -> None:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    for path in (DBT / "models/visualization").rglob("*.sql"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\bcase\b|\bover \(", text):
            assert path.stem in tested, path.name


def test_every_stream_of_the_catalog_has_a_staging_model(manifest: dict[str, Any]) -> None:
    names = {model["name"] for model in models(manifest)}
    for source in load_catalog(ROOT / "catalog").values():
        for stream in source.streams:
            assert {f"base_{source.source}__{stream}", f"stg_{source.source}__{stream}"} <= names


def test_shared_sql_avoids_what_only_duckdb_has() -> None:
    """Models run on both warehouses; what differs stands in macros that are dispatched."""
    only_duckdb = re.compile(
        r"\b(date_diff|strftime|starts_with|ends_with|strpos|bool_or|string_agg|json_extract\w*|regexp_matches|"
        r"list_\w+|struct_\w+|read_parquet|exclude)\b\s*\(|->>|\barg_max\b"
    )
    for path in model_files():
        assert not only_duckdb.search(path.read_text(encoding="utf-8")), path.name
