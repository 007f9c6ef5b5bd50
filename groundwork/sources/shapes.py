"""How a table changes over time beside its rows, and when that means to copy it again.

The log says nothing of rows that a change of the table itself altered: those that got a default, were
rewritten in another type, print another text (`printing`), or have their value under another name now; nor of
those that came and went with a partition, or while they were not published. So a cursor remembers what each
table was like, and by which key its rows were matched, and every run compares.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from groundwork.sources import partitions
from groundwork.sources.described import Parts
from groundwork.sources.tables import Table
from groundwork.sources.tuples import Relation
from groundwork.sources.wire import Connection, quoted

log = logging.getLogger(__name__)

Event = dict[str, Any]


def remembered(table: Table) -> dict[str, Any]:
    """What the cursor remembers of a table, to see how it changes."""
    last = max(number for _, _, number in table.shape.values())
    kept = {
        "oid": table.oid, "publication": table.publication, "shown": table.shown,
        "shape": table.shape, "last": last, "key": list(table.key), "versions": table.versions,
        "file": table.file, "printing": table.printing.remembered(),
    }  # fmt: skip
    return kept | ({"parts": partitions.written(table.parts)} if table.partitioned else {})


def uncopied(tables: dict[str, Table], state: dict[str, Any]) -> list[tuple[Table, bool]]:
    """Tables to copy: with True those without a history, with False those that lack some partitions' rows."""
    found = []
    for stream, table in tables.items():
        cursor = state.get(stream, {})
        if "snapshot" not in cursor:
            found.append((table, True))
        elif "uncopied" in cursor:
            found.append((table.part(cursor["uncopied"]), False))
    return found


def attached(state: dict[str, Any]) -> bool:
    """Whether some partitions are to be copied, and no whole table for their sake."""
    return any("uncopied" in cursor for cursor in state.values())


def copied(table: Table, cursor: dict[str, Any], position: str, *, whole: bool) -> dict[str, Any]:
    """The cursor of a table that was copied, or some of its partitions, at a position of the log."""
    kept = {} if whole else {name: cursor[name] for name in ("snapshot", "dropped") if name in cursor}
    return {"snapshot": position} | kept | remembered(table)


def differs(table: Table, relation: Relation) -> bool:
    """Whether the log describes another table than the one that was looked at when the run began."""
    shape = {n: tuple(kind[:2]) for n, kind in table.shape.items()}
    return relation.id != table.oid or dict(zip(relation.columns, relation.types, strict=True)) != shape


def unseen_parts(tables: dict[str, Table], described: Parts, state: dict[str, Any]) -> bool:
    """Remember partitions that the log speaks of and the cursors do not know; whether there are any.

    One that came and went between two runs is known by nothing else, and its rows are in landing.
    """
    found = False
    for table in tables.values():
        parts = described.get(table.oid)
        if parts and "snapshot" in state.get(table.stream, {}):
            cursor = partitions.noted(state[table.stream], parts)
            found = found or cursor != state[table.stream]
            state[table.stream] = cursor
    return found


def reshaped(tables: dict[str, Table], state: dict[str, Any], sql: Connection) -> list[Event]:
    """Tell how tables differ from what we knew; forget the history of those that must be copied again.

    Args:
        tables: the log-based streams as they are now.
        state: the cursors; a stream without ``snapshot`` in its cursor is copied in this run, of one with
            ``uncopied`` those partitions.
        sql: an ordinary connection.

    Returns:
        Events for the manifest, none for tables that are as they were.
    """
    events = []
    for stream, table in tables.items():
        known = state.get(stream, {})
        if "snapshot" not in known:
            continue
        state[stream] = known | remembered(table) | _dropped(known, table)
        for event in _changes(known, table, sql):
            uncopied = event.pop("uncopied", {})
            events.append({"event": event.pop("event"), "stream": stream} | event)
            log.warning("table changed %s", " ".join(f"{k}={v}" for k, v in events[-1].items()))
            if event["copied_again"]:
                del state[stream]["snapshot"]
                break
            if uncopied:
                state[stream]["uncopied"] = known.get("uncopied", {}) | uncopied
    return events


def _dropped(known: dict[str, Any], table: Table) -> dict[str, Any]:
    """Names of columns that are gone since the table was copied, for the cursor."""
    gone = {*known.get("dropped", ()), *known.get("shape", ())} - table.shape.keys()
    return {"dropped": sorted(gone)} if gone else {}


def _changes(known: dict[str, Any], table: Table, sql: Connection) -> Iterator[Event]:
    """What changed, the gravest first."""
    for name, event in (
        ("oid", "table_recreated"), ("publication", "publication_changed"), ("shown", "published_anew"),
    ):  # fmt: skip
        now = getattr(table, name)
        if known.get(name, now) != now:
            yield {"event": event, "copied_again": True}
    if sorted(known.get("key", table.key)) != sorted(table.key):
        yield {"event": "key_changed", "before": known["key"], "now": list(table.key), "copied_again": True}
    if "printing" in known and not table.printing.agrees(known["printing"]):
        yield {"event": "printed_otherwise", "copied_again": True}
    yield from _columns(known, table)
    if _rewritten(known, table):
        yield {"event": "table_rewritten", "copied_again": True}
    yield from _partitions(known, table, sql)


def _rewritten(known: dict[str, Any], table: Table) -> bool:
    """Whether rows were written again and a column was defined again: ``alter column … type … using …``.

    TRUNCATE, VACUUM FULL and CLUSTER write a new file too, and leave the columns as they were.
    """
    if known.get("versions", table.versions) == table.versions:
        return False
    return bool(known.get("file", table.file) != table.file)


def _columns(known: dict[str, Any], table: Table) -> Iterator[Event]:
    before, now = known.get("shape", table.shape), table.shape
    if before == now:
        return
    added = sorted(now.keys() - before.keys())
    retyped = sorted(n for n in now.keys() & before.keys() if now[n] != before[n])
    # A column is null in all older rows only if it is new and came without a value.
    # Rows of before still have the values of one that was dropped and is there again under its name.
    dropped = known.get("dropped", ())
    filled = [n for n in added if n in table.filled or now[n][2] <= known["last"] or n in dropped]
    gone = sorted(before.keys() - now.keys())
    yield {
        "event": "columns_changed",
        "added": added,
        "gone": gone,
        "retyped": retyped,
        # A row without a key is known by the text of all its columns, those that are gone too.
        "copied_again": bool(retyped or filled or (gone and not table.key)),
    }


def _partitions(known: dict[str, Any], table: Table, sql: Connection) -> Iterator[Event]:
    if not table.partitioned or "parts" not in known:
        return
    change = partitions.moved(known["parts"], table.parts)
    if not change:
        return
    root = f"{quoted(table.schema)}.{quoted(table.name)}"
    filled = partitions.filled(sql, root, change.added)
    # The rows of a new part are simply added: the log's changes before the copy rank below it, those after
    # it above. Not where a row is known by nothing but itself, nor where the part was emptied since it was
    # made: what the log says of its rows before that is no longer true.
    emptied = any(part.file != part.oid for part in change.added)
    again = bool(change.gone or change.rewritten or emptied or (filled and not table.key))
    yield {
        "event": "partitions_changed",
        "added": [part.full_name for part in change.added],
        "gone": list(change.gone),
        "rewritten": list(change.rewritten),
        "copied_again": again,
        "copied": [] if again else [p.full_name for p in change.added if str(p.oid) in filled],
        "uncopied": {} if again else filled,
    }
