"""What a source is: something that yields rows, and says up to where they are whole.

Sources know nothing of buckets and warehouses; `groundwork.extract` drives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Cursors = Mapping[str, Any]
"""Where reading goes on: one JSON-able value per stream, and ``log`` for a change log."""


QUARANTINED = "quarantined"
"""The part of a stream's cursor that says since when it is left out, and why."""


def quarantined(cursors: Cursors) -> dict[str, dict[str, str]]:
    """The streams that are left out, each with ``since``, ``table`` and ``why``."""
    marked = {n: known for n, known in cursors.items() if isinstance(known, dict) and QUARANTINED in known}
    return {stream: known[QUARANTINED] for stream, known in marked.items()}


@dataclass(frozen=True)
class Rows:
    """Some rows of one stream, in the source's order.

    ``frame`` holds the source's columns as text (``string`` where it is an Arrow table). It, or
    ``constants``, may also hold ``_operation`` (text, default ``insert``), ``_sequence`` (text, default batch
    and row number), ``_unchanged`` (text, a JSON array of names), ``_committed_at`` (µs, UTC without zone)
    and, for records, ``_request`` (text).
    """

    stream: str
    frame: pl.DataFrame | pa.Table
    constants: Mapping[str, str] = field(default_factory=dict)
    """Columns that are one text for all rows."""


@dataclass
class Checkpoint:
    """All rows so far belong together: commit them, with the cursors of *all* streams.

    Code that follows ``yield Checkpoint(…)`` runs once the manifest is durable, or once it was decided that
    none is needed because nothing is new; `committed` tells. That is where a slot is acknowledged.
    """

    cursors: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    """What happened besides rows (columns added, a table truncated, …); JSON-able."""
    heartbeat: bool = False
    """Commit even without rows, so that the cursors move."""
    slot: dict[str, Any] = field(default_factory=dict)
    """How much log the source held back for us; kept in the manifest, and no reason to write one."""
    whole: bool = True
    """False when these rows are no batch yet: they are kept as a draft, and the next run goes on from these
    cursors only if no batch was committed meanwhile (`groundwork.drafts`)."""
    committed: bool = False
    """Set by `groundwork.extract` when the manifest is durable."""


@dataclass(frozen=True)
class Undo:
    """The rows since the last batch never were.

    They hold a part of a stream that cannot be read, or a beginning that does not go with what follows.
    """


Recall = Callable[[str, str], Iterator["pa.RecordBatch"]]
"""The rows (``record``, ``_request``) that earlier runs stored of an unfinished pull, by the stream and the
``mark`` that its cursor holds as ``pull.mark``."""


@runtime_checkable
class Recalling(Protocol):
    """A source that counts over all runs of a pull."""

    recall: Recall | None
    """Set before it is read."""


@runtime_checkable
class Harming(Protocol):
    """A source whose application our set-up can harm."""

    refused: list[str]
    """The application's statements that fail now because of a publication; known once it is read."""


class Source(Protocol):
    """Anything that can be read from a position on.

    A source with an attribute ``drafts`` that is true may go on with a batch that it began.
    """

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint | Undo]:
        """Yield what is new since ``cursors``, ending with a `Checkpoint` when caught up."""
        ...
