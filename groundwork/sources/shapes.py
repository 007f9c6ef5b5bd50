"""How a table's shape changes over time, and when that means to copy it again.

The log says nothing of rows that a change of the table itself altered: those that got a default, were
rewritten in another type, or have their value under another name now. So a cursor remembers the shape of
each table, and every run compares.
"""

from __future__ import annotations

import logging
from typing import Any

from groundwork.sources.tables import Table
from groundwork.sources.tuples import Relation

log = logging.getLogger(__name__)


def remembered(table: Table) -> dict[str, Any]:
    """What the cursor remembers of a table, to see how it changes."""
    last = max(number for _, _, number in table.shape.values())
    return {"oid": table.oid, "member": table.member, "shape": table.shape, "last": last}


def differs(table: Table, relation: Relation) -> bool:
    """Whether the log describes another table than the one that was looked at when the run began."""
    shape = {n: tuple(kind[:2]) for n, kind in table.shape.items()}
    return relation.id != table.oid or dict(zip(relation.columns, relation.types, strict=True)) != shape


def reshaped(tables: dict[str, Table], state: dict[str, Any]) -> list[dict[str, Any]]:
    """Tell how tables differ from what we knew; forget the history of those that must be copied again.

    Args:
        tables: the log-based streams as they are now.
        state: the cursors; a stream without ``snapshot`` in its cursor is copied in this run.

    Returns:
        Events for the manifest, one per table that changed.
    """
    events = []
    for stream, table in tables.items():
        known = state.get(stream, {})
        if "snapshot" not in known:
            continue
        event = _change(known, table)
        state[stream] = known | remembered(table)
        if event is None:
            continue
        events.append({"event": event.pop("event"), "stream": stream} | event)
        log.warning("table changed %s", " ".join(f"{k}={v}" for k, v in events[-1].items()))
        if events[-1]["copied_again"]:
            del state[stream]["snapshot"]
    return events


def _change(known: dict[str, Any], table: Table) -> dict[str, Any] | None:
    if known.get("oid", table.oid) != table.oid:
        return {"event": "table_recreated", "copied_again": True}
    if known.get("member", table.member) != table.member:
        return {"event": "published_anew", "copied_again": True}
    before, now = known.get("shape", table.shape), table.shape
    if before == now:
        return None
    added = sorted(now.keys() - before.keys())
    retyped = sorted(n for n in now.keys() & before.keys() if now[n] != before[n])
    # A column is null in all older rows only if it is new and came without a value.
    filled = [n for n in added if n in table.filled or now[n][2] <= known["last"]]
    return {
        "event": "columns_changed",
        "added": added,
        "gone": sorted(before.keys() - now.keys()),
        "retyped": retyped,
        "copied_again": bool(retyped or filled),
    }
