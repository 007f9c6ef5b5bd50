"""Streams that are left out of landing: which, from which batch on, since when, and why.

One stream that cannot be loaded does not hold back the others of its source. Its rows are in landing up to a
batch and not beyond, so it is out of date but never has a hole. See docs/decisions/0063-one-bad-stream.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from groundwork.errors import GroundworkError, StreamsQuarantined
from groundwork.manifest import Manifest, batch_name, now
from groundwork.warehouses import INSTANT, LANDING, TEXT, Warehouse

log = logging.getLogger(__name__)

LEFT_OUT = "_left_out"
_COLUMNS = {"source": TEXT, "stream": TEXT, "batch_id": TEXT, "since": INSTANT, "why": TEXT}


@dataclass(frozen=True)
class LeftOut:
    """One stream that is left out."""

    stream: str
    first: int
    """The first batch whose rows of the stream are not in landing."""
    since: datetime
    """UTC, without zone."""
    why: str

    @property
    def complaint(self) -> str:
        """What is to be said of it."""
        since = f"{self.since:%Y-%m-%dT%H:%M:%S}+00:00"
        return (
            f"stream {self.stream} is not loaded from batch {batch_name(self.first)} on,"
            f" since {since}: {self.why.rstrip('.')}"
        )


def left_out(warehouse: Warehouse, source: str) -> dict[str, LeftOut]:
    """The streams of a source that are left out, by name."""
    if not warehouse.columns(LANDING, LEFT_OUT):
        return {}
    found = warehouse.query(
        f"select stream, batch_id, since, why from {LANDING}.{LEFT_OUT} where source = ? order by stream",
        [source],
    )
    return {stream: LeftOut(stream, int(batch), since, why) for stream, batch, since, why in found}


def leave_out(
    warehouse: Warehouse, source: str, stream: str, first: int, why: str, since: datetime | None = None
) -> LeftOut:
    """Leave a stream out from a batch on. To be called before the batch gets its ledger row.

    Args:
        warehouse: the one that it is left out of.
        source: whose stream.
        stream: its name.
        first: the first batch without it.
        why: the error.
        since: when it was left out first; this moment when None.
    """
    mark = LeftOut(stream, first, since or now().replace(tzinfo=None, microsecond=0), why)
    warehouse.widen(LEFT_OUT, _COLUMNS)
    let_back(warehouse, source, stream)
    warehouse.query(
        f"insert into {LANDING}.{LEFT_OUT} (source, stream, batch_id, since, why) values (?, ?, ?, ?, ?)",
        [source, stream, batch_name(first), mark.since, why],
    )
    log.error("left out source=%s stream=%s batch=%s: %s", source, stream, batch_name(first), why)
    return mark


def let_back(warehouse: Warehouse, source: str, stream: str) -> None:
    """A stream is not left out any more."""
    warehouse.query(f"delete from {LANDING}.{LEFT_OUT} where source = ? and stream = ?", [source, stream])


def read_again(batch: Manifest) -> set[str]:
    """Streams that are read from the beginning in a batch, so that earlier rows decide nothing."""
    return {
        stream
        for event in batch.events
        if event.get("event") == "full_refresh"
        for stream in event.get("streams", ())
    }


def insist(source: str, complaints: Sequence[str]) -> None:
    """Fail if a stream was left out; to be called when all other work is done.

    Args:
        source: whose streams.
        complaints: one per stream, naming it, since when and why.

    Raises:
        StreamsQuarantined: with all complaints.
    """
    if complaints:
        raise StreamsQuarantined(
            f"source '{source}'",
            "left out: " + "; ".join(complaints),
            fix="all other streams are read and loaded; once mended, the next run brings these up to date",
        )


def reason(error: GroundworkError) -> str:
    """An error as the table keeps it: one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
