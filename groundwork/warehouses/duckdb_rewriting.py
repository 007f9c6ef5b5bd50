"""A DuckDB file written anew: what was deleted from it is not in its bytes any more.

A deletion marks rows; their texts stay in the file until their blocks happen to be used again. After an
erasure that is not enough.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import duckdb

from groundwork.errors import WarehouseError
from groundwork.warehouses.writer import writer_lock

log = logging.getLogger(__name__)


def write_anew(file: Path) -> None:
    """Put a copy of all that the file holds in its place; readers see the old file or the new one.

    Args:
        file: the DuckDB file; as much room again is needed beside it.

    Raises:
        WarehouseError: when it cannot be copied; the file is as it was then.
    """
    try:
        with (
            writer_lock(file, "forget"),
            tempfile.TemporaryDirectory(prefix=".anew-", dir=file.parent) as directory,
        ):
            # Of the same name: dbt's views name their database.
            draft = Path(directory) / file.name
            with duckdb.connect(str(draft)) as connection:
                connection.execute("set preserve_insertion_order = false")
                name = connection.execute("select current_database()").fetchall()[0][0]
                connection.execute(
                    f"attach '{str(file).replace(chr(39), chr(39) * 2)}' as before (read_only)"
                )
                connection.execute(f'copy from database before to "{name}"')
                connection.execute("detach before")
            draft.replace(file)
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(
            str(file), "cannot be written anew, and so may still hold deleted rows in its bytes",
            why=str(error).splitlines()[0][:300],
            fix="free space, close programs that hold it, then: python -m groundwork forget --resume",
        ) from error  # fmt: skip
    log.info("written anew warehouse=%s bytes=%d", file.name, file.stat().st_size)
