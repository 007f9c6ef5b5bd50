"""Applying what surrounds the platform: all of it the first time, nothing the second time."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

from tests.commands import pause_schedules, run_command


def outcomes(report: str) -> set[str]:
    lines = [line for line in report.splitlines() if "database-url" not in line]
    return {line.split()[0] for line in lines if "payments" not in line}


def automations() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        return {a.name: str(a.id) for a in client.read_automations()}


def deployments() -> dict[str, object]:
    with get_client(sync_client=True) as client:
        return {
            d.name: (d.id, d.tags, d.entrypoint, d.parameters, [(s.id, s.slug) for s in d.schedules])
            for d in client.read_deployments()
        }


def test_the_first_apply_creates_everything(deployed: str) -> None:
    assert outcomes(deployed) == {"created"}
    assert "groundwork: run failed" in automations()


def test_applying_and_deploying_again_changes_nothing(
    deployed: str, platform: dict[str, str], prefect_api: str
) -> None:
    before = automations(), deployments()
    report = run_command("deployments.apply", "--deploy", "--prune", environment=platform)
    pause_schedules()
    assert outcomes(report) == {"unchanged"}
    assert (automations(), deployments()) == before


def test_a_dry_run_tells_and_changes_nothing(
    deployed: str, platform: dict[str, str], prefect_api: str
) -> None:
    other = {**platform, "GROUNDWORK_ALERT_TO": "someone-else@example.com"}
    told = run_command("deployments.apply", "--dry-run", environment=other)
    assert "updated   variable 'groundwork_alert_to'" in told
    assert "updated   block slack-webhook 'groundwork-mail'" in told
    again = run_command("deployments.apply", "--dry-run", environment=platform)
    assert outcomes(again) == {"unchanged"}


def test_prune_removes_doubles_and_what_is_not_named_any_more(
    deployed: str, platform: dict[str, str], prefect_api: str
) -> None:
    with get_client(sync_client=True) as client:
        ours = client.read_automations_by_name("groundwork: run failed")[0]
        for name in ("groundwork: gone from the file", "groundwork: run failed", "another team's"):
            again = AutomationCore.model_validate({**ours.model_dump(), "name": name})
            client.create_automation(again)
    report = run_command("deployments.apply", "--prune", environment=platform)
    assert "removed   automation 'groundwork: gone from the file'" in report
    assert "updated   automation 'groundwork: run failed'" in report
    with get_client(sync_client=True) as client:
        names = [a.name for a in client.read_automations()]
        assert names.count("groundwork: run failed") == 1
        assert "groundwork: gone from the file" not in names
        assert "another team's" in names
        client.delete_automation(client.read_automations_by_name("another team's")[0].id)
