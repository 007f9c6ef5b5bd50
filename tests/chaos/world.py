"""All parts together: a source under load, a bucket, a warehouse, the network between, and what strikes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from demo.postgres import Postgres
from demo.s3 import S3Server
from groundwork.bucket import Bucket, open_bucket
from groundwork.manifest import Manifest, since
from groundwork.warehouses.duckdb import open_duckdb
from tests.capture import PASSWORD, ROLE, Database
from tests.chaos import record
from tests.chaos.network import Link, Network
from tests.chaos.plan import Plan
from tests.chaos.runs import Keeper, Runner, Tally
from tests.chaos.s3_link import S3Link, Stored
from tests.chaos.staging import Base, compare_rows
from tests.chaos.strikes import Striker, Struck
from tests.chaos.verdict import Verdict, compare_events
from tests.chaos.workload import DATABASE, RECORD, Streams, Workload, install

EXTRACTS_OF_KILLS = 0.6
ATTEMPTS = 40
"""Runs after the last strike within which all must have arrived."""


@dataclass
class Proof:
    """What was done, what became of it, and the verdict."""

    plan: Plan
    verdict: Verdict
    struck: Struck
    runs: dict[str, Tally]
    failures: list[str]
    """What must not happen, whatever is struck: tracebacks, losses, hanging runs, things left behind."""
    rows: int = 0
    """Rows that the application changed, as its functions counted them."""
    transactions: int = 0
    rolled_back: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    schema_changes: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    own_write_came_back: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Rows changed per second of the workload, restarts and recoveries included."""
        return self.rows / self.seconds["workload"]

    @property
    def killed(self) -> int:
        """Processes that died of SIGKILL."""
        return sum(tally.killed for tally in self.runs.values())

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, doubled or otherwise wrong."""
        return self.verdict.holds and not self.failures

    @property
    def complete(self) -> bool:
        """Whether all that was planned has struck."""
        struck, plan = self.struck, self.plan
        return (
            self.killed >= plan.kills
            and struck.restarts.total() >= plan.restarts
            and struck.cuts.total() >= plan.cuts
            and struck.faults.total() >= plan.faults
        )


def prove(plan: Plan, directory: Path, tell: Any = print) -> Proof:
    """Do all that is planned, and judge it.

    Args:
        plan: what to do.
        directory: an empty one; everything of the run is in it.
        tell: is given a line now and then.
    """
    with (
        Postgres(directory / "postgres") as postgres,
        S3Server(directory / "s3") as s3,
        Network() as network,
        contextlib.ExitStack() as closing,
    ):
        world = World(plan, directory, postgres, s3, network, closing)
        world.strike(tell)
        world.settle()
        tell(f"settled: {len(world.manifests)} batches; now the verdict")
        return world.judge(tell)


class World:
    """The parts of one run of the proof."""

    def __init__(
        self, plan: Plan, directory: Path, postgres: Postgres, s3: S3Server, network: Network,
        closing: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        self.plan, self.directory, self.postgres, self.s3 = plan, directory, postgres, s3
        install(postgres)
        self.streams, self.stored = Streams(), Stored()
        self.file = directory / "warehouse.duckdb"
        wire = Link(network, "extract to PostgreSQL", lambda: postgres.port)
        self.wire = wire
        self.stores = [
            S3Link(network, f"{what} to S3", lambda: s3.port, self.stored) for what in ("extract", "load")
        ]
        url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{wire.port}/{DATABASE}"
        self.runners: dict[str, Runner] = {}
        for what, link in zip(("extract", "load"), self.stores, strict=True):
            environment = s3.environment() | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{link.port}"}
            order = {
                "url": url, "bucket": f"s3://{s3.bucket}/chaos", "file": str(self.file),
                "prelude": plan.preludes.get(what, ""),
            }  # fmt: skip
            self.runners[what] = Runner(what, directory, environment, order)
            closing.callback(self.runners[what].close)
        self.failures: list[str] = []
        self.seconds: dict[str, float] = {}

    def strike(self, tell: Any) -> None:
        """The workload, the runs, and the strikes, until all is done or patience ends."""
        plan, over, began = self.plan, threading.Event(), time.monotonic()

        def clock() -> float:
            return time.monotonic() - began

        def due(kills: int) -> float:
            return kills * min(1.0, clock() / plan.seconds)

        extracts = round(plan.kills * EXTRACTS_OF_KILLS)
        goals = {"extract": extracts, "load": plan.kills - extracts}
        keepers = [
            Keeper(runner, lambda: self.streams.now, partial(due, goals[what]), f"{plan.seed} {what}", over)
            for what, runner in self.runners.items()
        ]
        self.striker = Striker(plan, self.postgres, self.s3, self.wire, self.stores, clock, over)
        threads = [*keepers, self.striker]
        with Workload(self.postgres, plan.seed, plan.rate, self.streams) as self.workload:
            for thread in threads:
                thread.start()
            try:
                self._watch(keepers, clock, tell)
            finally:
                over.set()
                for thread in threads:
                    thread.join(180)
        self.seconds["strikes"] = clock()
        for thread in threads:
            if thread.error:
                raise thread.error
            if thread.is_alive():
                raise RuntimeError(f"{thread.name} did not end")

    def _watch(self, keepers: list[Keeper], clock: Callable[[], float], tell: Any) -> None:
        """Wait until all that is planned has struck, or patience ends."""
        plan, told = self.plan, 0.0
        while clock() < plan.seconds + plan.patience and all(keeper.is_alive() for keeper in keepers):
            killed = sum(keeper.runner.tally.killed for keeper in keepers) >= plan.kills
            if clock() >= plan.seconds and killed and not self.striker.is_alive():
                return
            if self.striker.error:
                return
            if clock() - told >= 15:
                told = clock()
                tell(self._line(clock()))
            time.sleep(0.1)

    def _line(self, seconds: float) -> str:
        struck, runs = self.striker.struck, {w: r.tally for w, r in self.runners.items()}
        return (
            f"{seconds:5.0f} s: {self.workload.rows} rows changed, "
            + ", ".join(f"{t.finished} {w} runs done and {t.killed} killed" for w, t in runs.items())
            + f", {struck.told()}, {sum(t.refused.total() for t in runs.values())} refused"
        )

    def settle(self) -> None:
        """Extract and load in peace, until there is nothing new."""
        began = time.monotonic()
        for what, runner in self.runners.items():
            for _ in range(ATTEMPTS):
                before = runner.tally.batches
                if runner.once(self.streams.now) == "finished" and runner.tally.batches == before:
                    break
                if len(runner.tally.failures) > 20:
                    break
            else:
                self.failures.append(f"{what} did not come to rest in {ATTEMPTS} runs")
        self.seconds["settling"] = time.monotonic() - began

    @property
    def bucket(self) -> Bucket:
        """The bucket by a way that nothing disturbs."""
        return open_bucket(f"s3://{self.s3.bucket}/chaos", self.s3.client())

    @property
    def manifests(self) -> list[Manifest]:
        """All there are."""
        return list(since(self.bucket, "shop", 0))

    def judge(self, tell: Any) -> Proof:
        """Compare everything."""
        began, verdict, manifests = time.monotonic(), Verdict(), self.manifests
        database = Database(self.postgres, DATABASE)
        now = {name: (table, list(key)) for name, (table, key) in self.streams.now.items()}
        ever = {name: (table, list(key)) for name, (table, key) in self.streams.ever.items()}
        with open_duckdb(self.file, who="chaos") as warehouse:
            self._ledger(warehouse, manifests)
            compare_events(record.transactions(self.postgres), warehouse, manifests, ever, verdict)
            self.seconds["events"] = time.monotonic() - began
            tell(f"{verdict.events} events compared in {self.seconds['events']:.0f} s")
            began = time.monotonic()
            try:
                compare_rows(database, warehouse, now, verdict)
            except (AssertionError, KeyError, TypeError) as error:
                verdict.different += 1
                verdict.tell(f"what landed cannot be applied: {type(error).__name__} {error}")
        self.seconds["rows"] = time.monotonic() - began
        if self.plan.dbt:
            began = time.monotonic()
            base = Base(self.directory / "staging", self.file, now)
            base.build()
            base.compare(database, verdict)
            self.seconds["dbt"] = time.monotonic() - began
        self._objects(verdict)
        self._nothing_left(manifests)
        return self._proof(verdict, len(manifests))

    def _ledger(self, warehouse: Any, manifests: list[Manifest]) -> None:
        ledger = warehouse.query("select batch_id, rows from landing._batches order by batch_id")
        if ledger != [(m.name, m.rows) for m in manifests]:
            self.failures.append(f"the ledger holds {len(ledger)} batches, the bucket {len(manifests)}")

    def _objects(self, verdict: Verdict) -> None:
        """What the S3 server said it had stored is there, letter for letter."""
        began, client = time.monotonic(), self.s3.client()
        for path, digest in self.stored.digests.items():
            bucket, _, key = path.removeprefix("/").partition("/")
            try:
                body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                body = b""
            if sha256(body).hexdigest() != digest:
                verdict.forgotten += 1
                verdict.tell(f"the S3 server lost {path.partition('chaos/')[2]}")
        self.seconds["objects"] = time.monotonic() - began

    def _nothing_left(self, manifests: list[Manifest]) -> None:
        """No slot but the source's own, and the record's."""
        slots = {name for (name,) in self.postgres.sql("select slot_name from pg_replication_slots")}
        own = {manifests[-1].cursors["_log"]["slot"]} if manifests else set()
        if slots != own | {RECORD}:
            self.failures.append(f"slots left behind: {sorted(slots - own - {RECORD})}")

    def _proof(self, verdict: Verdict, batches: int) -> Proof:
        runs, work = {what: runner.tally for what, runner in self.runners.items()}, self.workload
        self.failures += [failure for tally in runs.values() for failure in tally.failures]
        proof = Proof(self.plan, verdict, self.striker.struck, runs, self.failures)
        proof.rows, proof.transactions, proof.rolled_back = work.rows, work.transactions, work.rolled_back
        proof.refusals, proof.schema_changes = work.refusals, work.schema_changes
        proof.batches, proof.seconds = batches, self.seconds | {"workload": work.seconds}
        proof.own_write_came_back = sum(link.own_write_came_back for link in self.stores)
        for link in self.stores:
            proof.requests.update(link.requests)
        proof.versions["PostgreSQL"] = self.postgres.sql("show server_version")[0][0].split()[0]
        return proof


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """A directory that is gone afterwards."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)
