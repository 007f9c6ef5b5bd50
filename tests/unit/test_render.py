"""Rendering: the same catalog gives the same bytes, and what is not current is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from groundwork.catalog import Catalog, load_catalog
from groundwork.render import METADATA, render, rendered, stale
from groundwork.warehouses import LANDING_METADATA

ENTRY = """
source: lab
kind: postgres
priority: 1
questions: ["what is {{ jinja }}?"]
requested_by: [tests]
owner: {name: "Ann \\"Q\\" O'Hara", email: ann@example.com}
format: rows
history: all
update_every: 5 minutes
connection: {url: {secret: lab}}
streams:
  things:
    table: public.things
    description: "It's {{ not }} Jinja, {% nor %} this {# nor this"
    replication: log_based
    primary_key: [id, "Odd, näme's"]
    columns:
      id: {type: integer, description: Number}
      "Odd, näme's": {type: text, pii: true}
      order: {type: "decimal(6,2)"}
  keyless:
    table: public.keyless
    replication: full_table
    columns:
      a: {type: text}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "lab.yml").write_text(ENTRY, encoding="utf-8")
    return load_catalog(tmp_path / "catalog")


def test_rendering_twice_changes_nothing(catalog: Catalog, tmp_path: Path) -> None:
    written = render(catalog, tmp_path)
    assert len(written) == 6
    assert stale(catalog, tmp_path) == render(catalog, tmp_path) == []


def test_a_changed_a_missing_and_an_orphaned_file_are_stale(catalog: Catalog, tmp_path: Path) -> None:
    render(catalog, tmp_path)
    base = tmp_path / "dbt/models/staging/lab/base"
    header = (base / "base_lab__keyless.sql").read_text(encoding="utf-8")
    (base / "base_lab__things.sql").write_text(header, encoding="utf-8")
    (base / "base_lab__keyless.yml").unlink()
    (base / "base_lab__gone.sql").write_text(header, encoding="utf-8")
    (base.parent / "stg_lab__things.sql").write_text("select a from b", encoding="utf-8")
    names = [path.name for path in stale(catalog, tmp_path)]
    assert names == ["base_lab__gone.sql", "base_lab__keyless.yml", "base_lab__things.sql"]
    assert [path.name for path in render(catalog, tmp_path)] == names
    assert not (base / "base_lab__gone.sql").exists()
    assert (base.parent / "stg_lab__things.sql").exists(), "written by hand, none of ours"


def test_every_generated_yaml_file_is_yaml(catalog: Catalog) -> None:
    for path, text in rendered(catalog).items():
        if path.suffix == ".yml":
            assert yaml.safe_load(text)["version"] == 2, path


def test_freshness_follows_from_how_often_the_source_is_wanted(catalog: Catalog) -> None:
    text = rendered(catalog)[Path("dbt/models/staging/lab/_lab__sources.yml")]
    config = yaml.safe_load(text)["sources"][0]["config"]
    assert config["freshness"]["warn_after"] == {"count": 15, "period": "minute"}
    assert config["freshness"]["error_after"] == {"count": 60, "period": "minute"}
    assert "where source = 'lab'" in config["loaded_at_query"]


def test_a_composite_key_is_tested_as_one_and_a_missing_key_by_place(catalog: Catalog) -> None:
    files = rendered(catalog)
    folder = Path("dbt/models/staging/lab/base")
    things = yaml.safe_load(files[folder / "base_lab__things.yml"])["models"][0]
    assert things["data_tests"][0]["unique_combination"]["arguments"]["columns"] == ["id", '"Odd, näme\'s"']
    keyless = yaml.safe_load(files[folder / "base_lab__keyless.yml"])["models"][0]
    assert keyless["data_tests"][0]["unique_combination"]["arguments"]["columns"] == ["_file", "_row"]
    assert "keyless_records" in files[folder / "base_lab__keyless.sql"]


def test_personal_data_is_marked_and_reserved_words_are_quoted(catalog: Catalog) -> None:
    text = rendered(catalog)[Path("dbt/models/staging/lab/base/base_lab__things.yml")]
    columns = {column["name"]: column for column in yaml.safe_load(text)["models"][0]["columns"]}
    assert columns["Odd, näme's"]["config"]["meta"] == {"pii": True}
    assert columns["order"]["quote"] is True
    assert "quote" not in columns["id"]


def test_base_models_hand_on_all_metadata_of_landing() -> None:
    assert set(dict(LANDING_METADATA)) <= set(METADATA)


def test_the_json_schema_tells_kinds_apart_and_durations_as_they_are_written(catalog: Catalog) -> None:
    schema = json.loads(rendered(catalog)[Path("catalog/schema.json")])
    assert set(schema["discriminator"]["mapping"]) == {"postgres", "rest", "pushed"}
    update_every = schema["$defs"]["PostgresSource"]["properties"]["update_every"]
    assert "minute" in update_every["pattern"]


def test_a_dot_within_a_key_of_a_record_is_no_way_into_it(tmp_path: Path) -> None:
    entry = yaml.safe_load(ENTRY) | {"kind": "rest", "connection": {"base_url": "http://localhost"}}
    path = r"@odata\.meta.total#2"
    columns = {"id": {"type": "text"}, "total": {"type": "text", "path": path}}
    entry["streams"] = {"sums": {"endpoint": "/sums", "replication": "full_table", "columns": columns}}
    (tmp_path / "lab.yml").write_text(yaml.safe_dump(entry))
    models = {path.name: text for path, text in rendered(load_catalog(tmp_path)).items()}
    model = models["base_lab__sums.sql"]
    assert "{'name': 'total', 'type': 'text', 'path': ['@odata.meta', 'total#2']}" in model
