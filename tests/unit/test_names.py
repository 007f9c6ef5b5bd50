"""Names in catalog and dbt project: which are refused, and which are data."""

from __future__ import annotations

import html
import io
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from jinja2.nativetypes import NativeEnvironment

from groundwork.__main__ import main
from groundwork.catalog import load_catalog
from groundwork.catalog.names import RESERVED_SOURCES, alike, column_problem, folded
from groundwork.errors import CatalogError
from groundwork.escaping import (
    dbt_string,
    jinja_string,
    markdown_text,
    slack_text,
    sql_comment,
    yaml_comment,
    yaml_string,
)
from groundwork.log_lines import in_one_line
from groundwork.render import render, rendered, stale
from tests.hostile_names import HOSTILE

ROOT = Path(__file__).parents[2]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(), st.lists(st.sampled_from(HOSTILE)).map("".join))


def page(source: str, *streams: str, **stream: Any) -> dict[str, Any]:
    described = {"table": "public.a", "replication": "full_table", "columns": {"id": {"type": "integer"}}}
    return {
        "source": source,
        "kind": "postgres",
        "priority": 1,
        "questions": ["?"],
        "requested_by": ["tests"],
        "owner": {"name": "Ann", "email": "ann@example.com"},
        "format": "rows",
        "history": "all",
        "update_every": "1 hour",
        "connection": {"url": {"secret": "lab"}},
        "streams": dict.fromkeys(streams, described | stream),
    }


def written(directory: Path, *pages: dict[str, Any]) -> Path:
    folder = directory / "catalog"
    folder.mkdir(exist_ok=True)
    for one in pages:
        (folder / f"{one['source']}.yml").write_text(yaml.safe_dump(one), encoding="utf-8")
    return folder


# Sources and files


@pytest.mark.parametrize("name", sorted(RESERVED_SOURCES))
def test_a_reserved_source_is_refused_with_what_has_the_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=f"source: '{name}' is reserved: it is {RESERVED_SOURCES[name]}"):
        load_catalog(written(tmp_path, page(name, "orders")))


def test_every_source_that_the_dbt_project_writes_by_hand_is_reserved() -> None:
    by_hand = set()
    for file in (ROOT / "dbt" / "models").rglob("*.yml"):
        text = file.read_text(encoding="utf-8")
        if not text.startswith("# Generated"):
            by_hand |= {source["name"] for source in (yaml.safe_load(text) or {}).get("sources", [])}
    assert by_hand == {"ledger", "account_usage"} <= set(RESERVED_SOURCES)


@pytest.mark.parametrize(
    "file", ["_crm__sources.yml", "base/base_crm__orders.sql", "base/base_crm__orders.yml"]
)
def test_render_refuses_to_touch_a_file_that_was_written_by_hand(file: str, tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, page("crm", "orders", "customers")))
    mine = tmp_path / "dbt/models/staging/crm" / file
    mine.parent.mkdir(parents=True)
    mine.write_text("# my own\nversion: 2\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    for command in (render, stale):
        with pytest.raises(CatalogError, match=f"{file}: was written by hand"):
            command(catalog, tmp_path)
    assert mine.read_text(encoding="utf-8") == "# my own\nversion: 2\n"
    assert sorted(tmp_path.rglob("*")) == before, "nothing else was written either"


def test_a_source_that_leaves_the_catalog_takes_only_generated_files_along(tmp_path: Path) -> None:
    both = load_catalog(written(tmp_path, page("crm", "orders"), page("shop", "orders")))
    render(both, tmp_path)
    mine = tmp_path / "dbt/models/staging/crm/base/base_crm__mine.sql"
    mine.write_text("-- Generated from catalog/crm.yml by me\nselect 1", encoding="utf-8")
    (tmp_path / "catalog/crm.yml").unlink()
    render(load_catalog(tmp_path / "catalog"), tmp_path)
    assert [file for file in mine.parents[1].rglob("*") if file.is_file()] == [mine]


# Tables


@pytest.mark.parametrize(
    ("first", "second"),
    [(("a__b", "c"), ("a", "b__c")), (("a_", "b"), ("a", "_b")), (("a__b__c", "d"), ("a", "b__c__d"))],
)
def test_check_refuses_two_streams_that_would_share_a_table(
    first: tuple[str, str], second: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    written(tmp_path, page(*first), page(*second))
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    said = capsys.readouterr().err
    if second[1].startswith("_"):
        assert "is not a name" in said
    else:
        assert f"'{'.'.join(second)}' and '{'.'.join(first)}' would share the table" in said


# Columns


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("", "is empty"),
        ('a"b', "holds a double quote"),
        ("a\0b", "NUL"),
        ("x" * 256, "255 letters at most"),
        ("_row", "landing gives"),
        ("_ROW", "landing gives"),
        ("_fate", "the macros of base models"),
        ("_as_2", "the macros of base models"),
    ],
)
def test_a_column_that_cannot_be_carried_is_refused_with_the_reason(
    column: str, problem: str, tmp_path: Path
) -> None:
    assert problem in column_problem(column)
    with pytest.raises(CatalogError, match=problem):
        load_catalog(written(tmp_path, page("crm", "orders", columns={column: {"type": "text"}})))


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Name", "name", "upper and lower case"),
        ("straße", "STRASSE", "Unicode"),
        ("é", "e\u0301", "Unicode"),
        ("Å", "\u212b", "upper and lower case"),
        ("ä", "Ä", "upper and lower case"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused(
    one: str, other: str, how: str, tmp_path: Path
) -> None:
    assert how in alike([one, other])
    columns = {one: {"type": "text"}, other: {"type": "text"}}
    with pytest.raises(CatalogError, match="cannot tell them apart"):
        load_catalog(written(tmp_path, page("crm", "orders", columns=columns)))


@given(TEXTS)
def test_folding_a_name_twice_is_folding_it_once(name: str) -> None:
    assert folded(folded(name)) == folded(name)


def test_a_column_without_a_path_is_one_key_of_the_record(tmp_path: Path) -> None:
    entry = page("crm", "orders", replication="full_table", primary_key=["No."])
    entry |= {"kind": "pushed"}
    del entry["connection"], entry["streams"]["orders"]["table"]
    columns = {"No.": {"type": "text"}, "a.b": {"type": "text"}, "deep": {"type": "text", "path": r"a.b\.c"}}
    entry["streams"]["orders"]["columns"] = columns
    catalog = load_catalog(written(tmp_path, entry))
    described = catalog["crm"].streams["orders"].columns
    assert {name: column.keys(name) for name, column in described.items()} == {
        "No.": ("No.",), "a.b": ("a.b",), "deep": ("a", "b.c"),
    }  # fmt: skip
    sql = rendered(catalog)[Path("dbt/models/staging/crm/base/base_crm__orders.sql")]
    assert "'path': ['No.']" in sql and "'path': ['a.b']" in sql and "'path': ['a', 'b.c']" in sql


# Escaping


@given(TEXTS)
def test_a_text_in_yaml_means_itself(text: str) -> None:
    assert yaml.safe_load(f"- {yaml_string(text)}\n- [{yaml_string(text)}]") == [text, [text]]
    assert yaml.safe_load(f"a: 1 # {yaml_comment(text)}\nb: 2") == {"a": 1, "b": 2}


@given(TEXTS)
def test_a_text_in_a_jinja_expression_means_itself(text: str) -> None:
    assert NativeEnvironment().from_string("{{ [" + jinja_string(text) + "] }}").render() == [text]


@given(TEXTS)
def test_a_text_in_dbt_means_itself_after_one_rendering(text: str) -> None:
    read = yaml.safe_load(dbt_string(text))
    assert read == text or Environment(keep_trailing_newline=True).from_string(read).render() == text


@given(TEXTS)
def test_a_text_in_markdown_is_one_line_without_markup(text: str) -> None:
    escaped = markdown_text(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(
        letter in "`*_<>[]|" and (place == 0 or escaped[place - 1] != "\\")
        for place, letter in enumerate(escaped)
    )


@given(TEXTS, TEXTS)
def test_an_error_is_one_line_whatever_its_parts_hold(where: str, what: str) -> None:
    error = CatalogError(where or "?", what, why=what or "?", fix=where or "?")
    assert str(error).isprintable()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(TEXTS)
def test_a_log_line_is_one_line_and_a_traceback_stays(name: str) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    in_one_line(handler)
    handler.handle(logging.LogRecord("groundwork.load", logging.INFO, "", 1, "column=%s", (name,), None))
    assert written.getvalue().removesuffix("\n").isprintable()
    handler.handle(logging.LogRecord("dbt", logging.INFO, "", 1, "a\nb", (), None))
    assert written.getvalue().endswith("a\nb\n")


@given(TEXTS)
def test_a_text_in_an_sql_comment_does_not_end_it(text: str) -> None:
    assert re.fullmatch(r"--[^\n\r]*", sql_comment(text))


@given(TEXTS)
def test_a_text_in_slack_is_no_link_and_ends_no_block(text: str) -> None:
    escaped = slack_text(text)
    assert "```" not in escaped and "<" not in escaped
    assert html.unescape(escaped).replace("\u200b", "") == text.replace("\u200b", "")
