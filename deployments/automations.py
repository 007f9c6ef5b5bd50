"""Automations as code: an upsert by name, since Prefect's own ``create`` doubles them when repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from deployments.automation_rules import broken_rules, server_findings
from deployments.blocks import MAIL_BLOCK
from deployments.changes import Change, differences
from deployments.cloud_automations import apply_in_cloud
from deployments.saved_settings import saved_settings
from deployments.windows import expanded, windows
from groundwork.catalog import load_catalog
from groundwork.errors import GroundworkError, SettingMissing
from groundwork.settings import Settings

FILE = Path(__file__).with_name("automations.yaml")
PREFECT_YAML = Path("prefect.yaml")
MAIL = f"slack-webhook/{MAIL_BLOCK}"
OURS = "groundwork: "
"""What the names of our automations begin with; others are never touched."""


def apply_automations(
    client: SyncPrefectClient, *, dry_run: bool, prune: bool, file: Path = FILE
) -> Iterator[Change]:
    """Make Prefect's automations agree with the file.

    Args:
        client: speaks to the server.
        dry_run: say what would change, and change nothing.
        prune: remove automations of ours that the file does not name any more.
        file: the automations.

    Raises:
        GroundworkError: when one of them would do what is known to go wrong (`automation_rules`).
        SettingMissing: when a deployment or block that one of them names is not there yet.
    """
    wanted = read_wanted(file, saved_settings())
    if broken := list(broken_rules(wanted)):
        raise GroundworkError(str(file), "holds automations that would not work", why=" ".join(broken))
    if client.server_type == ServerType.CLOUD:
        entries = [_resolved(client, entry) for entry in wanted]
        yield from apply_in_cloud(client, entries, ours=OURS, dry_run=dry_run, prune=prune)
        return
    existing: dict[str, list[Automation]] = {}
    for automation in read_automations(client):
        existing.setdefault(automation.name, []).append(automation)
    for entry in wanted:
        yield _apply(client, _resolved(client, entry), existing.get(entry["name"], []), dry_run)
    for name in sorted(set(existing) - {entry["name"] for entry in wanted}):
        if prune and name.startswith(OURS):
            for automation in existing[name]:
                if not dry_run:
                    client.delete_automation(automation.id)
                yield Change("removed", "automation", name)
    yield from server_findings(client)


def read_wanted(file: Path = FILE, settings: Settings | None = None) -> list[dict[str, Any]]:
    """The automations of the file, one for each deployment where it says so.

    Args:
        file: the automations.
        settings: say where runbooks are, and how late anything may be; this process's when None.
    """
    settings = settings or Settings()
    found = windows(load_catalog(settings.catalog), PREFECT_YAML, settings)
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    return list(expanded(entries, found, settings.runbooks))


def read_automations(client: SyncPrefectClient) -> list[Automation]:
    """Every automation there is."""
    found: list[Automation] = []
    while page := client.read_automations(limit=100, offset=len(found)):
        found += page
    return found


def _apply(
    client: SyncPrefectClient, entry: dict[str, Any], existing: list[Automation], dry_run: bool
) -> Change:
    name = entry["name"]
    wanted = AutomationCore.model_validate(entry)
    for double in existing[1:]:
        if not dry_run:
            client.delete_automation(double.id)
    if not existing:
        if not dry_run:
            client.create_automation(wanted)
        return Change("created", "automation", name)
    kept = existing[0]
    fields = differences(_comparable(kept), _comparable(wanted))
    if not fields and len(existing) == 1:
        return Change("unchanged", "automation", name)
    if not dry_run:
        client.update_automation(kept.id, wanted)
    return Change("updated", "automation", name, fields=fields)


def _comparable(automation: AutomationCore) -> dict[str, Any]:
    content = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
    trigger = content["trigger"]
    for several in ("after", "expect", "for_each"):  # sets, which come back in any order
        if several in trigger:
            trigger[several] = sorted(trigger[several])
    return content


def _resolved(client: SyncPrefectClient, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with ids in the places of names."""
    cloud = client.server_type == ServerType.CLOUD
    actions = [_action(client, dict(action), entry["name"], cloud) for action in entry["actions"]]
    return {"enabled": True, "description": "", **entry, "actions": [one for one in actions if one]}


def _action(client: SyncPrefectClient, action: dict[str, Any], name: str, cloud: bool) -> dict[str, Any]:
    """The action with ids; nothing for an optional one whose block is not there."""
    optional = action.pop("optional", False)
    if "deployment" in action:
        wanted = action.pop("deployment")
        try:
            action["deployment_id"] = str(client.read_deployment_by_name(wanted).id)
        except ObjectNotFound as error:
            raise SettingMissing(
                f"automation '{name}'", f"there is no deployment '{wanted}'",
                fix="run `prefect --no-prompt deploy --all`, then apply again; or apply with --deploy",
            ) from error  # fmt: skip
    if cloud and action.get("block") == MAIL:
        from prefect.variables import Variable

        emails = [one.strip() for one in str(Variable.get("groundwork_alert_to") or "").split(",")]
        if not any(emails):
            raise SettingMissing(
                f"automation '{name}'",
                "has nobody to mail to",
                why="the Prefect variable groundwork_alert_to is not set",
                fix="set GROUNDWORK_ALERT_TO and apply again",
            )
        parts = {part: action[part] for part in ("subject", "body")}
        return {"type": "send-email-notification", "emails": emails, **parts}
    if "block" in action:
        slug, _, block = action.pop("block").partition("/")
        try:
            found = client.read_block_document_by_name(block, slug)
        except ObjectNotFound as error:
            if optional:
                return {}
            raise SettingMissing(
                f"automation '{name}'", f"there is no block '{slug}/{block}'",
                fix="set GROUNDWORK_SMTP_URL, GROUNDWORK_ALERT_FROM and GROUNDWORK_ALERT_TO, apply again",
            ) from error  # fmt: skip
        action["block_document_id"] = str(found.id)
    return action
