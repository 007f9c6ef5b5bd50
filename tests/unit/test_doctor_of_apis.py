"""The doctor looks whether a refresh token that is new each time has a place to be saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundwork.bucket import open_bucket
from groundwork.catalog import Catalog
from groundwork.doctor import examine
from groundwork.findings import Finding
from groundwork.settings import SECRETS_DIRECTORY, Settings
from tests.integration.rest_reading import entry, resolve


def found(place: Path, *, rotates: bool = True) -> list[Finding]:
    auth = {
        "kind": "oauth2_refresh_token", "token_url": "http://127.0.0.1:9/token", "client_id": "us",
        "refresh_token": {"secret": "books-token"}, "rotates": rotates,
    }  # fmt: skip
    settings = Settings(home=place / "home", bucket=(place / "bucket").as_uri())
    catalog = Catalog([entry("http://127.0.0.1:9", {}, auth=auth)])
    seen = examine(settings, catalog, lambda: open_bucket(settings.bucket_url), resolve)
    return [finding for finding in seen if "refresh token" in finding.what]


def test_a_place_that_can_be_written_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path / "secrets"))
    assert [finding.sign for finding in found(tmp_path)] == ["✓"]


def test_a_token_from_the_environment_has_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRETS_DIRECTORY, raising=False)
    monkeypatch.setenv("BOOKS_TOKEN", "s3cret")
    (told,) = found(tmp_path)
    assert "BOOKS_TOKEN cannot be changed from here" in told.problem and "s3cret" not in told.problem


def test_a_directory_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").write_text("a file")
    monkeypatch.setenv(SECRETS_DIRECTORY, str(tmp_path / "secrets"))
    assert "cannot be written" in found(tmp_path)[0].problem


def test_where_only_prefect_keeps_it_commands_are_warned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SECRETS_DIRECTORY, "BOOKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert [finding.sign for finding in found(tmp_path)] == ["!"]


def test_a_token_that_stays_the_same_needs_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKS_TOKEN", "s3cret")
    assert found(tmp_path, rotates=False) == []
