"""Which PostgreSQL cluster answers: the one that was read so far, a standby of it, or another.

A position in the log means something in one cluster only, and there only along one line of promotions (its
timelines), and as long as nobody sets its disk back to an older state. All of it is compared with the cursor
before a position is used: PostgreSQL itself would go on in silence without what a promoted standby never
had, and wait without end for a position that is to come.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from groundwork.errors import SlotLost, SourceRefused, SourceUnreachable
from groundwork.sources import partitions, slot, statements
from groundwork.sources.reading import furthest
from groundwork.sources.slot import lsn_number, lsn_text
from groundwork.sources.wire import Connection

if TYPE_CHECKING:
    from groundwork.sources.reading import Reading

log = logging.getLogger(__name__)

_FULL_REFRESH = "run `python -m groundwork full-refresh` for this source: a new snapshot closes the gap"

STANDBY_SECONDS = 60.0
"""How long a standby may take to replay what it had replayed before it was restarted."""

_NUMBERS = frozenset({"publication", "shown", "versions"})
"""What cursors remember by numbers of the cluster's own, which an upgrade gives anew."""


def meet(reading: Reading, sql: Connection, log_cursor: str) -> None:
    """Find out which cluster this is, and refuse it when the cursor's position means nothing in it.

    Args:
        reading: the run; its ``system`` and ``timeline`` are set.
        sql: an ordinary connection.
        log_cursor: the name of the log's cursor.

    Raises:
        SourceRefused: on a standby that cannot be read from.
        SlotLost: when this is another cluster, or lacks the end of what was read.
    """
    if standby := in_recovery(sql):
        _check_standby(sql, reading.where)
    # This way needs no right but REPLICATION. The log is read through the same connection: from this cluster.
    stream = reading.spare = reading.replication()
    reading.system, reading.timeline, position = stream.run("IDENTIFY_SYSTEM")[0][:3]
    if not reading.has_slot:
        return
    if reading.state[log_cursor]["system"] != reading.system:
        _go_on_after_upgrade(reading, sql, log_cursor)
    timeline = reading.state[log_cursor].get("timeline", reading.timeline)
    if timeline != reading.timeline:
        _check_promotion(reading, stream, timeline, lsn_number(reading.state[log_cursor]["lsn"]))
    check_position(reading, sql, lsn_number(position), standby=standby)


def in_recovery(sql: Connection) -> bool:
    """Whether the server is a standby."""
    return bool(sql.run("select pg_is_in_recovery()")[0][0])


def _check_standby(sql: Connection, where: str) -> None:
    version = int(sql.run("select current_setting('server_version_num')")[0][0])
    if version < 160000:
        raise SourceRefused(
            where, f"this server is a standby of PostgreSQL {version // 10000}, which cannot decode its log",
            why="PostgreSQL does so from 16 on", fix="let the connection URL name the primary",
        )  # fmt: skip
    feedback = sql.run("select current_setting('hot_standby_feedback')")[0][0]
    if feedback != "on":
        raise SourceRefused(
            where, "this server is a standby without hot_standby_feedback",
            why="its primary removes what a slot here still needs, which ends the slot",
            fix="run there, one by one: "
            f"{statements.set_setting('hot_standby_feedback', 'on')} {statements.reload_settings()}",
        )  # fmt: skip


def check_position(reading: Reading, sql: Connection, position: int, *, standby: bool) -> None:
    """Refuse a server whose WAL ends before what was read.

    Args:
        reading: the run.
        sql: an ordinary connection.
        position: how far the server is (``IDENTIFY_SYSTEM``, third field).
        standby: whether it is a standby: one that was restarted may have to replay some WAL again.

    Raises:
        SlotLost: when a primary stands before the cursor.
        SourceUnreachable: when a standby does, and does not come further.
    """
    cursor = furthest(reading.state)
    deadline = time.monotonic() + STANDBY_SECONDS
    while standby and position < cursor and time.monotonic() < deadline:
        time.sleep(0.2)
        position = lsn_number(sql.run("select cast(pg_last_wal_replay_lsn() as text)")[0][0])
    if position >= cursor:
        return
    what = f"its WAL ends at {lsn_text(position)}, and {lsn_text(cursor)} was already read"
    if standby:
        raise SourceUnreachable(
            reading.where, "this standby has not replayed what was already read", why=what,
            fix=f"wait until it has; if its primary was set back to an older backup, {_FULL_REFRESH}",
        )  # fmt: skip
    raise went_back(reading, what)


def went_back(reading: Reading, why: str) -> SlotLost:
    """What is to be said of a server whose history is not the one that was read."""
    return SlotLost(
        reading.where, "the server's history went back: its disk was set back to an older state",
        why=f"{why}", fix=f"{_FULL_REFRESH}, and takes back what is no longer there",
    )  # fmt: skip


def _check_promotion(reading: Reading, stream: Connection, before: int, lsn: int) -> None:
    """Hold the position against where the cluster's history left the timeline it belongs to.

    (PostgreSQL manual, "Continuous Archiving", Timelines.)
    """
    now = reading.timeline
    (_, history), *_ = stream.run(f"TIMELINE_HISTORY {now}")
    text = history.decode() if isinstance(history, bytes) else str(history)
    left = [line.split()[:2] for line in text.splitlines() if line.strip() and not line.startswith("#")]
    ends = {int(timeline): lsn_number(position) for timeline, position in left}
    if before not in ends:
        why = f"its history does not come from timeline {before}, which was read so far"
    elif lsn > ends[before]:
        why = f"it left timeline {before} at {lsn_text(ends[before])}, and {lsn_text(lsn)} was already read"
    else:
        log.info("server was promoted source=%s timeline=%d before=%d", reading.source, now, before)
        return
    raise SlotLost(
        reading.where, "a standby was promoted that had not received all that was read", why=why,
        fix=f"{_FULL_REFRESH}, and takes back what the new primary never had",
    )  # fmt: skip


def _go_on_after_upgrade(reading: Reading, sql: Connection, log_cursor: str) -> None:
    """Go on in a cluster that `pg_upgrade` made of the one that was read, if the catalog says so.

    `pg_upgrade` makes a slot anew only if nothing was left to read in the old one (PostgreSQL manual,
    "pg_upgrade", "Prepare for publisher upgrades"): the position it gives the slot continues ours.
    """
    cursor, connection = reading.state[log_cursor], reading.entry.connection
    moved = slot.find(sql, reading.slot)
    if connection.upgraded_from != cursor["system"]:
        hint = f'; after pg_upgrade with its slot kept, write `upgraded_from: "{cursor["system"]}"`'
        raise SlotLost(
            reading.where, "this is another database cluster than the one read so far",
            why="its system identifier differs; positions in the log mean nothing here",
            fix="correct the connection URL, or run `python -m groundwork full-refresh` for it"
            + (f"{hint} in the catalog's connection" if moved else ""),
        )  # fmt: skip
    if moved is None:
        return  # `slot.check` says what is lost
    epoch = cursor["epoch"] + (moved.confirmed_lsn <= lsn_number(cursor["lsn"]))
    reading.state[log_cursor] = cursor | {
        "epoch": epoch, "lsn": lsn_text(moved.confirmed_lsn), "system": reading.system,
        "timeline": reading.timeline, "commit": "",
    }  # fmt: skip
    for name, known in reading.state.items():
        # Rows without a key are copied again: another version may print one of their values otherwise.
        lost = _NUMBERS | ({"printing"} if known.get("key") else set())
        kept = {n: value for n, value in known.items() if n not in lost}
        if "parts" in kept:
            kept["parts"] = partitions.upgraded(kept["parts"])
        reading.state[name] = kept
    reading.events.append({"event": "cluster_upgraded", "system": reading.system})
    log.warning(
        "goes on after pg_upgrade source=%s position=%s", reading.source, reading.state[log_cursor]["lsn"]
    )
