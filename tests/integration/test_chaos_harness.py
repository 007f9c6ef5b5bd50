"""The proof can fail: when a rule of the engine is broken on purpose, the verdict says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.places import PLACES, found
from tests.chaos.plan import Plan
from tests.chaos.record import Expected
from tests.chaos.verdict import Verdict, compare_stream
from tests.chaos.world import Proof, prove

SEED = 20261122

ACKNOWLEDGES_BEFORE_THE_MANIFEST = """
import os, random, signal, time
from groundwork import manifest
from groundwork.sources import slot, wire
streams, start, commit = [], wire.Connection.start_stream, manifest.commit
def started(self, *arguments):
    start(self, *arguments)
    streams.append(self)
def early(bucket, committed):
    if streams:
        streams[-1].acknowledge(slot.lsn_number(committed.cursors["_log"]["lsn"]))
        time.sleep(0.2)
        if random.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
    commit(bucket, committed)
wire.Connection.start_stream, manifest.commit = started, early
slot.check = lambda *_, **__: None  # else the engine itself sees that the slot is ahead of the manifest
"""

DROPS_AN_OBJECT = """
from groundwork import manifest
commit = manifest.commit
def drops(bucket, committed):
    if committed.batch_id % 2 and len(committed.objects) > 1:
        committed = committed.model_copy(update={"objects": committed.objects[:-1]})
    commit(bucket, committed)
manifest.commit = drops
"""

FORGETS_WHAT_IT_LOADED = """
import os, pathlib, signal
from groundwork.warehouses import duckdb
class Forgetful:
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        return getattr(self.connection, name)
    def execute(self, sql, *arguments):
        return self.connection if sql.startswith("delete") else self.connection.execute(sql, *arguments)
made, enter = duckdb.DuckDB.__init__, duckdb.DuckDB._enter
def forgetful(self, connection, *arguments):
    made(self, Forgetful(connection), *arguments)
def early(self, batches, *arguments):
    self.connection.execute("commit")
    first = pathlib.Path(os.environ["TMPDIR"]) / batches[0].name
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    self.connection.execute("begin")
    enter(self, batches, *arguments)
duckdb.DuckDB.__init__, duckdb.DuckDB._enter = forgetful, early
"""


def proof_with(directory: Path, **preludes: str) -> Proof:
    plan = Plan(SEED, 0, 0, 0, 0, seconds=10, patience=1, rate=800, dbt=False, preludes=preludes)
    return prove(plan, directory)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def test_an_acknowledgement_before_the_manifest_is_caught_as_lost(directory: Path) -> None:
    proof = proof_with(directory, extract=ACKNOWLEDGES_BEFORE_THE_MANIFEST)
    assert proof.verdict.lost > 0 and not proof.holds, proof.verdict
    assert any("is lost" in example for example in proof.verdict.examples)


def test_an_object_that_its_manifest_does_not_name_is_caught_as_lost(directory: Path) -> None:
    proof = proof_with(directory, extract=DROPS_AN_OBJECT)
    assert proof.verdict.lost > 0 and not proof.holds, proof.verdict


def test_a_load_that_forgets_what_it_loaded_is_caught_as_duplicate(directory: Path) -> None:
    proof = proof_with(directory, load=FORGETS_WHAT_IT_LOADED)
    assert proof.verdict.duplicate > 0 and not proof.holds, proof.verdict
    assert proof.verdict.lost == 0


def row(place: int, *, operation: str = "insert", **values: str | None) -> Expected:
    return Expected(f"{place:016x}/00000002", operation, values, frozenset(), 0)


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        ([row(1, t="a"), row(2, t=None, was_there_once=None)], ""),
        ([row(1, t="a")], "lost"),
        ([row(1, t="a"), row(2, t=None), row(2, t=None)], "duplicate"),
        ([row(1, t="a"), row(2, t="")], "changed"),
        ([row(1, t="a", operation="update"), row(2, t=None)], "changed"),
        ([row(1, t="a"), row(2, t=None, never="x")], "changed"),
        ([row(1), row(2, t=None)], "changed"),
        ([row(1, t="a"), row(2, t=None), row(3, t="a")], "invented"),
    ],
)
def test_one_wrong_row_is_seen(there: list[Expected], wrong: str) -> None:
    verdict = Verdict()
    compare_stream("items", [(row(1, t="a"), True), (row(2, t=None), True)], there, verdict)
    counts = {name: getattr(verdict, name) for name in ("lost", "duplicate", "changed", "invented")}
    assert counts == dict.fromkeys(counts, 0) | ({wrong: 1} if wrong else {})
    assert verdict.holds == (not wrong)


@pytest.mark.parametrize("what", PLACES)
def test_every_place_that_is_aimed_at_exists(what: str) -> None:
    for address in PLACES[what].values():
        owner, name = found(address)
        assert callable(getattr(owner, name)), address
