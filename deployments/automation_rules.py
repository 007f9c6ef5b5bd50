"""What is known to go wrong with automations, as rules that are held before any of them is applied.

Each was met on Prefect 3.8; docs/alerts.md tells what it did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change

HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEAT_SECONDS = 30
ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "TimedOut", "Cancelled", "Crashed")}
NOTIFICATIONS = {"send-notification", "call-webhook", "run-deployment"}


def broken_rules(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with automations, one sentence each."""
    names: set[str] = set()
    for entry in entries:
        name, trigger, actions = entry["name"], entry["trigger"], entry["actions"]
        if name in names:
            yield f"'{name}' is there twice: applied by name, one would overwrite the other."
        names.add(name)
        if trigger.get("posture") == "Proactive" and not trigger.get("after"):
            yield f"'{name}' is proactive without `after`: it would fire three windows late, and repeat."
        yield from _heartbeats(name, trigger, actions)
        for action in actions:
            for template in re.findall(r"\{\{(.*?)\}\}", json.dumps(action.get("parameters", {}))):
                if re.search(r"\.id\s*$", template.strip()):
                    yield (
                        f"'{name}' puts {{{{{template}}}}} into a parameter: an id is no JSON, and the "
                        "action would fail unseen. Write `| string` behind it."
                    )


def _heartbeats(name: str, trigger: Mapping[str, Any], actions: list[Any]) -> Iterator[str]:
    if HEARTBEAT not in (trigger.get("after") or []):
        return
    if {action["type"] for action in actions} & NOTIFICATIONS:
        yield (
            f"'{name}' tells somebody when heartbeats stop: it also fires for runs that ended before their "
            "first one arrived. Let it set the state; the call comes from that."
        )
    if missing := sorted({HEARTBEAT, *ENDS} - set(trigger.get("expect") or [])):
        yield f"'{name}' does not expect {', '.join(missing)}: a run that ends so would be called crashed."
    if trigger["within"] < 3 * HEARTBEAT_SECONDS:
        yield f"'{name}' allows fewer than three heartbeats of {HEARTBEAT_SECONDS} s to be lost."
    if "prefect.tag.groundwork" not in json.dumps(trigger.get("match_related") or {}):
        yield f"'{name}' judges everybody's runs, whose heartbeats may be slower. Match our tags."


def server_findings(client: SyncPrefectClient) -> Iterator[Change]:
    """What a server of one's own should be set to, or alerts come late, get lost, or lead nowhere."""
    if client.server_type == ServerType.CLOUD:
        return
    settings = client.request("GET", "/admin/settings").json()
    server = settings.get("server", {})
    ordering = str(server.get("events", {}).get("causal_ordering", ""))
    if ordering.endswith("ordering.memory"):
        yield _unset(
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",
            "set it to prefect.server.events.ordering.db on the server; in memory, an alert can wait 15 "
            "minutes after a restart",
        )
    database = server.get("database", {})
    url = str(database.get("connection_url") or "")
    if url.startswith("sqlite") or (not url and "postgres" not in str(database.get("driver") or "")):
        yield _unset(
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
            "let the server use PostgreSQL; on SQLite, Prefect 3.8 loses and doubles alerts",
        )
    if not (server.get("ui", {}).get("url") or settings.get("ui_url") or server.get("ui_url")):
        yield _unset("PREFECT_UI_URL", "set it on the server; without it links in mails are empty")


def _unset(name: str, why: str) -> Change:
    return Change("missing", "server setting", name, why)
