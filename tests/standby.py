"""A standby of a test's server, and what it takes to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.postgres import Postgres
from demo.service import LOOPBACK
from tests.conditions import until

PATIENCE_SECONDS = 60.0


class Standby(Postgres):
    """A hot standby that follows another server by streaming, through a slot of its own."""

    def __init__(self, directory: Path, primary: Postgres, *, settings: dict[str, str] | None = None) -> None:
        own = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
        super().__init__(
            directory, durable=False, settings={**primary.settings, **own, **(settings or {})},
            programs=primary.programs,
        )  # fmt: skip
        self.primary = primary
        self.slot = f"standby_{self.directory.name}".replace("-", "_")

    @property
    def password(self) -> str:
        """It has the roles of its primary."""
        return self.primary.password

    def prepare(self) -> None:
        """Copy the primary, at the first start."""
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(mode=0o700)
        self.own(self.data)
        address = f"host={LOOPBACK} port={self.primary.port} user=postgres password={self.password}"
        self.run_program(
            "pg_basebackup", f"--dbname={address} dbname=postgres", f"--pgdata={self.data}",
            "--checkpoint=fast", "--write-recovery-conf", "--create-slot", f"--slot={self.slot}", "--no-sync",
        )  # fmt: skip
        # The program may be newer than the server, and then writes words that this one does not know.
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as written:
            written.write(f"primary_conninfo = '{address} dbname=postgres'\n")

    def wait_until_replayed(self) -> None:
        """Wait until all that the primary has written is here."""
        # Commits of a test's server are not waited for: this one takes all before it to the disk.
        self.primary.sql("set synchronous_commit = on; select pg_logical_emit_message(true, 'standby', '')")
        written = self.primary.sql("select pg_current_wal_lsn()::text")[0][0]
        self.wait(f"select pg_last_wal_replay_lsn() >= '{written}'")

    def wait(self, condition: str) -> None:
        """Wait for a condition in SQL."""
        until(lambda: bool(self.sql(condition)[0][0]), what=condition)

    def promote(self) -> None:
        """Make it a primary."""
        self.sql("select pg_promote(true, 60)")
        self.wait("select not pg_is_in_recovery()")


@contextmanager
def busy(primary: Postgres) -> Iterator[None]:
    """A primary that often logs which transactions run: a slot on a standby begins at such a record only."""
    done = threading.Event()

    def log() -> None:
        with primary.connection() as connection:
            while not done.wait(0.1):
                connection.run("select pg_log_standby_snapshot()")

    logging = threading.Thread(target=log)
    logging.start()
    try:
        yield
    finally:
        done.set()
        logging.join(60)
