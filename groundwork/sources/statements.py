"""The SQL that messages suggest: one function for each statement, or for several that belong together.

A message takes its SQL from here and holds none itself. A test runs
each on a server and sees that it does what the message says, and no more
(`tests/integration/capture/test_suggested_sql.py`).
A table's name is given quoted, with its schema; all other names as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundwork.sources.wire import quoted


def drop_table(publication: str, table: str) -> str:
    """Take one table out of a publication."""
    return f"alter publication {quoted(publication)} drop table {table};"


def publish_again(publication: str, table: str, columns: Sequence[str], row_filter: str) -> str:
    """Publish one table with other columns, in one transaction; its row filter stays.

    Args:
        publication: its name.
        table: quoted.
        columns: what it shows from then on; all when empty.
        row_filter: as PostgreSQL prints it.
    """
    listed = f" ({', '.join(map(quoted, columns))})" if columns else ""
    kept = f" where ({row_filter})" if row_filter else ""
    name = quoted(publication)
    return (
        f"begin; alter publication {name} drop table {table}; "
        f"alter publication {name} add table {table}{listed}{kept}; commit;"
    )
