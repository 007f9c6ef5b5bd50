"""Quarantine: a table that cannot be read is left out, so that the others can be.

What it is and since when stands in the stream's cursor, so every manifest tells. It loses its history at
once: when it can be read again it is copied again, because what the log said of it meanwhile was passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from groundwork.errors import (
    GroundworkError,
    SlotLost,
    SourceBusy,
    SourceError,
    SourceUnreachable,
    about,
)
from groundwork.sources import QUARANTINED
from groundwork.sources.reading import Reading
from groundwork.sources.tables import Table
from groundwork.sources.wire import Connection, quoted

log = logging.getLogger(__name__)

_NOT_ITS_FAULT = (SourceUnreachable, SourceBusy, SlotLost)


def of_one_table(error: GroundworkError) -> bool:
    """Whether an error says something of one table only."""
    return bool(error.table) and not isinstance(error, _NOT_ITS_FAULT)


def hold(reading: Reading, bad: Mapping[str, GroundworkError]) -> None:
    """Leave streams out from here on."""
    for stream, error in bad.items():
        table = reading.entry.streams[stream].table
        before = reading.state.get(stream, {}).get(QUARANTINED)
        since = before["since"] if before else datetime.now(UTC).isoformat(timespec="seconds")
        reading.state[stream] = {QUARANTINED: {"since": since, "table": table, "why": str(error)}}
        if not before:
            reading.events.append({"event": "quarantined", "stream": stream, "why": str(error)})
        if before == reading.state[stream][QUARANTINED]:
            continue
        log.error("quarantined source=%s stream=%s since=%s: %s", reading.source, stream, since, error)


def let_back(reading: Reading, tables: Mapping[str, Table]) -> None:
    """Tell of streams that are copied again now; `Reading.undo` takes it back when that fails."""
    for stream in tables:
        known = reading.state.get(stream, {})
        if mark := known.get(QUARANTINED):
            reading.state[stream] = {name: kept for name, kept in known.items() if name != QUARANTINED}
            event = {"event": "back", "stream": stream, "quarantined_since": mark["since"]}
            reading.events.append(event)
            log.info("back source=%s stream=%s quarantined_since=%s", reading.source, stream, mark["since"])


def unreadable(sql: Connection, tables: Mapping[str, Table]) -> Iterator[tuple[str, GroundworkError]]:
    """Which of these tables we may not read, found out without reading them."""
    for stream, table in tables.items():
        columns = ", ".join(map(quoted, table.columns))
        try:
            with about(table.full_name):
                sql.run(f"select {columns} from {quoted(table.schema)}.{quoted(table.name)} limit 0")
        except SourceError as error:
            if not of_one_table(error):
                raise
            yield stream, error
