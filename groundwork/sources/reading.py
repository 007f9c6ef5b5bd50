"""What one run of a PostgreSQL source carries along: where it reads, and how far it has come."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from groundwork import catalog
from groundwork.sources import QUARANTINED, Checkpoint, Cursors, quarantined
from groundwork.sources.address import Address
from groundwork.sources.slot import lsn_number, lsn_text, second_name
from groundwork.sources.wire import Connection

LOG = "_log"
"""The cursor of the log itself, beside those of the streams."""

_EPOCH = 1 << 56
"""Added to every position for each time the log began anew below where it had been; no log is that long."""


@dataclass
class Reading:
    """A run's own copy of the cursors, changed as it goes; a checkpoint takes it into the manifest."""

    entry: catalog.PostgresSource
    address: Address
    where: str
    """The source, for errors."""
    base: str
    """The slot's first name, and the name of the claim; a slot made anew has the other of two names."""
    state: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    """What happened besides rows since the last checkpoint."""
    system: str = ""
    """The cluster's own number."""
    timeline: int = 0
    """How often a standby of it was promoted, and one more."""
    standing: dict[str, Any] = field(default_factory=dict)
    """How much log the server held back for us ``before`` the run, for the manifest."""
    compared: bool = False
    """Whether the WAL up to the cursor is known to be the one that was read, see `continuity`."""
    whole: set[str] = field(default_factory=set)
    """The ``full_table`` streams that this run has read."""
    copied: dict[str, int] = field(default_factory=dict)
    """Per stream that this run copied because of another key, the position of its copy."""
    spare: Connection | None = None
    """A connection for replication commands that nobody uses at the moment."""

    def __post_init__(self) -> None:
        """Remember what is committed, to fall back on."""
        self.settled()

    @property
    def source(self) -> str:
        """The source's name in the catalog."""
        return self.entry.source

    @property
    def raised(self) -> int:
        """What is added to every position in `_sequence`."""
        epoch: int = self.state.get(LOG, {}).get("epoch", 0)
        return epoch * _EPOCH

    @property
    def has_slot(self) -> bool:
        """Whether a slot keeps the log for us."""
        return "slot" in self.state.get(LOG, {})

    @property
    def slot(self) -> str:
        """The slot that is read, by its name in the cursor."""
        return str(self.state[LOG]["slot"])

    @property
    def slots(self) -> tuple[str, str]:
        """Both names that a slot of ours can have."""
        return self.base, second_name(self.base)

    @property
    def needed(self) -> str:
        """The slot that the newest manifest names, empty without one: it stays until there is a newer."""
        log = self.state.get(LOG, {})
        return str(log.get("slot", log.get("former", "")))

    @property
    def next_slot(self) -> str:
        """The name under which a slot can be made while the one that is needed is still there."""
        return self.slots[1] if self.needed == self.base else self.base

    def connection(self) -> Connection:
        """Another connection to the source, for statements."""
        return Connection(self.address, self.where)

    def replication(self) -> Connection:
        """A connection for replication commands: the spare one, else another. The caller closes it."""
        taken, self.spare = self.spare, None
        return taken or Connection(self.address, self.where, replication=True)

    def close(self) -> None:
        """Close the spare connection."""
        if self.spare:
            self.spare.close()
            self.spare = None

    def begin_log(self, position: int) -> None:
        """Start the log's cursor for a new slot: in another epoch if its positions would not rise."""
        before = self.state.get(LOG, {})
        epoch = before.get("epoch", 0)
        if position <= furthest(self.state):
            epoch += 1
        self.state[LOG] = {"epoch": epoch, "former": self.needed}

    def follow(self, slot: str, position: int) -> None:
        """From now on the log is read from this slot."""
        epoch = self.state[LOG]["epoch"]
        self.state[LOG] = {
            "epoch": epoch, "lsn": lsn_text(position), "slot": slot, "system": self.system,
            "timeline": self.timeline, "commit": "",
        }  # fmt: skip

    def forget(self, streams: Collection[str] = ()) -> Cursors:
        """The cursors without the history of some streams; of all, and without the slot, when none are named.

        What outlives even that is that sequences go on rising, be it in another cluster.
        """
        if streams:
            return {n: _without_history(known) if n in streams else known for n, known in self.state.items()}
        state: dict[str, Any] = {n: {QUARANTINED: mark} for n, mark in quarantined(self.state).items()}
        if kept := self.state.get(LOG):
            end = {"lsn": lsn_text(furthest(self.state))} if "lsn" in kept else {}
            state[LOG] = end | {n: kept[n] for n in ("epoch",) if n in kept} | {"former": self.needed}
        return state

    def checkpoint(self, *, heartbeat: bool = False) -> Checkpoint:
        """All rows so far, with the cursors and events as they are now."""
        return Checkpoint(dict(self.state), list(self.events), heartbeat=heartbeat, slot=dict(self.standing))

    def settled(self) -> None:
        """The last checkpoint is durable, or nothing was new: from here on is what `undo` takes back."""
        self.events.clear()
        self._kept = copy.deepcopy((self.state, self.whole))

    def undo(self) -> None:
        """Go back to the last checkpoint."""
        self.events.clear()
        self.state, self.whole = copy.deepcopy(self._kept)


def furthest(state: Cursors) -> int:
    """The last position of the log that the cursors know of: of what was read, or of a copy after it."""
    known = [state.get(LOG, {}).get("lsn", "0/0")]
    known += [cursor["snapshot"] for cursor in state.values() if "snapshot" in cursor]
    return max(map(lsn_number, known))


def _without_history(cursor: dict[str, Any]) -> dict[str, Any]:
    return {name: known for name, known in cursor.items() if name != "snapshot"}


def at(position: int) -> str:
    """The sequence of everything in a snapshot: before the first change after it."""
    return f"{position:016x}/{0:08x}"
