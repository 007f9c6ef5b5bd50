"""A secret that changes in mid-run is saved in the Prefect block it came from, whatever happens just then."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.blocks import apply_blocks
from groundwork.catalog import Catalog
from groundwork.errors import GroundworkError, SettingMissing
from groundwork.settings import Named, Settings
from groundwork.sources.rest import RestSource
from tasks.keeping import KeepInPrefect
from tasks.lookup import resolve
from tests.integration.fault_api import Api
from tests.integration.rest_reading import Read, entry
from tests.integration.test_rest_auth import BOOKS, PAGES, guarded, refresh_token
from tests.integration.token_api import CLIENT, Authority

TOKEN = Named(secret="books-refresh-token")


@pytest.fixture
def block(prefect_api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The value that the block holds now."""
    from prefect.blocks.system import Secret

    for name in ("GROUNDWORK_SECRETS_DIR", "BOOKS_REFRESH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROUNDWORK_HOME", str(tmp_path))
    monkeypatch.setenv("BOOKS_CLIENT_SECRET", CLIENT[1])
    Secret(value="first-r3fresh/+ä").save(TOKEN.name, overwrite=True)
    yield lambda: Secret.load(TOKEN.name).get()  # type: ignore[union-attr]
    Secret.delete(TOKEN.name)


def waiting(home: Path) -> Path:
    return home / "secrets" / "books-refresh-token.json"


def test_a_flow_saves_each_new_refresh_token_in_its_block(block: Any, tmp_path: Path) -> None:
    authority = Authority()
    with contextlib.ExitStack() as stack:
        tokens, api = Api(authority.give), Api(guarded(authority))
        stack.callback(tokens.close)
        stack.callback(api.close)
        books = entry(api.url, PAGES, auth=refresh_token(tokens))
        for _ in range(2):
            assert len(Read(RestSource(books, resolve, keep=KeepInPrefect())).ids) == len(BOOKS)
            assert block() == authority.refresh_token
    assert len(authority.used) == 2 and not authority.reused
    assert not waiting(tmp_path).exists()


def test_a_token_that_could_not_be_saved_waits_on_this_machine_and_is_saved_by_the_next_look(
    block: Any, tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    keep = KeepInPrefect()
    # nothing listens there: Prefect is away just when the new token comes
    with (
        keep.turn(TOKEN),
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(GroundworkError, match="could not be saved in Prefect") as caught,
    ):
        keep.save(TOKEN, "second-r3fresh")
    assert "r3fresh" not in str(caught.value) and caught.value.__context__ is None
    assert block() == "first-r3fresh/+ä"
    assert waiting(tmp_path).stat().st_mode & 0o777 == 0o600
    assert resolve(TOKEN) == "second-r3fresh" == block()
    assert not waiting(tmp_path).exists()


def test_a_token_that_somebody_saved_by_hand_beats_one_that_waits(block: Any, tmp_path: Path) -> None:
    waiting(tmp_path).parent.mkdir()
    replaced = hashlib.sha256(b"long gone").hexdigest()
    waiting(tmp_path).write_text(json.dumps({"replaces": replaced, "value": "stale"}))
    assert resolve(TOKEN) == "first-r3fresh/+ä"


def test_a_token_from_the_environment_is_not_spent_in_a_flow(
    block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "from-the-environment")
    keep = KeepInPrefect()
    told = r"the environment variable BOOKS_REFRESH_TOKEN comes before Prefect's block"
    with pytest.raises(SettingMissing, match=rf"(?i){told}.*nothing was spent yet"), keep.turn(TOKEN):
        pass


def test_applying_the_deployment_again_puts_no_spent_token_back(
    block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    monkeypatch.setenv("BOOKS_REFRESH_TOKEN", "first-r3fresh/+ä")  # as when it was deployed first
    Secret(value="second-r3fresh").save(TOKEN.name, overwrite=True)
    auth = {
        "kind": "oauth2_refresh_token", "token_url": "http://localhost", "client_id": "us",
        "refresh_token": {"secret": TOKEN.name},
    }  # fmt: skip
    catalog = Catalog([entry("http://localhost", PAGES, auth=auth)])
    told = [str(change) for change in apply_blocks(catalog, Settings(bucket="file:///x"), dry_run=False)]
    assert f"unchanged block secret '{TOKEN.name}'" in told
    assert block() == "second-r3fresh"


def test_a_secret_of_digits_is_read_as_the_text_it_is(block: Any) -> None:
    from prefect.blocks.system import Secret

    Secret(value="12e3").save(TOKEN.name, overwrite=True)
    assert resolve(TOKEN) == "12e3"
