"""Digests: one canonical digest per table, so that two warehouses, or one before and after, can be compared.

What may differ between two warehouses that hold the same is named in `VARYING` and left out by rule: when
rows were loaded and models built, and by which run. Everything else must be equal to the letter.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from groundwork.bucket import Bucket
from groundwork.dbt_turn import newest_batches
from groundwork.errors import KeyMissing, WarehouseError
from groundwork.manifest import batch_name, now
from groundwork.warehouses import LANDING, LEDGER, Warehouse
from groundwork.warehouses.canonical import Digest

log = logging.getLogger(__name__)

LAYERS = (LANDING, "staging", "visualization")
VARYING = frozenset(
    {"_loaded_at", "_built_at"}  # of rows, in every layer
    | {"loaded_at", "load_run_id"}  # of batches: the ledger, and what is made of it
    | {"wait_seconds", "load_run_name", "load_state_type"}  # operations.loads, computed from these two
)
"""Columns that tell when or by which run rows were loaded or built."""

PREFIX = "artifacts/digests"
LARGEST = 2_000_000
"""Rows of a table that is digested after every run; larger ones when they are asked for."""


class TableDigest(BaseModel):
    """What one table or view held."""

    model_config = ConfigDict(frozen=True)
    rows: int = 0
    upper: int = 0
    lower: int = 0
    why: str = ""
    """Why there is none, if there is none."""

    @property
    def text(self) -> str:
        """For people: thirty hexadecimal digits, or why there are none."""
        return self.why or Digest(self.rows, self.upper, self.lower).text


class Digests(BaseModel):
    """What a warehouse held at one moment, table by table."""

    model_config = ConfigDict(frozen=True)
    version: int = 1
    warehouse: str
    at: datetime
    run_id: str = ""
    batches: dict[str, int]
    """The newest batch in the ledger, per source."""
    tables: dict[str, TableDigest]
    """By ``schema.table``."""


def take(
    warehouse: Warehouse,
    name: str,
    *,
    layers: Iterable[str] = LAYERS,
    run_id: str = "",
    earlier: Digests | None = None,
    largest: int | None = None,
) -> Digests:
    """Digest every table and view of the layers.

    Args:
        warehouse: an open one.
        name: what it is called in the record.
        layers: schemas.
        run_id: the flow run on whose behalf this is.
        earlier: a record of the same warehouse: of landing only what was loaded since is read, and added.
        largest: leave tables with more rows than this out.
    """
    at = now()
    batches = newest_batches(warehouse) if LEDGER in warehouse.tables(LANDING) else {}
    found = {}
    for schema in layers:
        for table in warehouse.tables(schema):
            if schema != LANDING or table == LEDGER or not table.startswith("_"):
                found[f"{schema}.{table}"] = _table(warehouse, schema, table, earlier, largest)
    return Digests(warehouse=name, at=at, run_id=run_id, batches=batches, tables=found)


def _table(
    warehouse: Warehouse, schema: str, table: str, earlier: Digests | None, largest: int | None
) -> TableDigest:
    try:
        counted = warehouse.count(schema, table)
        before = earlier.tables.get(f"{schema}.{table}") if earlier and schema == LANDING else None
        if earlier and before and not before.why and table != LEDGER:
            # Sums of parts add up; a count that does not says that rows were taken away.
            source = max((s for s in earlier.batches if table.startswith(f"{s}__")), key=len, default="")
            known = batch_name(earlier.batches[source]) if source else ""
            since = warehouse.digest(schema, table, VARYING, after=known) if known else Digest(0, 0, 0)
            sum_ = Digest(before.rows, before.upper, before.lower) + since
            if known and sum_.rows == counted:
                return TableDigest(rows=sum_.rows, upper=sum_.upper, lower=sum_.lower)
        if largest is not None and counted > largest:
            return TableDigest(rows=counted, why=f"more than {largest} rows: when it is asked for")
        digest = warehouse.digest(schema, table, VARYING)
    except WarehouseError as error:  # one odd model does not keep us from the others
        log.warning("no digest table=%s.%s why=%s", schema, table, error.what)
        return TableDigest(why=error.what)
    return TableDigest(rows=digest.rows, upper=digest.upper, lower=digest.lower)


def differing(one: Digests, other: Digests, only: Collection[str] | None = None) -> dict[str, str]:
    """Tables that are not the same in both, each with how.

    Args:
        one: a record.
        other: another one.
        only: names of tables that count; all of both when None.
    """
    told = {}
    for name in sorted(only if only is not None else one.tables.keys() | other.tables.keys()):
        here, there = one.tables.get(name), other.tables.get(name)
        if here is None or there is None:
            told[name] = f"is only in {(one if there is None else other).warehouse}"
        elif here.why or there.why:
            told[name] = f"was not compared: {here.why or there.why}"
        elif here.rows != there.rows:
            told[name] = f"{here.rows} rows here, {there.rows} there"
        elif here != there:
            told[name] = f"{here.rows} rows in both, of other content"
    return told


def keep(bucket: Bucket, digests: Digests) -> str:
    """Store a record; its key."""
    place = f"{PREFIX}/{digests.warehouse}"
    key = f"{place}/{digests.at:%Y-%m-%d}/{digests.at:%H%M%S}-{uuid.uuid4().hex[:8]}.json"
    body = digests.model_dump_json(indent=1).encode()
    bucket.put(key, body)
    bucket.put(f"{place}/newest.json", body)
    return key


def newest(bucket: Bucket, warehouse: str) -> Digests | None:
    """The record that was stored last for a warehouse, if there is one."""
    try:
        return Digests.model_validate_json(bucket.get(f"{PREFIX}/{warehouse}/newest.json"))
    except KeyMissing:
        return None
