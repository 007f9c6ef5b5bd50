"""Names through render, dbt build and dbt docs: none is evaluated, and none becomes another.

One dbt run costs seconds, so names are columns: hundreds of them in each build.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundwork.catalog import load_catalog
from groundwork.render import render
from tests.hostile_names import HOSTILE, SECRET, VARIABLE, drawn, fit
from tests.integration.test_dbt_base_models import make_project
from tests.landing import Dbt, Landing, sequence

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("GROUNDWORK_TEST_NAMES", "150"))
SEED = int(os.environ.get("GROUNDWORK_SEED", "20261128"))
KEYED = 12
"""Names that are keys of a stream of their own: each is a model with its tests."""


def page(source: str, kind: str, streams: dict[str, Any]) -> dict[str, Any]:
    connection = {"connection": {"url": {"secret": "lab"}}} if kind == "postgres" else {}
    return {
        "source": source,
        "kind": kind,
        "priority": 1,
        "questions": ["?"],
        "requested_by": ["tests"],
        "owner": {"name": f"{{{{ env_var('{VARIABLE}') }}}}", "email": "tests@example.com"},
        "format": "rows",
        "history": "all",
        "update_every": "1 hour",
        **connection,
        "streams": streams,
    }


def columns(names: list[str], **more: Any) -> dict[str, Any]:
    return {name: {"type": "text", "description": name, **more} for name in names}


def names_of_words(names: list[str]) -> list[str]:
    """Names that something is likely to evaluate come first, so that the keys have some of them."""
    return sorted(names, key=lambda name: "{" not in name and "(" not in name)


def value(name: str) -> str:
    return f"of {name}"


def test_names_reach_the_base_models_as_they_are_and_nothing_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    names = names_of_words(fit([*HOSTILE, *drawn(COUNT, SEED)]))
    keys = names[:KEYED]
    words = ["yes", "on", "off", "null", "true", "y", "n"]
    table = {"table": "public.a", "replication": "log_based"}
    streams: dict[str, Any] = {
        words[0]: {**table, "primary_key": ["id"], "columns": {"id": {"type": "integer"}, **columns(names)}},
        words[1]: {**table, "replication": "full_table", "columns": columns(names)},
        words[2]: {**table, "primary_key": keys, "columns": columns(keys)},
    }
    for number, name in enumerate(keys):
        streams[f"key_{number}"] = {**table, "primary_key": [name], "columns": columns([name])}
    records: dict[str, Any] = {
        "null": {"replication": "full_table", "primary_key": [names[0]], "columns": columns(names)},
        "true": {"replication": "full_table", "primary_key": keys, "columns": columns(keys)},
    }
    pages = [page("no", "postgres", streams), page("y", "pushed", records)]
    (tmp_path / "catalog").mkdir()
    for one in pages:
        file = tmp_path / "catalog" / f"{one['source']}.yml"
        file.write_text(yaml.safe_dump(one, sort_keys=False), encoding="utf-8")
    catalog = load_catalog(tmp_path / "catalog")
    make_project(tmp_path)
    render(catalog, tmp_path)
    landing = Landing(tmp_path / "warehouse.duckdb", catalog)
    dbt = Dbt(landing.file, tmp_path / "target", tmp_path / "dbt")

    for batch in (1, 2):  # the second run is incremental
        place = {"_sequence": sequence(batch)}
        values = {name: f"{value(name)}{batch}" for name in names}
        of_keys = {name: values[name] for name in keys}
        unchanged = json.dumps(names[:3], ensure_ascii=False) if batch == 2 else None
        rows_of = {words[0]: [{**values, **place, "id": "1", "_unchanged": unchanged}]}
        rows_of |= {words[1]: [values | place], words[2]: [of_keys | place]}
        rows_of |= {f"key_{number}": [{name: values[name], **place}] for number, name in enumerate(keys)}
        landing.land("no", batch, rows_of)
        plain = json.dumps(of_keys, ensure_ascii=False)
        records_of = {"null": [{"record": json.dumps(values), **place}], "true": [{"record": plain, **place}]}
        landing.land("y", batch, records_of)
        dbt("build", "--quiet")
    assert set(dbt.results().values()) <= {"success", "pass"}

    def rows(model: str, wanted: list[str]) -> list[tuple[Any, ...]]:
        listed = ", ".join('"' + name + '"' for name in wanted)
        return landing.query(f"select {listed} from staging.{model} order by _sequence")

    newest = tuple(f"{value(name)}2" for name in names)
    (found,) = rows("base_no__yes", names)
    assert found == (*(f"{value(name)}1" for name in names[:3]), *newest[3:]), "the log did not repeat three"
    assert rows("base_no__on", names)[1] == newest
    assert rows("base_y__null", names)[1] == newest
    for model in ("base_no__off", "base_y__true"):
        assert rows(model, keys)[1] == newest[:KEYED]
    for number, name in enumerate(keys):
        assert rows(f"base_no__key_{number}", [name]) == [(f"{value(name)}{n}",) for n in (1, 2)]

    dbt("docs generate", "--quiet")
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_text(encoding="utf-8"))
    described = manifest["nodes"]["model.groundwork.base_no__yes"]["columns"]
    assert {name: described[name]["description"] for name in names} == {name: name for name in names}
    documented = json.loads((tmp_path / "target" / "catalog.json").read_text(encoding="utf-8"))
    shown = documented["nodes"]["model.groundwork.base_no__yes"]["columns"]
    assert {name: shown[name]["comment"] for name in names} == {name: name for name in names}
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"s3cr3t-4711" not in file.read_bytes(), file
