"""Mistakes in a REST entry of the catalog, told before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundwork.catalog import load_source
from groundwork.errors import CatalogError
from groundwork.sources.rest.records import split_path

ENTRY = {
    "source": "books", "kind": "rest", "priority": 1, "questions": ["?"], "requested_by": ["us"],
    "owner": {"name": "n", "email": "a@b.c"}, "format": "JSON", "history": "all",
    "update_every": "1 hour", "connection": {"base_url": "http://localhost"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ({"paging": {"kind": "cursor", "parameter": "after"}}, "either 'next' or 'last_field'"),
        ({"paging": {"kind": "page_number"}}, "parameter: kind 'page_number' needs it"),
        ({"paging": {"kind": "offset", "parameter": "o"}}, "size_parameter: kind 'offset' needs it"),
        ({"records": "a", "paging": {"kind": "json_link"}}, "next: kind 'json_link' needs it"),
        ({"paging": {"kind": "json_link", "next": "next"}}, "body itself is the array"),
        ({"endpoint": "https://elsewhere/books"}, "path below base_url"),
        ({"records": "data..items"}, "empty part"),
        ({"replication": "incremental"}, "cursor: an incremental stream needs one"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, stream: dict[str, object], told: str) -> None:
    file = tmp_path / "books.yml"
    whole = {"endpoint": "/books", "replication": "full_table", "columns": {}, **stream}
    file.write_text(yaml.safe_dump({**ENTRY, "streams": {"books": whole}}))
    with pytest.raises(CatalogError) as caught:
        load_source(file)
    assert "streams.books" in str(caught.value)
    assert told in str(caught.value).replace(".next: the body", ": the body")


def test_a_dot_within_a_key_is_written_with_a_backslash() -> None:
    assert split_path("a.b.c") == ("a", "b", "c")
    assert split_path(r"meta.@odata\.nextLink") == ("meta", "@odata.nextLink")
    assert split_path("") == ()
