"""Retention: how much log the server keeps for us, and when it is let go.

A slot keeps log until it was read, and a full disk stops the source. So every run measures it, `watch`
calls for help when it grows, and past the policy of the catalog (``slot_lag``) the slot is dropped: the
manifest that says so comes first, so the next run knows, and copies the tables again without a gap.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from groundwork.catalog import SlotLag
from groundwork.sizes import size_text
from groundwork.sources import Checkpoint, slot
from groundwork.sources.reading import LOG, Reading, furthest
from groundwork.sources.slot import Standing, lsn_text
from groundwork.sources.wire import Connection

log = logging.getLogger(__name__)

LEAST_LEFT = 0.2
"""Part of ``max_slot_wal_keep_size`` that should be left before somebody is called."""


def before(reading: Reading, sql: Connection) -> dict[str, Any]:
    """Measure and tell how the slot stands as a run begins; nothing when there is none yet."""
    found = slot.standing(sql, reading.slot) if reading.has_slot else None
    if found is None:
        return {}
    _tell(reading, found, "before")
    standing: dict[str, Any] = {"name": reading.slot, "before": asdict(found)}
    if concern := concern_of(reading.slot, found, reading.entry.connection.slot_lag):
        log.warning("source=%s %s", reading.source, concern)
        standing["concern"] = concern
    return standing


def after(reading: Reading, sql: Connection) -> None:
    """Measure and tell how the slot stands after all is read."""
    found = slot.standing(sql, reading.slot) if reading.has_slot else None
    if found is not None:
        _tell(reading, found, "after")
        reading.standing |= {"name": reading.slot, "after": asdict(found)}


def look(reading: Reading, sql: Connection) -> tuple[str, bool]:
    """What is to be feared of the slot, and whether it is past its policy; nothing without a slot."""
    if not reading.has_slot:
        return "", False
    found, policy = slot.standing(sql, reading.slot), reading.entry.connection.slot_lag
    if found is None:
        return f"slot '{reading.slot}' is gone", False
    return concern_of(reading.slot, found, policy), is_past(found, policy)


def concern_of(name: str, standing: Standing, policy: SlotLag) -> str:
    """What is to be feared of a slot, or nothing."""
    if standing.wal_status == "lost":
        return f"slot '{name}' was invalidated by the server: it needed more log than it may keep"
    held = f"slot '{name}' holds back {size_text(standing.held)} of log"
    if standing.wal_status == "unreserved":
        return f"{held}, and the server may remove it at the next checkpoint"
    if standing.limit and standing.left is not None and standing.left < LEAST_LEFT * standing.limit:
        limit = size_text(standing.limit)
        return f"{held}, and is lost after {size_text(standing.left)} more (max_slot_wal_keep_size {limit})"
    if standing.held >= policy.alert:
        return f"{held} (slot_lag.alert {size_text(policy.alert)})"
    return ""


def is_past(standing: Standing, policy: SlotLag) -> bool:
    """Whether the slot is to be dropped.

    Not for log that was read already: the server lets go of it with one of the next acknowledgements, or
    when an old transaction at the source ends, which only a person can do (`concern_of` calls one).
    """
    if policy.drop is None:
        return False
    return standing.held >= policy.drop and standing.behind >= policy.alert


def released(reading: Reading, sql: Connection) -> Iterator[Checkpoint]:
    """Drop the slot if it is past the policy, once the manifest says that its log is not needed any more."""
    found = slot.standing(sql, reading.slot) if reading.has_slot else None
    policy = reading.entry.connection.slot_lag
    if found is None or policy.drop is None or not is_past(found, policy):
        return
    name = reading.slot
    log.warning(
        "dropping slot=%s source=%s held=%d slot_lag.drop=%d: its tables are copied again",
        name, reading.source, found.held, policy.drop,
    )  # fmt: skip
    streams = [stream for stream in reading.state if stream != LOG]
    end = {"lsn": lsn_text(furthest(reading.state)), "epoch": reading.state[LOG]["epoch"]}
    reading.state = {**reading.forget(streams), LOG: end}
    reading.events.append({"event": "slot_dropped", "slot": name, "held": found.held, "drop": policy.drop})
    yield reading.checkpoint(heartbeat=True)
    reading.settled()
    slot.drop_others(sql, [name], "", reading.where)


def _tell(reading: Reading, standing: Standing, when: str) -> None:
    log.info(
        "slot source=%s when=%s held=%d behind=%d wal_status=%s left=%s",
        reading.source, when, standing.held, standing.behind, standing.wal_status,
        "unlimited" if standing.left is None else standing.left,
    )  # fmt: skip
