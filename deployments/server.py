"""What a Prefect server of one's own must be set to, or runs wait for ever and strangers run code.

Prefect Cloud is so by itself. What alerts need of the server is in `deployments.automation_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import prefect
from packaging.version import Version
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change
from deployments.dead_mans_switch.switch import LOOKED
from tasks.run_states import SWITCH as QUIET

LATELY = timedelta(minutes=10)
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
    yield from _open_doors(settings["server"]["api"])
    if Version(version) < Version(prefect.__version__):
        yield Change(
            "missing", "server version", prefect.__version__,
            f"the server is {version}; upgrade it before its workers",
        )  # fmt: skip


def unwatched(client: SyncPrefectClient) -> str:
    """What to do when no dead man's switch has looked at this server lately; empty when one has."""
    quiet, looked = client.read_variable_by_name(QUIET), client.read_variable_by_name(LOOKED)
    if quiet is not None and quiet.value == "off":
        return ""  # nothing runs by itself, so nothing can stop
    newest = datetime.fromisoformat(str(looked.value)) if looked is not None else None
    if newest is not None and abs(datetime.now(UTC) - newest) < LATELY:
        return ""
    return (
        "no dead man's switch has looked at this server for ten minutes: no mail comes when the worker, the "
        "scheduler or the server itself stops; see docs/alerts.md"
    )


def _open_doors(api: Mapping[str, Any]) -> Iterator[Change]:
    """Settings that protect the API: a login, allowed origins, CSRF tokens. Write access runs code."""
    kind = "server setting"
    if not api["auth_string"]:
        yield Change(
            "missing",
            kind,
            "PREFECT_SERVER_API_AUTH_STRING",
            "without a login, any client of the API can run code and read secrets; "
            "set user:password on the server, and the same as PREFECT_API_AUTH_STRING for people and "
            "workers, unless a proxy asks for a login",
        )
    if "*" in str(api["cors_allowed_origins"]).split(","):
        yield Change(
            "missing",
            kind,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS",
            "any web page in a browser can read the API's answers; set the user interface's address",
        )
    if not api["csrf_protection_enabled"]:
        yield Change(
            "missing",
            kind,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED",
            "a web page could make a person's browser write to the API; set true",
        )
