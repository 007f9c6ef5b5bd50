"""Automations on Prefect Cloud, which mails by itself: ``send-email-notification`` needs no block.

Prefect's client knows only what the open-source server knows, and cannot even read an automation with that
action. So they are read and written as plain JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from deployments.changes import Change, differences

_SETS = ("after", "expect", "for_each")
_PAGE = 100


def apply_in_cloud(
    client: SyncPrefectClient, wanted: Sequence[dict[str, Any]], *, ours: str, dry_run: bool, prune: bool
) -> Iterator[Change]:
    """Make a workspace's automations agree with those that are wanted, by name.

    Args:
        client: speaks to Cloud.
        wanted: as Cloud takes them, with ids.
        ours: what the names of ours begin with; others are never touched.
        dry_run: say what would change, and change nothing.
        prune: remove those of ours that are not wanted any more.
    """
    existing: dict[str, list[dict[str, Any]]] = {}
    for automation in _read(client):
        existing.setdefault(automation["name"], []).append(automation)
    for entry in wanted:
        there = existing.pop(entry["name"], [])
        yield _apply(client, entry, there, dry_run)
    for name in sorted(existing):
        if prune and name.startswith(ours):
            for automation in existing[name]:
                _delete(client, automation, dry_run)
            yield Change("removed", "automation", name)


def _apply(
    client: SyncPrefectClient, entry: dict[str, Any], there: list[dict[str, Any]], dry_run: bool
) -> Change:
    kind, name = "automation", entry["name"]
    for double in there[1:]:
        _delete(client, double, dry_run)
    if not there:
        if not dry_run:
            client.request("POST", "/automations/", json=entry)
        return Change("created", kind, name)
    fields = differences(_told(there[0], like=entry), _told(entry, like=entry))
    if not fields and len(there) == 1:
        return Change("unchanged", kind, name)
    if not dry_run:
        client.request("PUT", f"/automations/{there[0]['id']}", json=entry)  # type: ignore[arg-type]
    return Change("updated", kind, name, fields=fields)


def _read(client: SyncPrefectClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        body = {"limit": _PAGE, "offset": len(found)}
        page = client.request("POST", "/automations/filter", json=body).json()
        found += page
        if len(page) < _PAGE:
            return found


def _delete(client: SyncPrefectClient, automation: dict[str, Any], dry_run: bool) -> None:
    if not dry_run:
        client.request("DELETE", f"/automations/{automation['id']}")  # type: ignore[arg-type]


def _told(there: Any, *, like: Any) -> Any:
    """What is there, without what Cloud adds to what it was sent (ids, times, defaults)."""
    if isinstance(like, dict) and isinstance(there, dict):
        told = {name: _told(there.get(name), like=value) for name, value in like.items()}
        return {
            name: sorted(value) if name in _SETS and isinstance(value, list) else value
            for name, value in told.items()
        }
    if isinstance(like, list) and isinstance(there, list) and len(like) == len(there):
        return [_told(one, like=wanted) for one, wanted in zip(there, like, strict=True)]
    return there
