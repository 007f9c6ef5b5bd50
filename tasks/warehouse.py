"""The warehouse, for flow runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundwork.settings import Settings
    from groundwork.warehouses import Warehouse


def platform_warehouse(
    settings: Settings, who: str, *, read_only: bool = False
) -> AbstractContextManager[Warehouse]:
    """Open the warehouse that the settings name, in the name of this flow run."""
    from groundwork.warehouses import open_warehouse
    from tasks.lookup import run_id

    return open_warehouse(settings, who=who, read_only=read_only, run_id=run_id())
