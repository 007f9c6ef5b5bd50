"""Commands in a shell that sets nothing, after a platform of this checkout has saved its settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.platform import Platform
from groundwork.bucket import open_bucket
from groundwork.errors import BucketError, SettingMissing
from groundwork.saved_settings import FILE, Saved, in_place, read, save
from groundwork.settings import Settings
from tests.commands import PROJECT

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with saved settings, whose S3 server was stopped; nothing is set."""
    for name in [name for name in os.environ if name.startswith(("GROUNDWORK_", "AWS_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / ".groundwork"
    with Platform(home, parts=["s3"], durable=False) as platform:
        serve = [sys.executable, "-m", "demo", "services", "--home", str(home), "--parts"]
        save(home, Saved(variables=platform.environment(), serve=serve, checkout=PROJECT))
    monkeypatch.chdir(tmp_path)
    return home


def children() -> Iterator[str]:
    for child in psutil.Process().children(recursive=True):
        yield " ".join(child.cmdline())


def test_a_command_finds_the_bucket_and_starts_what_it_needs(home: Path) -> None:
    before = dict(os.environ)
    with in_place("replay"):
        bucket = open_bucket(Settings().bucket_url)
        bucket.put("shop/one", b"1")
        assert Settings().duckdb_file == home / "warehouse.duckdb"
    assert dict(os.environ) == before
    assert not [one for one in children() if str(home) in one], "what was started is stopped"
    with in_place("replay"):
        assert open_bucket(Settings().bucket_url).get("shop/one") == b"1"


def test_a_command_that_needs_no_service_starts_none(home: Path) -> None:
    with in_place("sql"):
        assert Settings().bucket_url == "s3://groundwork/platform"
        assert not [one for one in children() if str(home) in one]


def test_a_platform_that_runs_is_used(home: Path) -> None:
    with Platform(home, parts=["s3"], durable=False) as platform, in_place("replay"):
        assert os.environ["AWS_ENDPOINT_URL_S3"] == platform.s3.endpoint_url
        open_bucket(Settings().bucket_url).put("shop/two", b"2")


def test_a_shell_that_names_a_bucket_is_not_completed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_BUCKET", (home / "another").as_uri())
    before = dict(os.environ)
    with in_place("replay"):
        assert dict(os.environ) == before


def test_the_shells_credentials_are_not_sent_to_the_saved_bucket(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-another-account")
    monkeypatch.setenv("GROUNDWORK_WAREHOUSE", "snowflake")
    with in_place("replay"):
        assert os.environ["AWS_ACCESS_KEY_ID"] == "groundwork"
        assert os.environ["GROUNDWORK_WAREHOUSE"] == "snowflake", "the one setting"


def test_settings_are_saved_for_their_owner_alone(home: Path) -> None:
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o066 == 0
    (home / FILE).chmod(0o644)
    with pytest.raises(SettingMissing, match="others may read or write it"), in_place("replay"):
        pass


def test_a_file_that_is_no_settings_is_refused(home: Path) -> None:
    (home / FILE).write_text("{}")
    with pytest.raises(SettingMissing, match="is not what a platform saved"):
        read(home)


def test_services_that_do_not_start_are_told(home: Path) -> None:
    saved = read(home)
    assert saved is not None
    save(home, saved.model_copy(update={"serve": [sys.executable, "-c", "raise SystemExit(1)"]}))
    with pytest.raises(SettingMissing, match="did not start"), in_place("replay"):
        pass


def test_without_services_the_bucket_is_out_of_reach_and_nothing_is_taken_for_empty(home: Path) -> None:
    with in_place("sql"), pytest.raises(BucketError):
        open_bucket(Settings().bucket_url).exists("shop/one")
