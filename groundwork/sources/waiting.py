"""What a new slot waits for: transactions that were open when it was asked for.

``CREATE_REPLICATION_SLOT`` finds its position only once all of them have ended, and says nothing meanwhile
(PostgreSQL manual, "Logical Decoding Concepts"). A forgotten ``BEGIN`` would look like a run that hangs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from groundwork.errors import SourceError, SourceLocked
from groundwork.sources.reading import Reading

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0
"""How long it may take before we tell."""

WAIT_SECONDS = 3600.0
"""How long a new slot waits for one transaction before the run ends."""

AGAIN_SECONDS = 60.0
"""How long between two such lines."""

# Who is in pg_locks is for everyone to see; when a transaction of another role began is not.
_OPEN = """
select count(*),
    coalesce(max(extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))), -1),
    coalesce(string_agg(coalesce(cast(l.pid as text), 'prepared:' || p.gid), ',' order by a.xact_start), '')
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
left join pg_prepared_xacts p on l.pid is null and p.transaction = l.transactionid
where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
"""


@contextmanager
def told_while_waiting(reading: Reading) -> Iterator[None]:
    """Say in the log, every now and then, which transactions hold up what happens here."""
    done = threading.Event()
    telling = threading.Thread(target=_tell, args=(reading, done), name="waiting", daemon=True)
    telling.start()
    try:
        yield
    except SourceLocked as error:
        raise SourceLocked(
            reading.where, f"a transaction has been open for more than {WAIT_SECONDS / 60:.0f} minutes",
            why="tables can be copied only once every transaction has ended that was open before",
            fix="end it (the log names it: waiting for open transactions), then run again",
        ) from error  # fmt: skip
    finally:
        done.set()
        telling.join()


def _tell(reading: Reading, done: threading.Event) -> None:
    patience = PATIENCE_SECONDS
    while not done.wait(patience):
        patience = AGAIN_SECONDS
        try:
            with reading.connection() as sql:
                count, seconds, which = sql.run(_OPEN)[0]
        except SourceError as error:
            log.debug("cannot see what we wait for source=%s: %s", reading.source, error)
            continue
        age = f"{float(seconds):.0f}" if float(seconds) >= 0 else "unknown"
        log.warning(
            "waiting for open transactions source=%s count=%d oldest_seconds=%s by=%s: "
            "a snapshot begins only when they have ended",
            reading.source, count, age, which or "unknown",
        )  # fmt: skip
