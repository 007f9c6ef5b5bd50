"""Checks of a manifest against its key, the catalog, and the Parquet footers of its objects.

A manifest's own words decide into which tables and which ledger rows a batch goes. So nothing in it is used
before it agrees with what stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from groundwork.errors import ObjectDamaged

if TYPE_CHECKING:
    from groundwork.catalog import AnySource
    from groundwork.manifest import Manifest, StoredRows

FIX = "restore the object from the bucket's versions; nothing of it was loaded"
RECORD_COLUMNS = frozenset({"record", "_request"})
"""Columns of an object of JSON records."""


def check_against_key(manifest: Manifest, url: str, source: str, batch_id: int) -> None:
    """Make sure that a manifest says what its key says, and lists objects of its own batch.

    Raises:
        ObjectDamaged: naming the first thing that disagrees.
    """
    for wrong in _disagreements(manifest, source, batch_id):
        raise ObjectDamaged(url, wrong, why="a manifest is believed only where its key agrees", fix=FIX)


def _disagreements(manifest: Manifest, source: str, batch_id: int) -> Iterator[str]:
    if manifest.source != source:
        yield f"is a manifest of source '{manifest.source}'"
    if manifest.batch_id != batch_id:
        yield f"is the manifest of batch {manifest.name}"
    keys = [stored.key for stored in manifest.objects]
    if len(set(keys)) < len(keys):
        yield "lists an object twice"
    for stored in manifest.objects:
        place, operations = stored.key.split("/"), sum(stored.operations.values())
        if len(place) != 5 or place[:3] != [source, "data", stored.stream]:
            yield f"lists {stored.key} as an object of stream '{stored.stream}'"
        elif place[3] != manifest.name and not stored.rewritten:
            yield f"lists {stored.key}, an object of another batch"
        if stored.rows < 0 or stored.rows != operations:
            yield f"counts {stored.rows} rows in {stored.key}, and {operations} operations"


def check_against_catalog(manifest: Manifest, url: str, entry: AnySource) -> None:
    """Make sure that a batch brings records where the catalog has records.

    A stream that left the catalog is loaded as it is; a table may have any columns.

    Raises:
        ObjectDamaged: naming the object.
    """
    if entry.kind == "postgres":
        return
    for stored in manifest.objects:
        if stored.stream in entry.streams and not RECORD_COLUMNS.issuperset(stored.columns):
            raise ObjectDamaged(
                url,
                f"lists columns of a table in {stored.key}",
                why=f"the catalog says that {entry.source} is read as JSON records",
                fix=FIX,
            )


def check_against_footer(stored: StoredRows, path: Path, url: str) -> None:
    """Make sure that an object has the rows and columns that its manifest says.

    A rewritten object may hold rows and columns of other batches too.

    Raises:
        ObjectDamaged: when it has others, or is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from groundwork.manifest import METADATA, REWRITTEN

    try:
        footer = pq.read_metadata(path)
        names = list(footer.schema.to_arrow_schema().names)
    except (pa.ArrowException, OSError) as error:
        raise ObjectDamaged(url, "is not a Parquet file", fix=FIX) from error
    lacking = {*stored.columns, *METADATA, *(REWRITTEN if stored.rewritten else ())} - set(names)
    if lacking:
        raise ObjectDamaged(url, f"lacks the columns {', '.join(sorted(lacking))}", fix=FIX)
    if stored.rewritten:
        if footer.num_rows < stored.rows:
            raise ObjectDamaged(url, f"has {footer.num_rows} rows, its manifest says {stored.rows}", fix=FIX)
        return
    if footer.num_rows != stored.rows:
        raise ObjectDamaged(url, f"has {footer.num_rows} rows, its manifest says {stored.rows}", fix=FIX)
    more = [name for name in names if name not in METADATA and name not in stored.columns]
    if more:
        raise ObjectDamaged(url, f"has {len(more)} columns that its manifest does not list", fix=FIX)
