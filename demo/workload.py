"""People using the shop: what goes on being written while the platform reads.

Every operation is one transaction of plain SQL, chosen by chance from a seed. All tables are
written, in every way a table can change: insert, update, delete, a key that changes, a row that
moves to another partition, a long text that stays as it was, rows without a key.

``python -m demo.workload --url postgresql://… --rate 20 --seconds 60 --seed 1``; the address may be in
the environment variable SHOP_WRITER_URL instead, where it does not show in the list of processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

import pg8000.native

from demo.operations import OPERATIONS
from demo.service import Service

logger = logging.getLogger(__name__)

Row = list[Any]
DEADLOCK = "40P01"


def connect(url: str) -> pg8000.native.Connection:
    """Open a connection to `postgresql://user:password@host:port/database`."""
    parts = urlsplit(url)
    return pg8000.native.Connection(
        unquote(parts.username or ""),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        database=parts.path.lstrip("/"),
        password=unquote(parts.password or ""),
        timeout=60,
        application_name="workload",
        ssl_context=False,
    )


class Workload:
    """Writes to the shop, one operation after another.

    Args:
        url: the shop's database, as a role that may write (`shop`).
        seed: the same seed on the same data chooses the same operations and rows; keys made here are
            always new.
    """

    def __init__(self, url: str, *, seed: int = 1) -> None:
        self.connection = connect(url)
        self.random = random.Random(seed)  # nothing secret comes from it
        self.counts: Counter[str] = Counter()

    def run(self, operations: int) -> Counter[str]:
        """Do so many operations, as fast as they go; the answer counts them by name."""
        for _ in range(operations):
            self.step()
        return self.counts

    def run_for(
        self, *, rate: float, seconds: float | None = None, stop: threading.Event | None = None
    ) -> Counter[str]:
        """Do `rate` operations per second until the time is over or `stop` is set."""
        stop = stop or threading.Event()
        began = time.monotonic()
        due = began
        while not stop.wait(max(0.0, due - time.monotonic())):
            if seconds is not None and time.monotonic() - began >= seconds:
                break
            self.step()
            due = max(due + 1 / rate, time.monotonic() - 1)  # after a pause, do not catch up for long
        return self.counts

    def step(self) -> str:
        """Do one operation that finds something to do; the answer is its name."""
        names, weights = list(OPERATIONS), [weight for weight, _ in OPERATIONS.values()]
        while True:
            name = self.random.choices(names, weights)[0]
            if self.do(name):
                return name

    def do(self, name: str) -> bool:
        """Do one operation by name, as one transaction; false when it found nothing to do."""
        operation = OPERATIONS[name][1]
        self.connection.run("begin")
        try:
            done = operation(self)
        except pg8000.native.DatabaseError as error:
            self.connection.run("rollback")
            if error.args[0].get("C") == DEADLOCK:
                return False  # another workload was in the way
            raise
        except BaseException:
            self.connection.run("rollback")
            raise
        self.connection.run("commit" if done else "rollback")
        if done:
            self.counts[name] += 1
        return done

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what the operations are made of

    def sql(self, statement: str, **values: Any) -> list[Row]:
        """Run one statement in the open transaction."""
        return list(self.connection.run(statement, **values) or [])

    def any_of(self, table: str, columns: str = "id", where: str = "true") -> Row | None:
        """Some row of a table with an `id`, locked; none if there is no such row free."""
        highest = self.sql(f"select max(id) from {table}")[0][0] or 0
        start = self.random.randint(0, highest)
        query = f"select {columns} from {table} where {where} and id {{}} :start order by id limit 1"
        for comparison in (">=", "<"):
            rows = self.sql(query.format(comparison) + " for update skip locked", start=start)
            if rows:
                return rows[0]
        return None

    def newest_of(self, where: str) -> Row | None:
        """One of the newest orders in a state, locked."""
        newest = self.sql(f"select id from orders where {where} order by id desc limit 20")
        self.random.shuffle(newest)
        # one row is locked, not all twenty: another workload finds something to do as well
        one = f"select id from orders where id = :id and {where} for update skip locked"
        return next((rows[0] for (order,) in newest if (rows := self.sql(one, id=order))), None)


@contextmanager
def running(url: str, *, rate: float = 50, seed: int = 1) -> Iterator[Workload]:
    """A workload in a thread, for as long as the block; an error in it is raised at the end."""
    stop = threading.Event()
    errors: list[BaseException] = []
    load = Workload(url, seed=seed)

    def work() -> None:
        try:
            load.run_for(rate=rate, stop=stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="workload")
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()
        load.close()
    if errors:
        raise errors[0]


class WorkloadProcess(Service):
    """The workload as a service, for as long as the platform is served.

    Args:
        directory: holds the log.
        url: the shop's database, as the role `shop`.
        rate: operations per second.
    """

    name: ClassVar[str] = "workload"
    port_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, directory: Path, url: str, *, rate: float = 5) -> None:
        super().__init__(directory)
        self.url = url
        self.rate = rate

    def command(self) -> list[str]:
        """This module, as a program; its seed is the time, for it meets other data at each start."""
        options = ["--rate", str(self.rate), "--seed", str(time.time_ns())]
        return [sys.executable, "-m", "demo.workload", *options]

    def program_environment(self) -> dict[str, str]:
        """The address, which holds a password."""
        return {"SHOP_WRITER_URL": self.url}

    def is_ready(self) -> bool:
        """Whether it has connected."""
        return "began" in self.log_tail(1)


def main() -> None:
    """Write until the time is over, or for ever."""
    parser = argparse.ArgumentParser(prog="python -m demo.workload", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("SHOP_WRITER_URL"))
    parser.add_argument("--rate", type=float, default=20, help="operations per second")
    parser.add_argument("--seconds", type=float, help="for ever if not given")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.url:
        parser.error("say which database with --url, or set SHOP_WRITER_URL")
    with Workload(options.url, seed=options.seed) as load:
        print(f"began rate={options.rate:g}", flush=True)
        counts = load.run_for(rate=options.rate, seconds=options.seconds)
    print("done " + " ".join(f"{name}={count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
