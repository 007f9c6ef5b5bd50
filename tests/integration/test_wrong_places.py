"""Commands and tasks whose settings are missing or wrong: what is served stays as it is.

Two platforms with the same source names stand side by side, each with a bucket and a warehouse of its own.
Every command is run on the first with each setting missing, empty, or naming the other platform's.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from aiohttp import web

from groundwork.__main__ import main
from groundwork.bucket import open_bucket
from groundwork.errors import LedgerDisagrees, WrongPlace
from tests.integration.fault_api import Api

CATALOG = """
source: {source}
kind: rest
priority: 1
questions: ["Is it all there?"]
requested_by: [tests]
owner: {{name: Tests, email: tests@example.com}}
format: JSON
history: all
update_every: 1 hour
connection: {{base_url: {{variable: {source}-url}}, requests_per_second: 1000}}
streams:
  books:
    endpoint: /books
    replication: full_table
    paging: {{kind: single_page}}
    primary_key: [id]
    columns:
      id: {{type: integer, subject: book}}
"""
KEY = "erasure-key-of-the-tests"

COMMANDS: dict[str, list[str]] = {
    "replay": ["replay", "--landing-only"],
    "replay of a source": ["replay", "shop", "--landing-only"],
    "replay of a stream": ["replay", "shop", "--stream", "books", "--landing-only"],
    "load": ["load", "shop"],
    "extract": ["extract", "shop"],
    "full-refresh": ["full-refresh", "shop"],
    "full-refresh of a stream": ["full-refresh", "shop", "--stream", "books"],
    "forget": ["forget", "shop.books.id", "--value", "1", "--yes"],
    "forget a subject": ["forget", "--subject", "book", "--value", "1", "--yes"],
    "forget --resume": ["forget", "--resume"],
    "forget --again": ["forget", "--again"],
    "compact": ["compact"],
    "sweep": ["sweep", "--yes", "--days", "0"],
}


@dataclass
class Platform:
    """A bucket, a warehouse and a catalog, by the settings that name them."""

    place: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "GROUNDWORK_HOME": str(self.place / "home"),
            "GROUNDWORK_BUCKET": (self.place / "objects").as_uri(),
            "GROUNDWORK_DUCKDB_PATH": str(self.file),
            "GROUNDWORK_CATALOG": str(self.place / "catalog"),
        }

    @property
    def file(self) -> Path:
        return self.place / "served" / "warehouse.duckdb"

    def served(self) -> dict[str, int]:
        """Rows per table, read by DuckDB alone."""
        with duckdb.connect(str(self.file), read_only=True) as connection:
            tables = ("landing.shop__books", "landing._batches", "visualization.books")
            counted = " union all ".join(f"select '{table}', count(*) from {table}" for table in tables)
            return dict(connection.execute(counted).fetchall())

    def objects(self) -> dict[str, int]:
        return {one.key: one.size for one in open_bucket(self.settings["GROUNDWORK_BUCKET"]).list("")}


def set_up(place: Path, api: Api, patch: pytest.MonkeyPatch) -> Platform:
    platform = Platform(place)
    (place / "catalog").mkdir(parents=True)
    (place / "catalog" / "shop.yml").write_text(CATALOG.format(source="shop"))
    for name, value in (platform.settings | {"SHOP_URL": api.url, "ERASURE_KEY": KEY}).items():
        patch.setenv(name, value)
    for words in (["extract", "shop"], ["extract", "shop"], ["load", "shop"]):
        assert main(words) == 0
    with duckdb.connect(str(platform.file)) as connection:
        connection.execute("create schema visualization")
        connection.execute("create table visualization.books as select record from landing.shop__books")
    return platform


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both platforms, made once; each test gets a copy."""

    asked = itertools.count()

    async def books(_request: web.Request) -> web.Response:
        edition = next(asked)
        return web.json_response([{"id": number, "edition": edition} for number in range(20)])

    place, api = tmp_path_factory.mktemp("made"), Api(books)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ours", "theirs"):
            set_up(place / name, api, patch)
    (place / "url").write_text(api.url)
    yield place
    api.close()


@pytest.fixture
def ours(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Our platform with all settings right; theirs is beside it."""
    shutil.copytree(made, tmp_path / "copy")
    platform = Platform(tmp_path / "copy" / "ours")
    monkeypatch.chdir(tmp_path)
    for name, value in platform.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHOP_URL", (made / "url").read_text())
    monkeypatch.setenv("ERASURE_KEY", KEY)
    return platform


def wrong(setting: str, platform: Platform, patch: pytest.MonkeyPatch) -> None:
    """Make one setting, or some, wrong."""
    theirs = Platform(platform.place.parent / "theirs").settings
    nowhere = platform.place / "nowhere"
    names = platform.settings.keys()
    changes: dict[str, dict[str, str | None]] = {
        "bucket missing": {"GROUNDWORK_BUCKET": None},
        "bucket empty text": {"GROUNDWORK_BUCKET": ""},
        "bucket empty": {"GROUNDWORK_BUCKET": nowhere.as_uri()},
        "bucket another": {"GROUNDWORK_BUCKET": theirs["GROUNDWORK_BUCKET"]},
        "bucket older": {"GROUNDWORK_BUCKET": _older(platform).as_uri()},
        "bucket renamed prefix": {"GROUNDWORK_BUCKET": f"{platform.settings['GROUNDWORK_BUCKET']}/shop"},
        "warehouse missing": {"GROUNDWORK_DUCKDB_PATH": None},
        "warehouse another": {"GROUNDWORK_DUCKDB_PATH": theirs["GROUNDWORK_DUCKDB_PATH"]},
        "warehouse without a login": {"GROUNDWORK_WAREHOUSE": "snowflake"},
        "catalog missing": {"GROUNDWORK_CATALOG": None},
        "catalog another": {"GROUNDWORK_CATALOG": str(_other_catalog(platform))},
        "home missing": {"GROUNDWORK_HOME": str(nowhere)},
        "home, bucket missing": {"GROUNDWORK_HOME": None, "GROUNDWORK_BUCKET": None},
        "bucket, warehouse missing": {"GROUNDWORK_BUCKET": None, "GROUNDWORK_DUCKDB_PATH": None},
        "all missing": {name: None for name in names if name != "GROUNDWORK_CATALOG"},
    }
    for name, value in changes[setting].items():
        if value is None:
            patch.delenv(name)
        else:
            patch.setenv(name, value)


WRONG = (
    *("bucket missing", "bucket empty text", "bucket empty", "bucket another", "bucket older"),
    *("bucket renamed prefix", "warehouse missing", "warehouse another", "warehouse without a login"),
    *("catalog missing", "catalog another", "home missing", "home, bucket missing"),
    *("bucket, warehouse missing", "all missing"),
)
HARMLESS = {
    ("warehouse missing", "replay"),
    ("warehouse missing", "replay of a source"),
    ("warehouse missing", "replay of a stream"),
    ("warehouse missing", "load"),
    *(("warehouse missing", name) for name in ("compact", "sweep")),
    *(("warehouse missing", name) for name in ("full-refresh", "full-refresh of a stream")),
    # A source that is known is continued; its next load is refused where it must be.
    *((setting, "extract") for setting in ("warehouse missing", "warehouse another", "bucket another")),
    *((setting, "extract") for setting in ("bucket older", "warehouse without a login")),
    ("bucket, warehouse missing", "extract"),
    ("all missing", "extract"),
    # Bucket, warehouse and catalog are named by settings of their own.
    *(("home missing", name) for name in COMMANDS),
}
"""What is no mistake: a new warehouse is filled or a new platform is begun, and what is served stays."""


def _older(platform: Platform) -> Path:
    """A copy of our bucket from before the newest batch."""
    place = platform.place / "older"
    shutil.copytree(platform.place / "objects", place)
    (place / "shop/manifests/0000000002.json").unlink()
    return place


def _other_catalog(platform: Platform) -> Path:
    place = platform.place / "other-catalog"
    place.mkdir()
    (place / "other.yml").write_text(CATALOG.format(source="other"))
    return place


@pytest.mark.parametrize("setting", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_setting_never_empties_what_is_served(
    command: str,
    setting: str,
    ours: Platform,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = Platform(ours.place.parent / "theirs")
    wrong(setting, ours, monkeypatch)
    before = [platform.served() for platform in (ours, theirs)]
    objects = [platform.objects() for platform in (ours, theirs)]
    older = sorted((ours.place / "older").rglob("*.parquet"))
    capsys.readouterr()
    status = main(COMMANDS[command])
    said = capsys.readouterr().err
    after = [platform.served() for platform in (ours, theirs)]
    if (setting, command) in HARMLESS:
        assert status == 0, said
    else:
        assert status == 1
        (line,) = [line for line in said.splitlines() if line.startswith(ERRORS)]
        assert any(name in line for name in ("GROUNDWORK_", "catalog")), line
    if not (setting == "home missing" and command.startswith("forget")):
        assert after == before
        for here, there in zip(objects, (ours.objects(), theirs.objects()), strict=True):
            assert here.keys() <= there.keys()
    assert set(older) <= set((ours.place / "older").rglob("*.parquet"))


def called(task: str) -> None:
    """What the flows do, without a server: the body of a task."""
    from tasks.extract import extract_source
    from tasks.load import load_source
    from tasks.replay import prepare_sources, replay_source
    from tasks.upkeep import compact_source, sweep_source

    bodies: dict[str, Callable[[], object]] = {
        "prepare": lambda: prepare_sources.fn(""),
        "replay": lambda: replay_source.fn("shop"),
        "load": lambda: load_source.fn("shop"),
        "full refresh": lambda: extract_source.fn("shop", full_refresh=True),
        "compact": lambda: compact_source.fn("shop"),
        "sweep": lambda: sweep_source.fn("shop", remove=True),
    }
    bodies[task]()


@pytest.mark.parametrize("setting", ["bucket empty", "bucket another", "bucket older", "warehouse another"])
@pytest.mark.parametrize("task", ["prepare", "replay", "load", "full refresh", "compact", "sweep"])
def test_a_task_with_a_wrong_setting_fails_and_changes_nothing(
    task: str, setting: str, ours: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(setting, ours, monkeypatch)
    theirs = Platform(ours.place.parent / "theirs")
    before = [platform.served() for platform in (ours, theirs)]
    with pytest.raises((WrongPlace, LedgerDisagrees), match="GROUNDWORK_BUCKET"):
        called(task)
    assert [platform.served() for platform in (ours, theirs)] == before


ERRORS = ("WrongPlace: ", "LedgerDisagrees: ", "CatalogError: ", "SettingMissing: ")


@pytest.mark.parametrize("command", ["replay", "load", "compact", "sweep", "full-refresh", "extract"])
def test_all_settings_right_and_the_command_works(command: str, ours: Platform) -> None:
    assert main(COMMANDS[command]) == 0
    assert ours.served()["visualization.books"] == 42


def test_a_replay_is_continued_by_its_id_only(ours: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = ours.served()
    manifest = ours.place / "objects" / "shop" / "manifests" / "0000000001.json"
    kept = manifest.read_bytes()
    manifest.write_bytes(b"{}")
    capsys.readouterr()
    assert main(["replay", "--landing-only"]) == 1
    told = capsys.readouterr()
    replay_id = told.out.partition(":")[0].removeprefix("replay ")
    assert f"to continue this one, add --resume {replay_id}" in told.err
    manifest.write_bytes(kept)
    nowhere = str(ours.place / "nowhere.duckdb")
    for words, message in [
        (["--resume", "nothing"], f"Unfinished are: {replay_id}"),
        (["shop", "--resume", replay_id], "continues a replay as it was begun"),
        (["--resume", replay_id, "--from", "1"], "continues a replay as it was begun"),
        (["--resume", replay_id, "--into", nowhere], f"{nowhere} is none"),
        (["--resume", replay_id, "--into", str(Platform(ours.place.parent / "theirs").file)], "is no replay"),
    ]:
        assert main(["replay", "--landing-only", *words]) == 1
        assert message in capsys.readouterr().err
    assert main(["replay", "--landing-only", "--resume", replay_id]) == 0
    assert "replay shop: 2 batches" in capsys.readouterr().out
    assert ours.served() == before
    assert main(["replay", "--landing-only", "--resume", replay_id]) == 1
    assert "is complete" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["bucket empty", "bucket another", "bucket older", "catalog another"])
def test_a_replay_is_not_continued_in_a_wrong_place(
    setting: str, ours: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = ours.place / "objects" / "shop" / "manifests" / "0000000001.json"
    kept = manifest.read_bytes()
    manifest.write_bytes(b"{}")
    assert main(["replay", "--landing-only"]) == 1
    manifest.write_bytes(kept)
    replay_id = capsys.readouterr().out.splitlines()[-1].partition(":")[0].removeprefix("replay ")
    before = ours.served()
    wrong(setting, ours, monkeypatch)
    assert main(["replay", "--landing-only", "--resume", replay_id]) == 1
    assert any(line.startswith(ERRORS) for line in capsys.readouterr().err.splitlines())
    assert ours.served() == before
