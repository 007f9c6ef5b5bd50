# ruff: noqa: E501 (sentences read better in one line)
"""What is known to go wrong with automations is refused before it is applied; windows follow from the catalog."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from deployments.automation_rules import broken_rules, server_findings
from deployments.automations import read_wanted
from deployments.windows import expanded, windows
from groundwork.catalog import load_catalog
from groundwork.settings import Settings
from tests.alerts.worst_cases import tables, worst_cases
from tests.commands import PROJECT

LONGEST = 300


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.chdir(PROJECT)
    return {entry["name"]: entry for entry in read_wanted()}


def broken(*entries: dict[str, Any]) -> str:
    return " ".join(broken_rules(entries))


def test_our_own_automations_break_no_rule(wanted: dict[str, dict[str, Any]]) -> None:
    assert broken(*wanted.values()) == ""


def test_a_proactive_automation_without_after_is_refused(wanted: dict[str, dict[str, Any]]) -> None:
    entry = copy.deepcopy(wanted["groundwork: run waits"])
    del entry["trigger"]["after"]
    assert "proactive without `after`" in broken(entry)


def test_a_zombie_automation_that_tells_somebody_is_refused(wanted: dict[str, dict[str, Any]]) -> None:
    silent = wanted["groundwork: silent run"]
    for spoilt, said in (
        ({"actions": [{"type": "send-notification"}]}, "also fires for runs that ended before"),
        ({"trigger": silent["trigger"] | {"within": 60}}, "fewer than three heartbeats"),
        ({"trigger": silent["trigger"] | {"match_related": {}}}, "judges everybody's runs"),
        ({"trigger": silent["trigger"] | {"expect": ["prefect.flow-run.heartbeat"]}}, "does not expect"),
    ):
        assert said in broken(silent | spoilt)


def test_an_id_in_a_parameter_is_refused_without_string(wanted: dict[str, dict[str, Any]]) -> None:
    entry = copy.deepcopy(wanted["groundwork: run failed"])
    entry["actions"][0]["parameters"] = {"flow_run_id": "{{ flow_run.id }}"}
    assert "Write `| string` behind it" in broken(entry)
    entry["actions"][0]["parameters"] = {"flow_run_id": "{{ flow_run.id | string }}"}
    assert broken(entry) == ""


def test_two_automations_of_one_name_are_refused(wanted: dict[str, dict[str, Any]]) -> None:
    entry = wanted["groundwork: run failed"]
    assert "is there twice" in broken(entry, entry)


def test_every_scheduled_deployment_has_a_window_of_its_own(wanted: dict[str, dict[str, Any]]) -> None:
    found = {
        one.deployment: one for one in windows(load_catalog(PROJECT / "catalog"), PROJECT / "prefect.yaml")
    }
    assert found["ingest-shop"].every == timedelta(minutes=5), "as the catalog wants it"
    assert found["transform"].every == timedelta(minutes=10), "as its schedule says"
    assert found["watch"].silent == timedelta(minutes=5), "who watches waits for nothing"
    silent = "groundwork: watch does not succeed"
    assert silent not in wanted, "the dead man's switch looks at that"
    for one in found.values():
        if one.deployment == "watch":
            continue
        trigger = wanted[f"groundwork: {one.deployment} does not succeed"]["trigger"]
        assert trigger["within"] == one.silent.total_seconds()
        assert trigger["match_related"]["prefect.resource.name"] == one.deployment


def test_a_source_that_is_wanted_less_often_may_be_silent_for_longer() -> None:
    found = windows(
        load_catalog(PROJECT / "catalog"), PROJECT / "prefect.yaml", Settings(patience_seconds=60)
    )
    silent = {one.deployment: one.silent for one in found}
    assert silent["ingest-shop"] == timedelta(minutes=7.5)
    assert silent["ingest-payments"] == timedelta(minutes=90)


def test_names_are_filled_in_as_text_and_never_as_markup_of_the_file() -> None:
    entries = [{"name": "x", "actions": [{"body": "see <runbooks>#x"}]}]
    (filled,) = expanded(entries, [], 'https://x/"quoted"')
    assert filled["actions"][0]["body"] == 'see https://x/"quoted"#x'


def test_no_trouble_stays_untold_for_more_than_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    assert {one.trouble: one.seconds for one in worst_cases() if one.seconds > LONGEST} == {}


def test_the_proof_shows_the_windows_that_production_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    proof = (PROJECT / "docs" / "proofs" / "alerts.md").read_text(encoding="utf-8")
    assert tables() in proof, "print them: python -m tests.alerts.worst_cases"


class _Server:
    """Prefect's client, as far as settings are asked for: what a server answered, kept."""

    def __init__(self, **server: Any) -> None:
        self.server_type, self._server = "server", server

    def request(self, *_: Any) -> Any:
        return self

    def json(self) -> dict[str, Any]:
        return {"server": self._server}


def test_a_server_with_settings_that_lose_alerts_is_told_of() -> None:
    names = [change.name for change in server_findings(_Server(
        events={"causal_ordering": "prefect.server.events.ordering.memory"},
        database={"connection_url": "sqlite+aiosqlite:///x.db"}, ui={},
    ))]  # type: ignore[arg-type]  # fmt: skip
    assert names == [
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_UI_URL",
    ]
