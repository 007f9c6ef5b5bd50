"""Cleansing: what an erasure took out of the bucket is taken out of the warehouse too.

Rows are known by their place (`_file`, `_row`), which the record of the erasure holds: nobody needs the
subject's name for it, any number of warehouses can be cleansed, and doing it twice changes nothing. Landing
and the base models lose rows; everything after them is built anew, because figures are made of rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from groundwork import manifest
from groundwork.bucket import Bucket
from groundwork.errors import WarehouseError
from groundwork.keep.records import Rewrite
from groundwork.landing import table_name
from groundwork.warehouses import LANDING, LandingBatch, Warehouse

log = logging.getLogger(__name__)

STAGING = "staging"
_AT_ONCE = 500
"""Rows that one statement deletes."""


def cleanse(warehouse: Warehouse, bucket: Bucket, records: Iterable[Rewrite], run_id: str = "") -> int:
    """Delete the rows of erasures from landing and the base models; the ledger says what is left.

    Args:
        warehouse: an open one.
        bucket: where the manifests are.
        records: of erasures whose bucket is rewritten.
        run_id: on whose behalf.

    Returns:
        How many rows landing had of them.

    Raises:
        WarehouseError: when the warehouse refuses.
    """
    deleted = 0
    for record in records:
        for stream, files in record.removed.items():
            table = table_name(record.source, stream)
            deleted += _delete(warehouse, LANDING, table, files)
            _delete(warehouse, STAGING, f"base_{table}", files)
        _enter(warehouse, bucket, record, run_id)
    return deleted


def base_models(records: Iterable[Rewrite]) -> list[str]:
    """Names of the base models that lose rows."""
    tables = {table_name(record.source, stream) for record in records for stream in record.removed}
    return sorted(f"base_{table}" for table in tables)


def build_arguments(models: Sequence[str]) -> list[str]:
    """What dbt is asked for: everything after the base models, anew, but not the base models."""
    return [
        *("run", "--quiet", "--full-refresh"),
        *("--select", *(f"{model}+" for model in models), "--exclude", *models),
    ]


def _delete(warehouse: Warehouse, schema: str, table: str, files: dict[str, list[int]]) -> int:
    if not warehouse.columns(schema, table):
        return 0
    name, deleted = f"{schema}.{warehouse.quoted(table)}", 0
    for file, numbers in _portions(files):
        which = f"_file = ? and _row in ({', '.join('?' * len(numbers))})"
        parameters = [file, *numbers]
        deleted += int(warehouse.query(f"select count(*) from {name} where {which}", parameters)[0][0])
        warehouse.query(f"delete from {name} where {which}", parameters)
    log.info("erased table=%s.%s rows=%d", schema, table, deleted)
    return deleted


def _portions(files: dict[str, list[int]]) -> Iterator[tuple[str, list[int]]]:
    for file, numbers in sorted(files.items()):
        for begin in range(0, len(numbers), _AT_ONCE):
            yield file, numbers[begin : begin + _AT_ONCE]


def _enter(warehouse: Warehouse, bucket: Bucket, record: Rewrite, run_id: str) -> None:
    """Let the ledger say of each batch what it holds now, as a replay would."""
    newest = warehouse.loaded(record.source)
    numbers = sorted({batch for one in record.replacements for batch in one.batches if batch <= newest})
    entries = []
    for number in numbers:
        there = manifest.read(bucket, record.source, number)
        if there is None:
            raise WarehouseError(
                f"ledger of '{record.source}'", f"knows batch {number}, which the bucket does not have",
                fix=f"python -m groundwork replay {record.source}",
            )  # fmt: skip
        entries.append(LandingBatch(there, []))
    if entries:
        warehouse.land(entries, run_id)
