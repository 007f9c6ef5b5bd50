"""A catalog's YAML is read as PyYAML reads it, but for keys that are there twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groundwork.catalog import load_source
from groundwork.catalog.yaml_text import read_yaml
from groundwork.errors import CatalogError
from tests.hostile_names import HOSTILE

ROOT = Path(__file__).parents[2]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.sampled_from(HOSTILE),
    st.text(),
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(HOSTILE), inner, max_size=4)
    ),
)


@given(DATA, st.booleans())
def test_data_is_what_pyyaml_reads(data: object, flow: bool) -> None:
    text = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow)
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "a: no",
        "a: 'no'",
        "a: 2024-02-29",
        "a: 0o7",
        "a: 010",
        "a: 1_000",
        "a: .inf",
        "a: ~",
        "a:",
        "no: 1",
        "a: &x {b: 1}\nc: *x",
        "a: &x {b: 1}\nc: {<<: *x}",
        "a: !!str 5",
        "!!map {a: 1}",
        "- 1\n- [a, {b: c}]",
        "a: |\n  x\n  y\n",
        "? a\n: b",
        "a: 1.5e3",
        "2: x",
        "<<: {a: 1}",
        "'<<': {a: 1}",
    ],
)
def test_what_is_not_plain_is_what_pyyaml_reads(text: str) -> None:
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: b: c", "? [a]\n: b", "a: 1\n---\nb: 2", "a: *x", "a: !x 1", "\t- a", "a: \x07", "a: ="],
)
def test_what_is_no_yaml_is_refused_as_by_pyyaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("file", sorted((ROOT / "catalog").glob("*.yml")), ids=lambda file: file.name)
def test_the_catalog_is_what_pyyaml_reads(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "source: a\nkind: postgres\nstreams:\n  t: {}\n  t: {}\n",
            ":5: is not YAML: key 't' is there twice",
        ),
        ("source: a\nhistory: 2024-13-45\n", ": is not YAML: "),
    ],
)
def test_a_key_that_is_there_twice_and_an_impossible_date_are_named(
    tmp_path: Path, text: str, what: str
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError) as refused:
        load_source(file)
    assert f"{file}{what}" in str(refused.value)
