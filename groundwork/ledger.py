"""What the ledger says of the newest batches: when each was stored, and how many rows it has."""

from __future__ import annotations

from datetime import datetime

from groundwork.warehouses import LANDING, LEDGER, Warehouse

Batches = list[tuple[datetime, int]]
"""When each batch was stored (UTC without zone), and its rows; oldest first."""

_MOST = 2000
"""How many of each source."""


def newest_batches(warehouse: Warehouse) -> dict[str, Batches]:
    """The newest batches of every source that has any."""
    found: dict[str, Batches] = {}
    if not warehouse.columns(LANDING, LEDGER):
        return found
    rows = warehouse.query(
        f'select source, stored_at, "ROWS" from {LANDING}.{LEDGER}'  # a word that Snowflake reserves
        f" qualify row_number() over (partition by source order by batch_id desc) <= {_MOST}"
        " order by source, batch_id"
    )
    for source, stored_at, count in rows:
        found.setdefault(source, []).append((stored_at, count))
    return found
