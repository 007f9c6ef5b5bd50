"""Commands whose clock is set back and ahead by a day while they run: nothing is lost, doubled or skipped.

Real processes under libfaketime. A history is a random order of extract, load, replay and publish; the source
changes between them. `GROUNDWORK_TEST_CLOCK_STEPS` is the number of histories.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from aiohttp import web
from libfaketime import get_reload_information

from groundwork import digests
from groundwork.alerts.silence import last_look, silence
from groundwork.bucket import open_bucket
from groundwork.catalog import load_catalog
from groundwork.ledger import newest_batches
from groundwork.manifest import latest_id, listed, now
from groundwork.replay import replay
from groundwork.warehouses.duckdb import open_duckdb
from tests.commands import PROJECT
from tests.integration.fault_api import Api

HISTORIES = int(os.environ.get("GROUNDWORK_TEST_CLOCK_STEPS", "2"))
STEPS = ("+0", "+1d", "-1d")
CATALOG = """
source: shop
kind: rest
priority: 1
questions: ["Is it all there?"]
requested_by: [tests]
owner: {name: Tests, email: tests@example.com}
format: JSON
history: all
update_every: 1 hour
connection: {base_url: {variable: shop-url}, requests_per_second: 1000}
streams:
  books:
    endpoint: /books
    replication: full_table
    paging: {kind: single_page}
    primary_key: [id]
    columns:
      id: {type: integer}
  sales:
    endpoint: /sales
    replication: incremental
    cursor: {field: id, parameter: after}
    paging: {kind: single_page}
    primary_key: [id]
    columns:
      id: {type: integer}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 60 * HISTORIES)]


@dataclass
class Shop:
    """An API whose books change and whose sales grow."""

    edition: int = 0
    sales: int = 0
    api: Api = field(init=False)

    def __post_init__(self) -> None:
        self.api = Api(self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/books":
            return web.json_response([{"id": number, "edition": self.edition} for number in range(20)])
        after = int(request.query.get("after", 0))
        return web.json_response([{"id": number} for number in range(max(after, 1), self.sales + 1)])


@dataclass
class World:
    """A platform and its clock."""

    place: Path
    shop: Shop
    dice: random.Random

    @property
    def environment(self) -> dict[str, str]:
        _, faked = get_reload_information()
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("FAKETIME")},
            **faked,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self.place / "clock"),
            "GROUNDWORK_HOME": str(self.place / "home"),
            "GROUNDWORK_BUCKET": (self.place / "objects").as_uri(),
            "GROUNDWORK_DUCKDB_PATH": str(self.file),
            "GROUNDWORK_CATALOG": str(self.place / "catalog"),
            "SHOP_URL": self.shop.api.url,
        }

    @property
    def file(self) -> Path:
        return self.place / "warehouse.duckdb"

    def set_clock(self, step: str) -> None:
        fresh = self.place / "clock.new"
        fresh.write_text(step + "\n")
        fresh.replace(self.place / "clock")

    def run(self, *words: str, stepping: bool = True) -> str:
        """Run a command; its clock is set at random moments while it runs."""
        running = subprocess.Popen(
            [sys.executable, "-m", "groundwork", *words],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        waited = 0.0
        while True:
            try:
                told, _ = running.communicate(timeout=self.dice.random() * 0.4)
                break
            except subprocess.TimeoutExpired:
                waited += 1
                assert waited < 1000, "the command does not end"
            if stepping:
                self.set_clock(self.dice.choice(STEPS))
        assert running.returncode == 0, told
        return told


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.api.close()


def test_a_command_sees_the_clock_that_is_set(tmp_path: Path, shop: Shop) -> None:
    world = World(tmp_path, shop, random.Random(0))
    world.set_clock("+1d")
    told = subprocess.run(
        [sys.executable, "-c", "import time, datetime as d; print(d.datetime.now(d.UTC).isoformat())"],
        env=world.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    ahead = now().fromisoformat(told.strip()) - now()
    assert timedelta(hours=23) < ahead < timedelta(hours=25)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_steps_of_the_clock_change_nothing_that_is_served(seed: int, tmp_path: Path, shop: Shop) -> None:
    world = World(tmp_path, shop, random.Random(20261129 + seed))
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.yml").write_text(CATALOG)
    world.set_clock("+0")
    world.run("extract", "shop", stepping=False)
    world.run("load", "shop", stepping=False)
    with duckdb.connect(str(world.file)) as connection:
        connection.execute("create schema visualization")
        connection.execute("create view visualization.books as select record from landing.shop__books")
    for _ in range(3):
        shop.edition += 1
        shop.sales += world.dice.randrange(4)
        world.run("extract", "shop")
        commands = [
            ["load", "shop"],
            ["replay", "--landing-only"],
            ["replay", "shop", "--stream", "sales", "--landing-only"],
            ["publish", str(tmp_path / "readers.duckdb")],
        ]
        for command in world.dice.sample(commands, 2):
            world.run(*command)
    shop.edition += 1
    world.set_clock("+0")  # one cycle with a clock that is right
    world.run("extract", "shop", stepping=False)
    world.run("load", "shop", stepping=False)
    world.run("publish", str(tmp_path / "readers.duckdb"), stepping=False)
    _holds(world)


def _holds(world: World) -> None:
    """Whether the warehouse has what the source said, and whether it is known that we looked just now."""
    bucket, entry = (
        open_bucket((world.place / "objects").as_uri()),
        load_catalog(world.place / "catalog")["shop"],
    )
    replay(entry, bucket, lambda: open_duckdb(world.place / "again.duckdb", who="a test"))
    with (
        open_duckdb(world.file, who="a test") as here,
        open_duckdb(world.place / "again.duckdb", who="a test") as again,
    ):
        taken = [digests.take(one, "w", layers=["landing"]) for one in (here, again)]
        assert digests.differing(*taken) == {}
        assert here.loaded("shop") == latest_id(bucket, "shop")
        sold = here.query(
            "select distinct cast(record::json ->> 'id' as int) from landing.shop__sales order by 1"
        )
        assert [number for (number,) in sold] == list(range(1, world.shop.sales + 1))
        newest = newest_batches(here)["shop"]
    stored = [batch.stored_at for batch in listed(bucket, "shop", list(range(1, len(newest) + 1)))]
    assert len(newest) == len(stored) == latest_id(bucket, "shop")
    at = now().replace(tzinfo=None)
    looked = last_look(newest, at)
    assert silence(entry, looked, at) == ""
    assert "last looked at" in silence(entry, looked, at + timedelta(hours=3)), "it is missed as ever"
    with duckdb.connect(str(world.place / "readers.duckdb"), read_only=True) as readers:
        ((editions,),) = readers.execute(
            "select max(cast(record::json ->> 'edition' as int)) from visualization.books"
        ).fetchall()
    assert editions == world.shop.edition
