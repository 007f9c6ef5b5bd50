"""The application's writers: a few connections that call the functions of workload.sql, at a given rate."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pg8000.native

from demo.postgres import Postgres
from tests.capture import PASSWORD, ROLE

DATABASE = "chaos"
RECORD = "chaos_record"
"""The slot that keeps the source's history for the judge; made before the first row."""

WRITERS = 3
STEPS = ["mix"] * 8 + ["moves"] * 4 + ["churn"] * 3 + ["clear"] * 2 + ["part"] * 3

TABLES: dict[str, tuple[str, list[str], list[str]]] = {
    "orders": ("public.orders", ["id"], ["id", "customer", "amount", "placed", "note", "doubled"]),
    "lines": ("public.lines", ["order_id", "line"], ["order_id", "line", "what", "price"]),
    "moments": ("public.moments", [], ["at", "kind", "value"]),
    "docs": ("public.docs", ["id"], ["id", "title", "body", "extra"]),
    "papers": ("public.papers", ["id"], ["id", "title", "body", "extra"]),
    "accounts": ("public.accounts", ["id"], ["id", "owner", "balance", "statement"]),
    "churned": ("public.churned", ["id"], ["id", "n", "t"]),
    "shapes": ("public.shapes", ["id"], ["id", "fixed"]),
    "parts": ("public.parts", ["id", "region"], ["id", "region", "t"]),
    "cleared": ("public.cleared", ["id"], ["id", "t"]),
    "cleared_too": ("public.cleared_too", ["id"], ["id", "parent", "t"]),
    "reborn": ("public.reborn", ["id"], ["id", "t"]),
    "odd": ('Odd Schema.Größe "x" of $it', ["Key of It"], ["Key of It", "select", "näme, with = signs"]),
}
"""Stream → table, key, and the columns that it never loses."""

BROKEN = (pg8000.native.InterfaceError, OSError, struct.error)


def quoted(table: str) -> str:
    """``schema.table`` as SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def install(server: Postgres) -> None:
    """The application's tables, the publication, and the slot of the record: before the first row."""
    server.create_database(DATABASE)
    server.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
    server.sql(Path(__file__).with_name("workload.sql").read_text(encoding="utf-8"), database=DATABASE)
    tables = ", ".join(quoted(table) for table, _, _ in TABLES.values())
    options = "publish_via_partition_root, publish_generated_columns = stored"
    server.sql(
        f"create publication groundwork for table {tables} with ({options});"
        f'grant usage on schema "Odd Schema" to {ROLE};'
        f'grant select on all tables in schema public, "Odd Schema" to {ROLE}',
        database=DATABASE,
    )
    server.sql(f"select pg_create_logical_replication_slot('{RECORD}', 'pgoutput')", database=DATABASE)


class Workload:
    """Writers and a schema changer in threads; `rows` and `refusals` may be read at any time."""

    def __init__(self, server: Postgres, seed: int, rate: int, streams: Streams) -> None:
        self.server, self.seed, self.rate, self.streams = server, seed, rate, streams
        self.rows, self.transactions, self.rolled_back = 0, 0, 0
        self.refusals: Counter[str] = Counter()
        self.schema_changes: Counter[str] = Counter()
        self.seconds = 0.0
        self._over, self._count = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(w,)) for w in range(WRITERS)]
        self._threads.append(threading.Thread(target=self._reshape))

    def __enter__(self) -> Workload:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        self.seconds = time.monotonic() - self._began

    def _write(self, worker: int) -> None:
        chance = random.Random(f"{self.seed} writer {worker}")
        connection: Any = None
        debt, last = 0.0, time.monotonic()
        while not self._over.is_set():
            try:
                connection = connection or self._connected()
                changed = self._transaction(connection, chance, worker)
            except (*BROKEN, pg8000.native.DatabaseError) as error:
                connection = self._again(connection, error)
                continue
            now = time.monotonic()
            # What a restart cost is made up for afterwards, up to ten seconds' worth.
            debt = max(debt + changed - (now - last) * self.rate / WRITERS, -10.0 * self.rate / WRITERS)
            last = now
            if debt > 0:
                self._over.wait(debt * WRITERS / self.rate)
        if connection:
            connection.close()

    def _transaction(self, connection: Any, chance: random.Random, worker: int) -> int:
        step, seed = chance.choice(STEPS), chance.getrandbits(48)
        call = f"select chaos.{step}({worker}, {seed})"
        fate = chance.random()
        if fate < 0.05:
            connection.run("begin")
            connection.run(call)
            connection.run("rollback")
            with self._count:
                self.rolled_back += 1
            return 0
        if fate < 0.2:  # several steps in one transaction
            connection.run("begin")
            changed = connection.run(call)[0][0]
            changed += connection.run(f"select chaos.mix({worker}, {seed + 1})")[0][0]
            connection.run("commit")
        else:
            changed = connection.run(call)[0][0]
        with self._count:
            self.rows += changed
            self.transactions += 1
        return int(changed)

    def _reshape(self) -> None:
        """Change tables now and then, one thing at a time."""
        chance = random.Random(f"{self.seed} schema")
        connection: Any = None
        while not self._over.wait(chance.uniform(2.0, 6.0)):
            try:
                connection = connection or self._connected()
                self.schema_changes[self.streams.reshape(connection, chance)] += 1
            except (*BROKEN, pg8000.native.DatabaseError) as error:
                connection = self._again(connection, error)
        if connection:
            connection.close()

    def _connected(self) -> Any:
        connection = pg8000.native.Connection(
            "postgres", host="127.0.0.1", port=self.server.port, database=DATABASE,
            password=self.server.password, timeout=30, ssl_context=False,
        )  # fmt: skip
        connection.run("set lock_timeout = '3s'")
        return connection

    def _again(self, connection: Any, error: Exception) -> Any:
        """Count what went wrong; the connection if it can still be used, rolled back."""
        detail = error.args[0] if error.args else ""
        told = detail.get("M", "") if isinstance(detail, dict) else type(error).__name__
        with self._count:
            self.refusals[told.split(" for process")[0]] += 1
        try:
            connection.run("rollback")
        except (*BROKEN, pg8000.native.DatabaseError, AttributeError):
            self._over.wait(0.1)
            return None
        return connection


class Streams:
    """The catalog as it changes: tables that come later, and one that goes again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._there = {name: (table, key) for name, (table, key, _) in TABLES.items()}
        self.ever = dict(self._there)
        self._numbers = 0
        self._parts = 3
        self._columns: list[str] = []

    @property
    def now(self) -> dict[str, tuple[str, list[str]]]:
        with self._guard:
            return dict(self._there)

    def reshape(self, connection: Any, chance: random.Random) -> str:
        """One change of the tables; what it was."""
        kinds = ["add a column", "add a column with a default", "add and fill a column", "drop a column"]
        kinds += ["rename a column", "change a type", "change a type", "a new table", "a table goes"]
        kinds += ["drop and recreate", "a partition comes", "a partition goes"]
        kind = chance.choice(kinds)
        late = [name for name in self.now if name.startswith("late")]
        if kind == "a new table" and len(late) < 3:
            return self._comes(connection)
        if kind == "a table goes" and late:
            return self._goes(connection, late[0])
        if kind == "drop and recreate":
            connection.run(f"select chaos.rebirth({chance.getrandbits(32)})")
            return kind
        if kind == "a partition comes" and self._parts < 6:
            connection.run(f"select chaos.partition_comes({self._parts})")
            self._parts += 1
            return kind
        if kind == "a partition goes" and self._parts > 3:
            connection.run(f"select chaos.partition_goes({self._parts - 1})")
            self._parts -= 1
            return kind
        return self._column(connection, chance, kind)

    def _column(self, connection: Any, chance: random.Random, kind: str) -> str:
        found = connection.run(
            "select attname from pg_attribute where attrelid = 'shapes'::regclass and attnum > 0"
            " and not attisdropped and attname like 'c_%' order by 1"
        )
        there = [name for (name,) in found]
        free = [name for name in (f"c_{i}" for i in range(6)) if name not in there]
        if kind == "drop a column" and there:
            connection.run(f"alter table shapes drop column {chance.choice(there)}")
        elif kind == "rename a column" and there and free:
            connection.run(
                f"alter table shapes rename column {chance.choice(there)} to {chance.choice(free)}"
            )
        elif kind == "add a column with a default" and free:
            connection.run(f"alter table shapes add column {chance.choice(free)} int default 7")
        elif kind == "add and fill a column" and free:
            name = chance.choice(free)
            connection.run("begin")
            connection.run(f"alter table shapes add column {name} text")
            connection.run(f"update shapes set {name} = 'filled ' || id where id % 3 = 0")
            connection.run("commit")
        elif kind == "add a column" and free:
            connection.run(f"alter table shapes add column {chance.choice(free)} text")
        else:
            kind = "change a type"
            wanted = chance.choice(["int", "bigint", "text", "numeric(12,2)"])
            connection.run(
                f"alter table shapes alter column v1 type {wanted} using v1::text::numeric::{wanted}"
            )
            connection.run("update shapes set v1 = 5 where id % 7 = 0")
        return kind

    def _comes(self, connection: Any) -> str:
        self._numbers += 1
        name = f"late_{self._numbers}"
        for statement in (
            "begin",
            f"create table {name} (id bigint primary key, t text)",
            f"insert into {name} select i, 'before' from generate_series(1, 200) i",
            f"grant select on {name} to {ROLE}",
            f"alter publication groundwork add table {name}",
            f"insert into {name} select i, 'published' from generate_series(201, 250) i",
            "commit",
        ):
            connection.run(statement)
        with self._guard:
            self._there[name] = self.ever[name] = (f"public.{name}", ["id"])
        connection.run(f"update {name} set t = 'later' where id % 2 = 0")
        return "a new table"

    def _goes(self, connection: Any, name: str) -> str:
        connection.run(f"delete from {name} where id % 5 = 0")
        with self._guard:
            del self._there[name]
        connection.run(f"drop table {name}")
        return "a table goes"
