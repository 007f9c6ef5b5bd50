"""prefect.yaml held against the catalog."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim

from groundwork.catalog import Catalog, load_catalog
from groundwork.schedules import check_schedules, longest_gap

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def catalog() -> Catalog:
    return load_catalog(PROJECT / "catalog")


@pytest.fixture
def stanzas() -> dict[str, Any]:
    file: dict[str, Any] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    return file


def problems(catalog: Catalog, stanzas: dict[str, Any], directory: Path) -> list[str]:
    file = directory / "prefect.yaml"
    file.write_text(yaml.safe_dump(stanzas))
    return [problem.removeprefix(f"{file}: ") for problem in check_schedules(catalog, file)]


def stanza(stanzas: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(d for d in stanzas["deployments"] if d["name"] == name)
    return found


def test_the_projects_own_schedules_keep_what_the_catalog_promises(catalog: Catalog) -> None:
    assert check_schedules(catalog, PROJECT / "prefect.yaml") == []


def test_a_source_without_a_deployment_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanzas["deployments"].remove(stanza(stanzas, "ingest-shop"))
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments: no deployment has the tag 'source:shop', though the catalog wants it every "
        "5 minutes. Add a stanza for it."
    ]


def test_a_source_with_two_deployments_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanzas["deployments"].append({**stanza(stanzas, "ingest-shop"), "name": "ingest-shop-again"})
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments: ingest-shop and ingest-shop-again both read 'shop'. Keep one of them."
    ]


def test_a_schedule_slower_than_wanted_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanza(stanzas, "ingest-shop")["schedules"] = [{"slug": "x", "cron": "*/15 * * * *", "timezone": "UTC"}]
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.ingest-shop.schedules: leaves up to 15 minutes between two runs, but "
        "catalog/shop.yml wants update_every: 5 minutes. Run it more often, or ask for less."
    ]


def test_a_schedule_that_is_switched_off_does_not_count(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanza(stanzas, "ingest-shop")["schedules"][0]["active"] = False
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.ingest-shop.schedules: has no active schedule. Add one."
    ]


def test_a_tag_of_no_source_is_told(catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path) -> None:
    stanza(stanzas, "replay")["tags"] = ["source:shopp"]
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.replay.tags: 'source:shopp' is not a source of the catalog (shop, payments, ops)."
    ]


def test_a_parameter_that_contradicts_the_tag_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanza(stanzas, "ingest-shop")["parameters"] = {"source": "payments"}
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.ingest-shop.parameters.source: is 'payments', but its tag says 'source:shop'. "
        "Make them agree."
    ]


def test_a_source_that_could_run_twice_at_once_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    del stanza(stanzas, "ingest-shop")["concurrency_limit"]
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.ingest-shop.concurrency_limit: must be 1, so that one source is never read "
        "twice at once."
    ]


def test_a_schedule_without_a_slug_is_told(catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path) -> None:
    del stanza(stanzas, "ingest-shop")["schedules"][0]["slug"]
    assert "has no slug" in problems(catalog, stanzas, tmp_path)[0]


def test_a_schedule_without_a_timezone_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    del stanza(stanzas, "ingest-shop")["schedules"][0]["timezone"]
    assert problems(catalog, stanzas, tmp_path) == [
        "deployments.ingest-shop.schedules: a schedule has no timezone. Say which clock it goes by, e.g. UTC."
    ]


def test_a_limit_that_does_not_say_what_becomes_of_the_next_run_is_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    stanza(stanzas, "ingest-shop")["concurrency_limit"] = 1
    assert "Add collision_strategy: CANCEL_NEW" in problems(catalog, stanzas, tmp_path)[0]


def test_no_two_sources_begin_at_the_same_minute(stanzas: dict[str, Any]) -> None:
    # Prefect 3 spreads nothing: what begins together loads the machine together
    begun: dict[int, str] = {}
    for one in stanzas["deployments"]:
        if any(tag.startswith("source:") for tag in one["tags"]):
            for schedule in one["schedules"]:
                for minute in minutes(schedule["cron"]):
                    assert minute not in begun, f"{one['name']} and {begun[minute]} at minute {minute}"
                    begun[minute] = one["name"]


def minutes(cron: str) -> set[int]:
    day = CronSim(cron, datetime(2026, 1, 1))
    return {next(day).minute for _ in range(60)}


def test_templates_that_prefect_fills_wrongly_in_silence_are_told(
    catalog: Catalog, stanzas: dict[str, Any], tmp_path: Path
) -> None:
    work_pool = stanza(stanzas, "replay")["work_pool"] = {"name": "{{ $WORK_POOL }}"}
    env = {"TOKEN": "{{ prefect.blocks.secret.token }}", "BUCKET": "{{ prefect.variables.bucket }}"}
    work_pool["job_variables"] = {"env": env}
    told = problems(catalog, stanzas, tmp_path)
    assert "'{{ $WORK_POOL }}' becomes an empty text when the variable is not set" in told[0]
    assert "'{{ prefect.blocks.secret.token }}' is stored in the deployment in the clear" in told[1]
    assert "'{{ prefect.variables.bucket }}' is read once, when it is deployed" in told[2]


@pytest.mark.parametrize(
    ("schedules", "longest"),
    [
        ([{"cron": "*/5 * * * *"}], timedelta(minutes=5)),
        ([{"cron": "7,37 * * * *"}], timedelta(minutes=30)),
        ([{"cron": "*/5 9-17 * * 1-5"}], timedelta(days=2, hours=15, minutes=5)),
        ([{"cron": "0 6 * * *"}, {"cron": "0 18 * * *"}], timedelta(hours=12)),
        ([{"cron": "0 0 1 * *"}], timedelta(days=31)),
        ([{"cron": "0 0 29 2 *"}], timedelta(days=789)),
        ([{"interval": 900}], timedelta(minutes=15)),
        ([{"interval": "PT15M", "anchor_date": "2026-01-01T00:07:00+00:00"}], timedelta(minutes=15)),
        ([{"interval": 900, "active": "false"}], None),
    ],
)
def test_the_longest_gap_between_two_runs(schedules: list[dict[str, Any]], longest: timedelta | None) -> None:
    assert longest_gap(schedules) == longest


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"cron": "every day"}, "'every day' is not a cron expression"),
        ({"interval": "often"}, "'often' is not an interval"),
        ({"rrule": "FREQ=DAILY"}, "neither 'cron' nor 'interval'"),
    ],
)
def test_a_schedule_that_cannot_be_understood_is_told(schedule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        longest_gap([schedule])
