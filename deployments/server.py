"""What a Prefect server of one's own must be like, or runs wait for ever; Prefect Cloud is so by itself.

What alerts need of it is in `deployments.automation_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import prefect
from packaging.version import Version
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change

LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"


def check_server(client: SyncPrefectClient) -> Iterator[Change]:
    """Tell which settings the server lacks, each with what to set; nothing for Prefect Cloud."""
    if client.server_type == ServerType.CLOUD:
        return
    told = client.request("GET", "/admin/settings").json()
    version = client.request("GET", "/admin/version").json()
    yield from complaints(told, str(version))


def complaints(settings: Mapping[str, Any], version: str) -> Iterator[Change]:
    """What is wrong with a server of these settings, as it tells them, and of this version."""
    if str(settings["server"]["concurrency"]["lease_storage"]).endswith("memory"):
        yield Change(
            "missing", "server setting", LEASES,
            "a restart can leave a deployment's only place taken for ever; set "
            "prefect.server.concurrency.lease_storage.filesystem, with PREFECT_HOME on a disk that stays",
        )  # fmt: skip
    if Version(version) < Version(prefect.__version__):
        yield Change(
            "missing", "server version", prefect.__version__,
            f"the server is {version}; upgrade it before its workers",
        )  # fmt: skip
