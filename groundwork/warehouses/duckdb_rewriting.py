"""A DuckDB file written anew: what was deleted from it is not in its bytes any more.

A deletion marks rows; their texts stay in the file until their blocks happen to be used again. After an
erasure that is not enough.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from contextlib import ExitStack
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
        with ExitStack() as stack:
            stack.enter_context(writer_lock(file, "forget"))
            remove_copies(file)
            temporary = tempfile.TemporaryDirectory(prefix=_prefix(file), dir=file.parent)
            directory = stack.enter_context(temporary)
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
    log.info("warehouse file written again warehouse=%s bytes=%d", file.name, file.stat().st_size)


def remove_copies(file: Path) -> None:
    """Remove the copies of a file that killed processes left beside it; hold its writer lock meanwhile."""
    for left in copies_of(file):
        log.info("removed copy of warehouse=%s directory=%s", file.name, left.name)
        shutil.rmtree(left)


def copies_of(file: Path) -> list[Path]:
    """Directories beside a file with copies that killed processes left, or that one is writing now."""
    return sorted([*file.parent.glob(f"{_prefix(file)}*"), *file.parent.glob(".anew-*")])


def _prefix(file: Path) -> str:
    return f".copy-of-{file.name}-"
