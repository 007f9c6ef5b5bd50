"""Applying what surrounds the platform: all of it the first time, nothing the second time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Failed

from demo.prefect_server import PrefectWorker
from deployments import stanzas
from deployments.apply import apply as apply_everything
from groundwork.errors import GroundworkError, SettingMissing
from tests.commands import PROJECT, pause_schedules, run_command
from tests.conditions import until
from tests.ear import listening
from tests.integration.deploying import all_ended, at_once, deploy_flow, start_run, states


def outcomes(report: str) -> set[str]:
    lines = [line for line in report.splitlines() if "database-url" not in line]
    return {line.split()[0] for line in lines if "payments" not in line}


def automations() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        return {a.name: str(a.id) for a in client.read_automations()}


def deployments() -> dict[str, Any]:
    """Everything that Prefect keeps of each deployment, but when it was written last."""
    when = {"updated", "last_polled", "status", "paused"}
    with get_client(sync_client=True) as client:
        found = [d.model_dump(mode="json", exclude=when) for d in client.read_deployments()]
    for deployment in found:
        for schedule in deployment["schedules"]:
            del schedule["updated"]
        if limit := deployment["global_concurrency_limit"]:
            del limit["updated"]
    return {deployment["name"]: deployment for deployment in found}


def surroundings() -> dict[str, Any]:
    """Pool, queues, limits, blocks and variables as Prefect keeps them; of blocks what is no secret."""
    asked = {
        "pool": ("GET", "/work_pools/groundwork"),
        "queues": ("POST", "/work_pools/groundwork/queues/filter"),
        "limits": ("POST", "/v2/concurrency_limits/filter"),
        "variables": ("POST", "/variables/filter"),
        "blocks": ("POST", "/block_documents/filter"),
    }
    with get_client(sync_client=True) as client:
        found = {
            name: client.request(method, path, **({"json": {}} if method == "POST" else {})).json()  # type: ignore[arg-type]
            for name, (method, path) in asked.items()
        }
    return {name: without_times(content) for name, content in found.items()}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        passing = {"updated", "last_polled", "status", "active_slots", "block_type", "block_schema"}
        return {key: without_times(inner) for key, inner in value.items() if key not in passing}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def runbook_links() -> str:
    """Every automation's actions, which hold the links of mails."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/automations/filter", json={"limit": 200}).json()
    return json.dumps(sorted(([one["name"], one["actions"]] for one in found), key=str))


def windows_of_automations() -> dict[str, float]:
    """Seconds that each automation waits."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/automations/filter", json={"limit": 200}).json()
    return {one["name"]: one["trigger"].get("within", 0) for one in found}


Apply = Callable[..., str]


@pytest.fixture
def apply(deployed: str, platform: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Apply:
    """Apply in this process, which has loaded Prefect already; what is reported."""
    monkeypatch.chdir(PROJECT)
    for name, value in platform.items():
        monkeypatch.setenv(name, value)

    def run(changed: Mapping[str, str] | None = None, **options: Any) -> str:
        with monkeypatch.context() as within:
            for name, value in (changed or {}).items():
                within.setenv(name, value)
            return "\n".join(map(str, apply_everything(**options)))

    return run


def refused(*arguments: str, environment: dict[str, str]) -> str:
    """What a command says that must fail."""
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=PROJECT, env={**os.environ, **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode != 0, result.stdout
    return result.stdout + result.stderr


def environment_file(directory: Path, **more: Any) -> str:
    """The local environment with something more, as a file."""
    content = yaml.safe_load((PROJECT / "deployments/environments/local.yaml").read_text())
    for name, value in more.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    file = directory / "more.yaml"
    file.write_text(yaml.safe_dump({"name": "local", **content}))
    return str(file)


def test_the_first_apply_creates_everything(deployed: str) -> None:
    assert outcomes(deployed) == {"created"}
    assert "groundwork: run failed" in automations()


def test_applying_and_deploying_again_changes_nothing(apply: Apply, platform: dict[str, str]) -> None:
    before = automations(), deployments(), surroundings()
    run_command("prefect", "--no-prompt", "deploy", "--all", environment=platform)
    pause_schedules()
    assert outcomes(apply(prune=True)) == {"unchanged"}
    assert outcomes(apply(prune=True, deploy=True, dry_run=True)) == {"unchanged"}
    assert (automations(), deployments(), surroundings()) == before


def test_a_dry_run_tells_each_field_but_no_secret_and_changes_nothing(
    apply: Apply, platform: dict[str, str], prefect_api: str
) -> None:
    with get_client(sync_client=True) as client:
        transform = client.read_deployment_by_name("transform/transform")
        client.update_deployment_schedule(transform.id, transform.schedules[0].id, active=False)
    other = {
        "GROUNDWORK_ALERT_TO": "someone-else@example.com",
        "GROUNDWORK_SMTP_URL": "smtp://us:sw0rdfish@127.0.0.1:2525",
    }
    told = apply(other, deploy=True, dry_run=True)
    assert "updated   variable 'groundwork_alert_to'" in told
    assert "→ 'someone-else@example.com'" in told
    assert "updated   block slack-webhook 'groundwork-mail'\n            url: a secret, changed" in told
    assert "updated   deployment 'transform'" in told
    assert "schedules.every-10-minutes.active: False → True" in told
    assert "sw0rdfish" not in told
    with get_client(sync_client=True) as client:
        transform = client.read_deployment_by_name("transform/transform")
        assert transform.schedules[0].active is False
        client.update_deployment_schedule(transform.id, transform.schedules[0].id, active=True)
    again = apply(deploy=True, dry_run=True)
    assert outcomes(again) == {"unchanged"}


def test_a_schedule_that_the_file_names_no_more_is_told_and_then_pruned(
    apply: Apply, platform: dict[str, str], prefect_api: str
) -> None:
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("watch/watch")
        # as if a stanza with this schedule had been deployed before: Prefect keeps what is not named
        gone = CronSchedule(cron="1 1 1 1 *")
        path = f"/deployments/{watch.id}/schedules"
        body = [{"schedule": gone.model_dump(mode="json"), "active": True, "slug": "gone"}]
        client.request("POST", path, json=body)  # type: ignore[arg-type]
    run_command("prefect", "--no-prompt", "deploy", "-n", "watch", environment=platform)
    told = apply()
    assert "left over schedule 'watch/gone'" in told
    pruned = apply(prune=True)
    pause_schedules()
    assert "removed   schedule 'watch/gone'" in pruned
    with get_client(sync_client=True) as client:
        kept = client.read_deployment_by_name("watch/watch").schedules
    named = stanzas.read(PROJECT / "prefect.yaml")["watch"]["schedules"]
    assert [schedule.slug for schedule in kept] == [schedule["slug"] for schedule in named]


def test_a_deployment_that_the_file_names_no_more_is_told_and_then_pruned(apply: Apply) -> None:
    ours, theirs = deploy_flow("gone", "hold", tags=["groundwork"]), deploy_flow("theirs", "hold")
    assert "left over deployment 'gone'" in apply()
    assert "removed   deployment 'gone'" in apply(prune=True)
    with get_client(sync_client=True) as client:
        assert {ours, theirs} & {one.id for one in client.read_deployments()} == {theirs}
        client.delete_deployment(theirs)


def test_prune_removes_what_an_environment_names_no_more_and_nothing_of_others(
    apply: Apply, prefect_api: str, tmp_path: Path
) -> None:
    more = environment_file(
        tmp_path,
        limits={"spent": {"limit": 3}}, variables={"spent": "words"}, queues={"spent": {"priority": 3}},
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="theirs", limit=1))
    created = apply({"GROUNDWORK_ENVIRONMENT": more})
    spent = ("concurrency limit 'spent'", "variable 'spent'", "work queue 'groundwork/spent'")
    assert all(f"created   {what}" in created for what in spent)
    told = apply()
    assert all(f"left over {what}" in told for what in spent)
    would = apply(prune=True, dry_run=True)
    pruned = apply(prune=True)
    assert all(f"removed   {what}" in would and f"removed   {what}" in pruned for what in spent)
    with get_client(sync_client=True) as client:
        limits = {limit.name for limit in client.read_global_concurrency_limits(limit=200)}
        client.delete_global_concurrency_limit_by_name("theirs")
    assert "theirs" in limits and "spent" not in limits
    assert outcomes(apply(prune=True)) == {"unchanged"}


def test_a_server_of_one_environment_refuses_another(
    apply: Apply, platform: dict[str, str], prefect_api: str
) -> None:
    before = deployments(), surroundings()
    with pytest.raises(SettingMissing, match="environment 'dev': this Prefect is 'local'"):
        apply(environment="dev", deploy=True)
    by_hand = {**platform, "GROUNDWORK_ENVIRONMENT": "dev"}
    assert "StepExecutionError" in refused("prefect", "--no-prompt", "deploy", "--all", environment=by_hand)
    assert (deployments(), surroundings()) == before


def test_a_misspelt_job_variable_is_refused_by_the_server_itself(
    deployed: str, platform: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    before = deployments()
    content = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    content["deployments"] = content["deployments"][:1]
    content["deployments"][0]["work_pool"]["job_variables"]["mem_limitt"] = "1g"
    file = tmp_path / "misspelt.yaml"
    file.write_text(yaml.safe_dump(content))
    deploy = ("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    assert "mem_limitt" in refused(*deploy, environment=platform)
    assert deployments() == before
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("watch/watch").id
        with pytest.raises(PrefectHTTPStatusError, match="mem_limitt"):
            client.create_flow_run_from_deployment(watch, job_variables={"mem_limitt": "1g"})
        with pytest.raises(PrefectHTTPStatusError, match="command"):
            client.create_flow_run_from_deployment(watch, job_variables={"command": "id"})


def test_a_secret_of_the_pool_is_kept_as_a_reference_and_read_when_a_run_begins(
    apply: Apply, prefect_api: str, prefect_worker: PrefectWorker, tmp_path: Path
) -> None:
    from prefect.blocks.system import Secret

    Secret(value="t0p-secret").save("held-token", overwrite=True)
    more = environment_file(tmp_path, secrets={"HELD_TOKEN": "held-token"})
    apply({"GROUNDWORK_ENVIRONMENT": more})
    try:
        deployment = deploy_flow("tell", "tell")
        run = start_run(deployment, variable="HELD_TOKEN")
        ended = until(lambda: all_ended(deployment), seconds=120, what="the run ends")
        assert states(ended) == ["Completed"]
        with get_client(sync_client=True) as client:
            of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
            told = f"digest={hashlib.sha256(b't0p-secret').hexdigest()}"
            # log lines are sent in batches, the last of them after the run's end
            until(
                lambda: told in [line.message for line in client.read_logs(of_run)],
                seconds=30, what="the run's own line arrives",
            )  # fmt: skip
            lines = [line.message for line in client.read_logs(of_run)]
            kept = [
                client.request("GET", path).text  # type: ignore[arg-type]
                for path in (f"/deployments/{deployment}", f"/flow_runs/{run.id}", "/work_pools/groundwork")
            ]
        assert "t0p-secret" not in "".join(kept) + "".join(lines)
        assert "{{ prefect.blocks.secret.held-token }}" in kept[2]
    finally:
        apply()
        with get_client(sync_client=True) as client:
            client.delete_deployment(deployment)


@pytest.mark.parametrize(
    ("strategy", "ended_in"),
    [
        ("CANCEL_NEW", ["Cancelled", "Cancelled", "Completed"]),
        ("ENQUEUE", ["Completed", "Completed", "Completed"]),
    ],
)
def test_of_runs_that_collide_one_runs_and_the_others_are_dropped_or_wait(
    strategy: str, ended_in: list[str], prefect_worker: PrefectWorker
) -> None:
    deployment = deploy_flow(f"hold-{strategy}", "hold", strategy=strategy)
    for _ in range(3):
        start_run(deployment, seconds=8)
    ended = until(lambda: all_ended(deployment), seconds=240, what="the runs end")
    assert states(ended) == ended_in
    assert at_once(ended) == 1
    for run in ended:
        if run.state and run.state.is_cancelled():
            assert run.state.message == "Deployment concurrency limit reached."
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployment)


def test_prune_removes_doubles_and_what_is_not_named_any_more(
    apply: Apply, platform: dict[str, str], prefect_api: str
) -> None:
    with get_client(sync_client=True) as client:
        ours = client.read_automations_by_name("groundwork: run failed")[0]
        for name in ("groundwork: gone from the file", "groundwork: run failed", "another team's"):
            again = AutomationCore.model_validate({**ours.model_dump(), "name": name})
            client.create_automation(again)
    report = apply(prune=True)
    assert "removed   automation 'groundwork: gone from the file'" in report
    assert "updated   automation 'groundwork: run failed'" in report
    with get_client(sync_client=True) as client:
        names = [a.name for a in client.read_automations()]
        assert names.count("groundwork: run failed") == 1
        assert "groundwork: gone from the file" not in names
        assert "another team's" in names
        client.delete_automation(client.read_automations_by_name("another team's")[0].id)


def test_blocks_lead_runs_to_bucket_and_warehouse_and_stay_until_they_are_removed(apply: Apply) -> None:
    from prefect_dbt.cli.configs import SnowflakeTargetConfigs

    from groundwork.settings import Settings
    from tasks.warehouse import snowflake_login

    elsewhere = {
        "GROUNDWORK_BUCKET": "s3://lake/platform",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "aws-s3cret",
        "AWS_REGION": "eu-central-1",
        "GROUNDWORK_SNOWFLAKE_ACCOUNT": "acme-eu",
        "GROUNDWORK_SNOWFLAKE_USER": "groundwork",
        "GROUNDWORK_SNOWFLAKE_PASSWORD": "sn0w-s3cret",
        "GROUNDWORK_SNOWFLAKE_ROLE": "loader",
        "GROUNDWORK_SNOWFLAKE_DATABASE": "analytics",
        "GROUNDWORK_SNOWFLAKE_WAREHOUSE": "small",
    }
    blocks = [
        "block aws-credentials 'groundwork-aws'",
        "block s3-bucket 'groundwork-bucket'",
        "block snowflake-credentials 'groundwork-snowflake'",
        "block snowflake-connector 'groundwork-snowflake'",
        "block dbt-cli-snowflake-target-configs 'groundwork-dbt'",
    ]
    first, second = apply(elsewhere), apply(elsewhere)
    assert all(f"created   {block}" in first and f"unchanged {block}" in second for block in blocks)
    other = {**elsewhere, "GROUNDWORK_SNOWFLAKE_ROLE": "other", "GROUNDWORK_SNOWFLAKE_PASSWORD": "n3w-s3cret"}
    told = apply(other, dry_run=True)
    assert "password: a secret, changed" in told and "role: 'loader' → 'other'" in told
    assert "s3cret" not in first + second + told

    login = snowflake_login(Settings(warehouse="snowflake"))
    assert login is not None and login.password.get_secret_value() == "sn0w-s3cret"
    assert (login.account, login.database, login.warehouse) == ("acme-eu", "analytics", "small")
    configs = SnowflakeTargetConfigs.load("groundwork-dbt").get_configs()
    assert (configs["role"], configs["threads"]) == ("loader", 4)

    known = surroundings()
    knows_less = {"GROUNDWORK_BUCKET": "s3://lake/platform", "GROUNDWORK_SNOWFLAKE_ACCOUNT": "acme-eu"}
    for unset in ({}, knows_less):
        assert all(f"unchanged {block}" in apply(unset, prune=True) for block in blocks)
    assert surroundings() == known
    assert snowflake_login(Settings(warehouse="snowflake")) == login

    with pytest.raises(GroundworkError, match="names nothing that apply has made"):
        apply(remove=[*blocks, "block secret 'another team'"])
    would = apply(remove=blocks, dry_run=True)
    assert surroundings() == known
    removed = apply(remove=blocks)
    assert all(f"removed   {block}" in would and f"removed   {block}" in removed for block in blocks)
    assert "groundwork-snowflake" not in apply(prune=True)


def test_temporary_keys_of_the_person_who_applies_are_not_stored(apply: Apply) -> None:
    own = {
        "GROUNDWORK_BUCKET": "s3://lake/platform",
        "AWS_ACCESS_KEY_ID": "ASIA",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    from prefect_aws import AwsCredentials

    report = apply({**own, "AWS_SESSION_TOKEN": "t0ken"})
    assert "AWS_SESSION_TOKEN is set, and temporary keys expire" in report and "t0ken" not in report
    assert AwsCredentials.load("groundwork-aws").aws_access_key_id is None  # type: ignore[union-attr]
    apply(remove=["block aws-credentials 'groundwork-aws'", "block s3-bucket 'groundwork-bucket'"])


def test_applying_with_fewer_settings_keeps_addresses_and_links(
    apply: Apply, platform: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = windows_of_automations()
    apply({"GROUNDWORK_RUNBOOKS": "https://git.example.com/runbooks", "GROUNDWORK_PATIENCE_SECONDS": "86400"})
    known = surroundings(), runbook_links()
    patient = windows_of_automations()
    assert "https://git.example.com/runbooks" in known[1] and patient != before
    for name in ("GROUNDWORK_ALERT_TO", "GROUNDWORK_ALERT_FROM", "GROUNDWORK_SMTP_URL"):
        monkeypatch.delenv(name)
        assert outcomes(apply(prune=True)) == {"unchanged"}, name
        assert (surroundings(), runbook_links()) == known, name
    for name in ("GROUNDWORK_ALERT_TO", "GROUNDWORK_ALERT_FROM", "GROUNDWORK_SMTP_URL"):
        monkeypatch.setenv(name, platform[name])
    assert windows_of_automations() == patient
    apply(remove=["variable 'groundwork_runbooks'", "variable 'groundwork_patience_seconds'"])
    apply()
    assert windows_of_automations() == before
    assert "https://git.example.com" not in runbook_links()


def test_what_the_server_tells_by_itself_is_told_to_slack_and_the_webhook_too(
    apply: Apply, prefect_api: str
) -> None:
    with listening() as (address, said), get_client(sync_client=True) as client:
        told = apply(
            {"GROUNDWORK_ALERT_SLACK": f"{address}/sl4ck", "GROUNDWORK_ALERT_WEBHOOK": f"{address}/h00k"}
        )
        assert "created   block custom-webhook 'groundwork-slack'" in told
        assert "updated   automation 'groundwork: alert failed'" in told
        kept = json.dumps([surroundings(), automations()])
        assert "sl4ck" not in kept + told and "h00k" not in kept + told
        notify = client.read_deployment_by_name("notify/notify")
        run = client.create_flow_run_from_deployment(notify.id, state=Cancelled())
        client.set_flow_run_state(run.id, Failed(), force=True)
        until(lambda: len(said) == 2, seconds=60, what="both are told")
    heard = dict(said)
    assert heard["/sl4ck"]["text"].startswith(
        "*[Groundwork] alert channel: Failed (notify)*\nThe run that tells"
    )
    assert heard["/h00k"]["subject"] == "[Groundwork] alert channel: Failed (notify)"
    assert f"/runs/flow-run/{run.id}" in heard["/h00k"]["text"]
    made = [f"block custom-webhook 'groundwork-{kind}'" for kind in ("slack", "webhook")]
    made += [f"block secret 'groundwork-alert-{kind}'" for kind in ("slack", "webhook")]
    assert all(f"unchanged {block}" in apply(prune=True) for block in made)
    removed = apply(remove=made)
    assert all(f"removed   {block}" in removed for block in made)
    assert outcomes(apply(prune=True)) == {"unchanged"}
