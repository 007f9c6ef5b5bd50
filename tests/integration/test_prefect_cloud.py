"""Applying to Prefect Cloud: by its addresses, with its key, and with what only Cloud has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from prefect.client.base import ServerType
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLOUD_API_URL,
    temporary_settings,
)

from demo.prefect_server import PrefectServer
from deployments.apply import apply
from tests.commands import PROJECT, run_command
from tests.integration.cloud import KEY, Cloud


@pytest.fixture
def cloud(
    deployed: str, platform: dict[str, str], prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    made = Cloud(prefect_server)
    monkeypatch.chdir(PROJECT)
    for name, value in {**platform, **made.environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PREFECT_API_AUTH_STRING")  # Cloud has keys
    settings = {
        PREFECT_API_URL: made.url,
        PREFECT_API_KEY: KEY,
        PREFECT_CLOUD_API_URL: made.environment["PREFECT_CLOUD_API_URL"],
    }
    with temporary_settings(settings, restore_defaults={PREFECT_API_AUTH_STRING}):
        yield made
    made.close()


def test_applying_to_cloud_uses_its_own_mail_and_agreements_and_asks_for_nothing_it_has_not(
    cloud: Cloud, platform: dict[str, str]
) -> None:
    with get_client(sync_client=True) as client:
        assert client.server_type == ServerType.CLOUD
    first = list(map(str, apply()))
    assert cloud.limited == 1, "a request that was put off was sent again"
    assert cloud.refused == []
    assert "unchanged deployment" not in first and "created   agreements 'ingest-shop'" in first

    # every mail is Cloud's own: no block of ours takes part
    actions = [action for one in cloud.automations.values() for action in one["actions"]]
    mails = [action for action in actions if action["type"] == "send-email-notification"]
    assert mails and all(mail["emails"] == ["data-team@example.com"] for mail in mails)
    assert "send-notification" not in {action["type"] for action in actions}

    # what the catalog promises: looked at every five minutes, so stale after 1.5 × 5 + 10
    stale = {
        name: one["stale_after"]
        for agreed in cloud.agreements.values()
        for name, one in agreed.items()
        if "stale_after" in one
    }
    assert stale["shop is looked at"] == 17.5 * 60
    assert set(stale) == {"shop is looked at", "payments is looked at", "ops is looked at"}

    names, agreed = sorted(one["name"] for one in cloud.automations.values()), dict(cloud.agreements)
    again = list(map(str, apply(prune=True)))
    assert "unchanged agreements 'ingest-shop'" in again
    outcomes = {
        line.split()[0] for line in again if "shop-database-url" not in line and "payments" not in line
    }
    assert outcomes == {"unchanged"}
    assert sorted(one["name"] for one in cloud.automations.values()) == names
    assert cloud.agreements == agreed

    # somebody changed one in the UI, made another, and one is ours from before
    one = next(one for one in cloud.automations.values() if one["name"] == names[0])
    one["actions"][0]["subject"] = "changed"
    for name in ("somebody else's", "groundwork: from before"):
        made = str(uuid.uuid4())
        cloud.automations[made] = {**one, "id": made, "name": name}
    told = "\n".join(map(str, apply(prune=True)))
    assert f"updated   automation '{names[0]}'\n            actions[0].subject: 'changed' →" in told
    assert "removed   automation 'groundwork: from before'" in told
    assert sorted(one["name"] for one in cloud.automations.values()) == sorted([*names, "somebody else's"])


def test_prefect_deploy_goes_to_cloud_as_it_goes_to_a_server(cloud: Cloud, platform: dict[str, str]) -> None:
    environment = {**platform, **cloud.environment}
    del environment["PREFECT_API_AUTH_STRING"]  # Cloud has keys
    told = run_command("prefect", "--no-prompt", "deploy", "-n", "replay", environment=environment)
    assert "successfully created" in told and cloud.refused == []
