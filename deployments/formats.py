"""Before an upgrade: can this version read what is there, and can the old one read what this one writes?

Run it with the new version, before its first worker. Old and new may run side by side only while they write
the same formats; else drain first.
"""

from __future__ import annotations

from groundwork import manifest
from groundwork.catalog import load_catalog
from groundwork.errors import GroundworkError
from groundwork.settings import Settings
from groundwork.warehouses import open_warehouse
from tasks.lookup import platform_bucket


def check_formats() -> list[str]:
    """A line per source and one for the warehouse.

    Raises:
        GroundworkError: when something cannot be read by this version, or must not be rolled over.
    """
    settings = Settings()
    bucket, lines, older = platform_bucket(settings), [], []
    for source in load_catalog(settings.catalog):
        newest = manifest.latest(bucket, source)  # refuses a format that is newer than this version's
        if newest is None:
            lines.append(f"source={source} batches=0")
            continue
        lines.append(f"source={source} batch={newest.name} format={newest.version}")
        if newest.version < manifest.COMMITTED_VERSION:
            older.append(source)
    with open_warehouse(settings, who="formats") as warehouse:
        warehouse.query("select 1")
    lines.append(f"warehouse={settings.warehouse} can be read")
    if older:
        raise GroundworkError(
            "upgrade", f"the manifests of {', '.join(older)} are of an older format than this version writes",
            why="a worker of the old version cannot read what this one writes",
            fix="drain and stop the old workers before the first new one; then nothing more is to be done",
        )  # fmt: skip
    lines.append("old and new workers may run side by side")
    return lines
