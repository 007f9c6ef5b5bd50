"""What one run of a PostgreSQL source carries along: where it reads, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from groundwork import catalog
from groundwork.sources import Cursors
from groundwork.sources.address import Address
from groundwork.sources.slot import lsn_number
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
    slot: str
    """The replication slot's name."""
    state: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    """What happened besides rows since the last checkpoint."""
    system: str = ""
    """The cluster's own number."""

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

    def connection(self, *, replication: bool = False) -> Connection:
        """Another connection to the source."""
        return Connection(self.address, self.where, replication=replication)

    def begin_log(self, position: int) -> None:
        """Start the log's cursor for a new slot: in another epoch if its positions would not rise."""
        before = self.state.get(LOG, {})
        epoch = before.get("epoch", 0)
        if position <= lsn_number(before.get("lsn", "0/0")):
            epoch += 1
        self.state[LOG] = {"epoch": epoch}

    def without_log(self) -> Cursors:
        """What must outlive a full refresh: that sequences go on rising, even in another cluster."""
        kept = self.state.get(LOG)
        return {LOG: {name: kept[name] for name in ("lsn", "epoch") if name in kept}} if kept else {}


def at(position: int) -> str:
    """The sequence of everything in a snapshot: before the first change after it."""
    return f"{position:016x}/{0:08x}"
