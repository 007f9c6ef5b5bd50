"""Mistakes in a REST entry of the catalog, told before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundwork.catalog import load_source
from groundwork.errors import CatalogError
from groundwork.paths import split_path

ENTRY = {
    "source": "books", "kind": "rest", "priority": 1, "questions": ["?"], "requested_by": ["us"],
    "owner": {"name": "n", "email": "a@b.c"}, "format": "JSON", "history": "all",
    "update_every": "1 hour", "connection": {"base_url": "http://localhost"},
}  # fmt: skip
WINDOWS = {"start": "2026-01-01", "step": "1 day", "from": "since", "to": "until"}


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ({"paging": {"kind": "cursor", "parameter": "after"}}, "either 'next' or 'last_field'"),
        ({"paging": {"kind": "page_number"}}, "parameter: kind 'page_number' needs it"),
        ({"paging": {"kind": "offset", "parameter": "o"}}, "size_parameter: kind 'offset' needs it"),
        ({"records": "a", "paging": {"kind": "json_link"}}, "next: kind 'json_link' needs it"),
        ({"paging": {"kind": "json_link", "next": "next"}}, "body itself is the array"),
        (
            {"paging": {"kind": "page_number", "parameter": "page", "last_field": "id"}},
            "last_field: is not a key of kind 'page_number' (it has: parameter, first, past_the_end)",
        ),
        ({"paging": {"kind": "header_cursor", "parameter": "p"}}, "header: kind 'header_cursor' needs it"),
        ({"records": "a", "paging": {"kind": "continue_object"}}, "next: kind 'continue_object' needs it"),
        ({"query": "mutation { empty { ok } }"}, "query: only asks"),
        (
            {"parameters": {"tags": ["a", "b"]}},
            "parameters.tags: lists, objects and null need 'method: POST'",
        ),
        ({"endpoint": "/a/{parent.id}/b"}, "parent: goes with {parent."),
        ({"parent": {"stream": "a"}}, "parent: goes with {parent."),
        (
            {"endpoint": "/{parent.id}", "parent": {"stream": "shelves"}},
            "streams.books.parent: 'shelves' is no stream before it (none)",
        ),
        ({"windows": WINDOWS}, "windows: is read 'incremental'"),
        (
            {"deletions": {"endpoint": "/gone", "cursor": {"field": "a", "parameter": "b"}}},
            "deletions: is read 'incremental'",
        ),
        ({"deletions": {"endpoint": "/gone"}}, "deletions.cursor: is missing"),
        (
            {"windows": {**WINDOWS, "step": "1 hour", "format": "date"}, "replication": "incremental"},
            "dates need windows of whole days",
        ),
        (
            {"windows": WINDOWS, "cursor": {"field": "a", "parameter": "b"}, "replication": "incremental"},
            "one of 'cursor', 'windows', 'sync', 'parent' and 'files'",
        ),
        ({"endpoint": "https://elsewhere/books"}, "path below base_url"),
        ({"records": "data..items"}, "records: is no path: keys with dots between them"),
        ({"records": "a[x]"}, "records: [x]: in a list [0], [-1] or [key=value]"),
        ({"records": "a", "paging": {"more": "m", "end": "e"}}, "end: says the opposite of 'more'"),
        ({"records": "a", "paging": {"end_values": ["x"]}}, "end_values: are values of 'end'"),
        (
            {
                "method": "POST",
                "parameters": {"filters": [{"value": 1}]},
                "replication": "incremental",
                "cursor": {"field": "a", "parameter": "filters.value"},
            },
            "parameters.filters.value: 'value' would be a key of something that is no object",
        ),
        (
            {
                "method": "POST",
                "parameters": {"filters": [{"value": 1}]},
                "replication": "incremental",
                "cursor": {"field": "a", "parameter": "filters[2].value"},
            },
            "[2] is not in the list, which has 1 elements",
        ),
        (
            {"replication": "incremental", "cursor": {"field": "a"}},
            "cursor.parameter: is missing (or {cursor} in a parameter",
        ),
        (
            {"replication": "incremental", "cursor": {"field": "a"}, "parameters": {"q": "a > {cursor}"}},
            "cursor.start: {cursor} needs a value in the first pull",
        ),
        (
            {"replication": "incremental", "windows": {"start": "2026-01-01", "step": "1 day"}},
            "windows.from: is missing (or {from}",
        ),
        (
            {"replication": "incremental", "windows": {**WINDOWS, "format": "%Y%m%d", "step": "1 hour"}},
            "dates need windows of whole days",
        ),
        (
            {
                "replication": "incremental",
                "windows": {**WINDOWS, "format": "%Y%j%H:%M", "step": "90 seconds"},
            },
            "tells nothing finer than 0:01:00",
        ),
        ({"replication": "incremental", "windows": {**WINDOWS, "format": "%B"}}, "windows.format"),
        ({"replication": "incremental", "windows": {**WINDOWS, "format": "%H:%M"}}, "or a form such as"),
        (
            {"records": "a", "replication": "incremental", "sync": {"next": "t", "parameter": "s"}},
            "primary_key: tells a changed record of 'sync' from a new one",
        ),
        (
            {
                "records": "a",
                "replication": "incremental",
                "sync": {"next": "t"},
                "paging": {"kind": "page_number", "parameter": "page"},
            },
            "sync.parameter: is missing; a link goes with kind",
        ),
        ({"records": "a", "replication": "incremental", "sync": {}}, "sync.next: a token stands either"),
        (
            {"replication": "incremental", "sync": {"next": "t"}},
            "streams.books.sync: the body itself is the array",
        ),
        ({"records": "a", "sync": {"next": "t"}}, "sync: is read 'incremental'"),
        ({"records": "a", "paging": {"past_the_end": [404]}}, "past_the_end: is not a key of kind 'single_"),
        ({"replication": "incremental"}, "cursor: an incremental stream needs one"),
        ({"files": {}}, "files: are read 'incremental'"),
        ({"format": "csv", "records": "a"}, "records: only 'format: json' has paths"),
        ({"format": "csv", "encoding": "uft-9"}, "encoding: 'uft-9' is no encoding; usual ones are utf-8"),
        ({"format": "xml"}, "format: Input should be 'json', 'ndjson' or 'csv'"),
        (
            {"files": {}, "replication": "incremental", "expect": {"minimum": 1}},
            "expect.minimum: windows, changes, children and lists of files may be empty",
        ),
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


SECRET = {"secret": "books-secret"}
CLIENT = {"token_url": "https://x/token", "client_id": "us", "client_secret": SECRET}
LOGIN = {"kind": "session_login", "login_url": "/login", "credentials": {"password": SECRET}}


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({"kind": "baerer", "token": SECRET}, "auth.kind: 'baerer' is not a kind of auth (none, bearer, "),
        ({"kind": "baerer", "token": SECRET}, "Did you mean 'bearer'?"),
        ({"token": SECRET}, "auth.kind: is missing: which kind of auth (none, bearer, "),
        ({"kind": "bearer"}, "auth.token: is missing"),
        ({"kind": "bearer", "token": "abc"}, "auth.token: is a secret: name it as {secret: …}, never write"),
        ({"kind": "bearer", "token": {"variable": "x"}}, "auth.token: is a secret: name it as {secret: …}"),
        (
            {"kind": "bearer", "token": SECRET, "prefx": "x"},
            "auth.prefx: is not a key here (kind, token)",
        ),
        (
            {"kind": "api_key", "token": SECRET, "prefx": "x"},
            "auth.prefx: is not a key here (kind, token, name, in, prefix). Did you mean 'prefix'?",
        ),
        ({"kind": "oauth2_client_credentials", **CLIENT, "scopes": "a"}, "Did you mean 'scope'?"),
        ({"kind": "oauth2_client_credentials", "token_url": "https://x"}, "auth.client_id: is missing"),
        ({"kind": "oauth2_refresh_token", **CLIENT}, "auth.refresh_token: is missing"),
        ({"kind": "oauth2_client_credentials", **CLIENT, "lifetime": 5}, "auth.lifetime: is not a duration"),
        ({"kind": "jwt_assertion", "key": SECRET, "claims": {"aud": "x"}}, "'audience'"),
        ({"kind": "jwt_assertion", "key": SECRET, "claims": {"iat": 5}}, "made anew for each JWT"),
        ({"kind": "jwt_assertion", "key": SECRET, "algorithm": "none"}, "auth.algorithm: "),
        (LOGIN, "auth.token: what the login brings is either a 'token' or 'cookies'"),
        ({**LOGIN, "token": "a", "cookies": ["b"]}, "either a 'token' or 'cookies'"),
        (
            {**LOGIN, "token": "a", "credentials": {"password": "hunter2"}},
            "auth.credentials: the password is a secret: name it as {secret: …}",
        ),
        ({"kind": "signature", "hook": "os:system"}, "auth.hook: "),
        ({"kind": "signature", "hook": "signing.x:y.z"}, "auth.hook: "),
        ({"kind": "signature", "hook": "signing.x:f", "secrets": {"key": "a"}}, "secrets.key: is a secret"),
    ],
)
def test_a_mistake_in_how_we_are_known_is_told_with_its_place(
    tmp_path: Path, auth: dict[str, object], told: str
) -> None:
    file = tmp_path / "books.yml"
    connection = {"base_url": "http://localhost", "auth": auth}
    stream = {"endpoint": "/books", "replication": "full_table", "columns": {}}
    file.write_text(yaml.safe_dump({**ENTRY, "connection": connection, "streams": {"books": stream}}))
    with pytest.raises(CatalogError) as caught:
        load_source(file)
    assert f"{file}: connection.auth" in str(caught.value) and told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_dot_within_a_key_is_written_with_a_backslash() -> None:
    assert split_path("a.b.c") == ("a", "b", "c")
    assert split_path(r"meta.@odata\.nextLink") == ("meta", "@odata.nextLink")
    assert split_path("") == ()
