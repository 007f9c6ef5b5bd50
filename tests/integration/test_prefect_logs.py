"""What Prefect knows comes out of its API whole: every line once, whatever the paging cuts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Crashed

from groundwork.sources.pushed import PushedSource, Reached, Records
from tasks.prefect_api import asking
from tasks.run_history import RunHistory
from tests.commands import run_command

NO_WAIT = timedelta(0)


@flow(name="a-run-by-hand")
def by_hand() -> None:
    """Nothing; runs of it are made by the client."""


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def run_with_lines(client: SyncPrefectClient, moments: list[datetime]) -> FlowRun:
    """A flow run with one line at each of some moments, stored in the order given."""
    run = client.create_flow_run(by_hand)
    lines = [
        {
            "flow_run_id": str(run.id),
            "name": "test",
            "level": 20,
            "message": f"line {number} “ä” \\ \u2028",
            "timestamp": moment.isoformat(),
        }
        for number, moment in enumerate(moments)
    ]
    for start in range(0, len(lines), 500):
        client.request("POST", "/logs/", json=lines[start : start + 500])
    return run


def export(cursors: dict[str, Any]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Everything new since the cursors, by stream, and the next cursors (through JSON, as stored)."""
    with asking() as ask:
        items = list(RunHistory(ask, settle=NO_WAIT)(cursors))
    records: dict[str, list[str]] = {"flow_runs": [], "task_runs": [], "logs": []}
    for item in items:
        if isinstance(item, Records):
            records[item.stream] += item.records
    reached = {item.stream: item.cursor for item in items if isinstance(item, Reached)}
    return records, json.loads(json.dumps(reached))


def messages(records: dict[str, list[str]], run: FlowRun) -> list[str]:
    lines = [json.loads(line) for line in records["logs"]]
    return [line["message"] for line in lines if line["flow_run_id"] == str(run.id)]


def test_no_line_is_lost_or_doubled_when_pages_cut_through_equal_timestamps(
    client: SyncPrefectClient,
) -> None:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    alone = [began + timedelta(microseconds=n) for n in range(150)]
    crowd = [began + timedelta(seconds=1)] * 950  # one moment fills several pages
    pairs = [began + timedelta(seconds=2, milliseconds=n // 3) for n in range(700)]
    run = run_with_lines(client, pairs + crowd + alone)

    records, cursors = export({})

    told = Counter(messages(records, run))
    assert len(told) == 1800
    assert set(told.values()) == {1}
    again, _ = export(cursors)
    assert messages(again, run) == []


def test_a_late_line_is_found_and_the_lines_around_it_are_left_alone(
    client: SyncPrefectClient,
) -> None:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    run = run_with_lines(client, [began + timedelta(seconds=n) for n in range(60)])
    _, cursors = export({})

    late = run_with_lines(client, [began + timedelta(seconds=30, microseconds=7)])

    records, cursors = export(cursors)
    assert len(messages(records, late)) == 1
    assert len(messages(records, run)) <= 1, "only the second it came into is handed over again"
    records, _ = export(cursors)
    assert messages(records, late) == []


def test_records_stay_letter_for_letter(client: SyncPrefectClient) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=3)
    run = run_with_lines(client, [moment])
    sent = client.request(
        "POST", "/logs/filter", json={"logs": {"flow_run_id": {"any_": [str(run.id)]}}}
    ).text

    records, _ = export({})

    assert [line for line in records["logs"] if str(run.id) in line] == [sent[1:-1]]


def test_runs_that_never_began_or_crashed_are_there_with_their_names(
    client: SyncPrefectClient,
) -> None:
    scheduled = client.create_flow_run(by_hand)
    cancelled = client.create_flow_run(by_hand, state=Cancelled())
    crashed = client.create_flow_run(by_hand)
    client.set_flow_run_state(crashed.id, Crashed(message="gone"), force=True)

    records, cursors = export({})

    runs = {record["id"]: record for record in map(json.loads, records["flow_runs"])}
    states = [runs[str(run.id)]["state_type"] for run in (scheduled, cancelled, crashed)]
    assert states[1:] == ["CANCELLED", "CRASHED"]
    assert states[0] in ("SCHEDULED", "PENDING")
    assert runs[str(crashed.id)]["flow_name"] == "a-run-by-hand"
    assert runs[str(crashed.id)]["deployment_name"] is None

    client.set_flow_run_state(scheduled.id, Cancelled(), force=True)
    records, _ = export(cursors)
    changed = {record["id"]: record["state_type"] for record in map(json.loads, records["flow_runs"])}
    assert changed[str(scheduled.id)] == "CANCELLED"
    assert str(crashed.id) not in changed, "what did not change is not handed over again"


def test_a_long_history_is_committed_in_several_batches(client: SyncPrefectClient) -> None:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=8)
    run_with_lines(client, [began + timedelta(milliseconds=n * 5) for n in range(7_000)])

    with asking() as ask:
        source = PushedSource(RunHistory(ask, settle=NO_WAIT), batch_rows=2_000)
        kinds = [type(item).__name__ for item in source.read({})]

    assert kinds.count("Checkpoint") >= 3
    assert kinds[-1] == "Checkpoint"


def test_the_flow_brings_its_own_runs_and_lines_into_landing(
    client: SyncPrefectClient, platform: dict[str, str], tmp_path: Path
) -> None:
    """Twice, since a run can only tell of its end to the next one."""
    home = {**platform, "GROUNDWORK_HOME": str(tmp_path), "GROUNDWORK_BUCKET": ""}
    run_command("flows.export_logs", "0", environment=home)
    run_command("flows.export_logs", "0", environment=home)

    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as warehouse:
        first = warehouse.execute(
            "select extract_run_id from landing._batches order by batch_id limit 1"
        ).fetchall()[0][0]
        lines = warehouse.execute(
            "select record ->> 'id', record ->> 'message' from landing.ops__logs"
            " where record ->> 'flow_run_id' = ?",
            [first],
        ).fetchall()
        states = warehouse.execute(
            "select record ->> 'state_type' from landing.ops__flow_runs where record ->> 'id' = ?"
            " order by _sequence",
            [first],
        ).fetchall()
        tasks = warehouse.execute(
            "select distinct record ->> 'name' from landing.ops__task_runs"
            " where record ->> 'flow_run_id' = ?",
            [first],
        ).fetchall()
    assert len({id_ for id_, _ in lines}) == len(lines)
    told = " ".join(message for _, message in lines)
    assert "committed source=ops batch=0000000001" in told, "groundwork's own INFO lines arrive"
    assert "Finished in state Completed()" in told
    assert states[-1] == ("COMPLETED",)
    assert {("extract-ops",), ("load-ops",)} <= set(tasks)
