"""The replication slot: how the server keeps what we have not read yet.

The manifest is the only truth about how far we read; the slot follows it. A slot that stands behind the
manifest is normal (an acknowledgement was lost) and harmless. One that stands before it, or is gone, means
changes we can never read: that is refused, because PostgreSQL itself would go on in silence.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from groundwork.errors import SlotLost, SourceBusy, SourceRefused
from groundwork.sources.wire import Connection, quoted

log = logging.getLogger(__name__)

SECONDS_TO_WAIT = 10.0
"""How long the server may take to notice that a run has died, before we take it for alive."""


@dataclass(frozen=True)
class Slot:
    """A slot as the server shows it (view ``pg_replication_slots``)."""

    name: str
    active_pid: int | None
    confirmed_lsn: int
    wal_status: str


def slot_name(source: str, bucket_url: str) -> str:
    """The slot of a source, one per bucket: another environment never takes our changes away."""
    mark = hashlib.sha256(f"{bucket_url}/{source}".encode()).hexdigest()[:8]
    return f"groundwork_{source[:40]}_{mark}"


@dataclass(frozen=True)
class Standing:
    """How much log a slot keeps on the server, in bytes (view ``pg_replication_slots``)."""

    held: int
    """Log that cannot be removed because of it."""
    behind: int
    """Log that was written since what we confirmed last."""
    wal_status: str
    """``reserved``, ``extended``, ``unreserved`` (it may be lost soon) or ``lost``."""
    left: int | None
    """What can still be written before it is lost; None without a limit."""
    limit: int | None
    """``max_slot_wal_keep_size``; None without one."""


def second_name(name: str) -> str:
    """The other name of a slot, also within PostgreSQL's 63 bytes: a new one is made beside the old one."""
    other = f"{name[:61]}_b"
    return other if other != name else f"{name[:61]}_c"


def lsn_number(text: str) -> int:
    """``16/B374D848`` as a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    """A position in the log as PostgreSQL prints it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def find(connection: Connection, name: str) -> Slot | None:
    """The slot of this name, if there is one."""
    found = connection.run(
        "select active_pid, cast(confirmed_flush_lsn as text), wal_status"
        " from pg_replication_slots where slot_name = :name",
        name=name,
    )
    if not found:
        return None
    active_pid, confirmed, status = found[0]
    return Slot(name, active_pid, lsn_number(confirmed or "0/0"), status or "")


_STANDING = """
with written as (
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
        else pg_current_wal_insert_lsn() end as lsn
)
select coalesce(lsn - restart_lsn, 0), coalesce(lsn - confirmed_flush_lsn, 0), coalesce(wal_status, ''),
    safe_wal_size, (select setting from pg_settings where name = 'max_slot_wal_keep_size')
from pg_replication_slots, written where slot_name = :name
"""


def standing(connection: Connection, name: str) -> Standing | None:
    """How a slot stands, if there is one of this name."""
    found = connection.run(_STANDING, name=name)
    if not found:
        return None
    held, behind, status, left, limit = found[0]
    megabytes = int(limit)
    return Standing(
        int(held), int(behind), status, None if left is None else int(left),
        megabytes << 20 if megabytes >= 0 else None,
    )  # fmt: skip


def claim(connection: Connection, name: str, where: str) -> None:
    """Keep other runs of a source out for as long as a connection lives.

    (An advisory lock of the server, PostgreSQL manual, "Advisory Locks".)

    Raises:
        SourceBusy: when another run has the claim, and keeps it.
    """
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while True:
        found = connection.run("select pg_try_advisory_lock(hashtextextended(:name, 0))", name=name)
        if found[0][0]:
            return
        if time.monotonic() > deadline:
            raise SourceBusy(
                where, "another run reads this source now",
                why=f"it holds the claim on slot '{name}'", fix="wait for it to end",
            )  # fmt: skip
        time.sleep(0.1)


def wait_until_free(connection: Connection, name: str, where: str) -> None:
    """Wait for the server to let go of a slot whose reader has just died.

    Raises:
        SourceBusy: when another run still reads it.
    """
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while (slot := find(connection, name)) and slot.active_pid:
        if time.monotonic() > deadline:
            raise SourceBusy(
                where,
                f"slot '{name}' is read by another run (server process {slot.active_pid})",
                why="two runs of one source at once would each see half of the changes",
                fix="wait for it to end",
            )
        time.sleep(0.1)


def check(connection: Connection, name: str, lsn: int, where: str) -> Slot:
    """Hold the slot against the manifest's position.

    Args:
        connection: an ordinary connection.
        name: the slot.
        lsn: where the newest manifest ends.
        where: the source, for errors.

    Returns:
        The slot.

    Raises:
        SlotLost: when changes after ``lsn`` can no longer be read.
    """
    slot = find(connection, name)
    position = lsn_text(lsn)
    if slot is None:
        what, why = f"slot '{name}' is gone", f"changes after {position} were not kept for us"
    elif slot.wal_status == "lost":
        what = f"slot '{name}' was invalidated by the server"
        why = f"it needed more log than max_slot_wal_keep_size allows; changes after {position} are gone"
    elif slot.confirmed_lsn > lsn:
        what = f"slot '{name}' stands at {lsn_text(slot.confirmed_lsn)}, the bucket ends at {position}"
        why = "somebody else read it, or made it anew; what lies between is gone"
    else:
        return slot
    raise SlotLost(
        where, what, why=why,
        fix="run `python -m groundwork full-refresh` for this source: a new snapshot closes the gap",
    )  # fmt: skip


def streaming(name: str, lsn: int, publication: str) -> str:
    """The statement that streams a slot from a position on."""
    return (
        f"START_REPLICATION SLOT {quoted(name)} LOGICAL {lsn_text(lsn)}"
        f" (proto_version '1', messages 'true', publication_names '{quoted(publication)}')"
    )


def create_temporary(stream: Connection, name: str, patience: float) -> tuple[int, str]:
    """Make a slot that dies with its connection, and a snapshot that fits it exactly.

    Args:
        stream: a replication connection; the snapshot lasts until its next statement.
        name: the temporary slot's name.
        patience: seconds that it may wait for each transaction that is open.

    Returns:
        The position from which the slot streams, and the name of the snapshot.
    """
    stream.run(f"set lock_timeout = {round(1000 * patience)}")
    made = stream.run(f"CREATE_REPLICATION_SLOT {quoted(name)} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT")
    _, position, snapshot, _ = made[0]
    return lsn_number(position), snapshot


def make_permanent(stream: Connection, temporary: str, name: str) -> None:
    """Keep a temporary slot's position under a lasting name."""
    stream.run(f"select pg_copy_logical_replication_slot('{temporary}', '{name}', false)")


def keep_on_standbys(stream: Connection, name: str, where: str) -> None:
    """Let standbys with `sync_replication_slots` keep a copy of a slot ("Logical Replication Failover").

    Each time: a slot that was made as a copy of another has not that property, nor one of an older catalog.

    Raises:
        SourceRefused: when the server has no such slots.
    """
    version, standby = stream.run("select current_setting('server_version_num'), pg_is_in_recovery()")[0]
    if int(version) < 170000 or standby:
        raise SourceRefused(
            where, "this server cannot keep a slot on its standbys, and `failover` asks for it",
            why="it is a standby itself" if standby else "PostgreSQL does so from 17 on",
            fix="take `failover` out of the catalog's connection",
        )  # fmt: skip
    found = stream.run(f"select failover from pg_replication_slots where slot_name = '{name}'")
    if found and not found[0][0]:
        stream.run(f"ALTER_REPLICATION_SLOT {quoted(name)} (FAILOVER)")
        log.info("standbys may keep slot=%s", name)


def drop(connection: Connection, name: str) -> None:
    """Remove a slot, if it is there and nobody reads it."""
    connection.run(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = :name",
        name=name,
    )


def drop_others(connection: Connection, names: Collection[str], needed: str, where: str) -> None:
    """Remove what earlier slots, or attempts at one, left behind.

    Args:
        connection: an ordinary connection.
        names: all names that a slot of this source can have.
        needed: the one that stays.
        where: the source, for errors.

    Raises:
        SourceBusy: when another run reads one of them.
    """
    for name in names:
        if name != needed and find(connection, name):
            wait_until_free(connection, name, where)
            drop(connection, name)
            log.info("dropped slot=%s", name)
