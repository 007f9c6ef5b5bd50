"""Settings of a Prefect server of one's own without which alerts are late or runs wait for ever.

Prefect Cloud takes care of them itself. What each prevents was measured: docs/prefect-traps.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import prefect
from packaging.version import Version
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change

ORDERING = "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING"
LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
UI = "PREFECT_UI_URL"


def check_server(client: SyncPrefectClient) -> Iterator[Change]:
    """Tell which settings the server lacks, each with what to set; nothing for Prefect Cloud."""
    if client.server_type == ServerType.CLOUD:
        return
    told = client.request("GET", "/admin/settings").json()
    version = client.request("GET", "/admin/version").json()
    yield from complaints(told, str(version))


def complaints(settings: Mapping[str, Any], version: str) -> Iterator[Change]:
    """What is wrong with a server of these settings, as it tells them, and of this version."""
    server = settings["server"]
    if "ordering.db" not in str(server["events"]["causal_ordering"]):
        yield _lacking(
            ORDERING, "after a restart an alert can wait 15 minutes; set prefect.server.events.ordering.db"
        )
    if str(server["concurrency"]["lease_storage"]).endswith("memory"):
        yield _lacking(
            LEASES,
            "a restart can leave a deployment's only place taken for ever; set "
            "prefect.server.concurrency.lease_storage.filesystem, with PREFECT_HOME on a disk that stays",
        )
    if not settings.get("ui_url"):
        yield _lacking(UI, "mails cannot link to a run; set the address that people open")
    if Version(version) < Version(prefect.__version__):
        yield Change(
            "missing", "server version", prefect.__version__,
            f"the server is {version}; upgrade it before its workers",
        )  # fmt: skip


def _lacking(setting: str, why: str) -> Change:
    return Change("missing", "server setting", setting, why)
