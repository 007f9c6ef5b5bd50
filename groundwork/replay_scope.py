"""The scope of a replay: sources whole, or some streams, batches, or times of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.catalog import AnySource
from groundwork.errors import CatalogError

Bound = int | datetime | None
"""A batch's number, or a time (UTC) at which batches were stored."""


@dataclass(frozen=True)
class Wanted:
    """What is to be loaded again: a whole source, or a part of it."""

    streams: tuple[str, ...] = ()
    """Only these; all when empty."""
    first: Bound = None
    last: Bound = None

    @property
    def whole(self) -> bool:
        """Whether all of the source is meant."""
        return not self.streams and self.first is None and self.last is None

    def check(self, entry: AnySource) -> None:
        """Make sure that the source has the streams.

        Raises:
            CatalogError: naming the first one that it does not have.
        """
        for stream in self.streams:
            if stream not in entry.streams:
                known = ", ".join(entry.streams)
                raise CatalogError(
                    f"replay of '{entry.source}'",
                    f"has no stream '{stream}' ({known})",
                    fix="name one of these; a stream that left the catalog is replayed with its whole source",
                )


EVERYTHING = Wanted()


def bound(text: str) -> Bound:
    """Read a bound: ``12`` is a batch, ``2026-01-31`` or ``2026-01-31T10:00+01:00`` a time.

    A time without a zone is UTC.

    Raises:
        CatalogError: when it is neither.
    """
    if not text:
        return None
    if text.isdecimal() and len(text) <= 10 and int(text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        fix = "write a batch's number (12) or a time (2026-01-31, 2026-01-31T10:00Z)"
        raise CatalogError(f"replay from or to '{text}'", "is no batch and no time", fix=fix) from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def bound_text(value: Bound) -> str:
    """A bound as `bound` reads it."""
    return value.isoformat() if isinstance(value, datetime) else str(value or "")


def batches_between(bucket: Bucket, source: str, wanted: Wanted, newest: int) -> tuple[int, int]:
    """The first and the last batch that the bounds mean; the first is greater when there is none.

    Of times, the first batch stored then or later and the last batch stored until then. Batches between them
    are always taken, so that landing has no gap. Every manifest is read: where a clock was set back or ahead,
    the times of batches do not only rise.

    Raises:
        ObjectDamaged: when a manifest is missing or is none.
    """
    first = min(wanted.first, newest + 1) if isinstance(wanted.first, int) else 1
    last = min(wanted.last, newest) if isinstance(wanted.last, int) else newest
    if isinstance(wanted.first, datetime) or isinstance(wanted.last, datetime):
        stored = [
            (there.batch_id, there.stored_at)
            for there in manifest.listed(bucket, source, list(range(1, newest + 1)))
        ]
        if isinstance(wanted.first, datetime):
            first = next((number for number, at in stored if at >= wanted.first), newest + 1)
        if isinstance(wanted.last, datetime):
            last = next((number for number, at in reversed(stored) if at <= wanted.last), 0)
    return first, last
