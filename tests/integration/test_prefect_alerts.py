"""A run that goes wrong calls for help by mail: at once, and in detail once its log lines are complete."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.flows import Flow

from demo.mailbox import Mailbox, MailServer
from demo.prefect_server import PrefectWorker
from tests.commands import PROJECT


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not in {seconds} seconds")


def plain(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def is_short(run: FlowRun) -> Callable[[EmailMessage], bool]:
    return lambda mail: mail["X-Groundwork-Run"] is None and str(run.id) in plain(mail)


def is_detailed(run: FlowRun) -> Callable[[EmailMessage], bool]:
    return lambda mail: mail["X-Groundwork-Run"] == str(run.id)


def messages_of(run: FlowRun) -> list[str]:
    with get_client(sync_client=True) as client:
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        return [line.message for line in client.read_logs(of_run, limit=200)]


def start(deployment: str) -> FlowRun:
    run = run_deployment(deployment, timeout=0)
    assert isinstance(run, FlowRun)
    return run


@pytest.fixture
def mailbox(mail_server: MailServer, prefect_worker: PrefectWorker) -> Mailbox:
    return mail_server.mailbox


def test_a_run_that_fails_is_mailed_at_once_and_then_in_detail_once(mailbox: Mailbox) -> None:
    run = start("ingest/ingest-shop")  # no database is named here, so it fails

    short = mailbox.wait_for(is_short(run), timeout=60)
    assert short["Subject"] == "[Groundwork] Failed: ingest-shop"
    assert f"/runs/flow-run/{run.id}" in plain(short)
    assert "ingest/ingest-shop" in plain(short)

    detailed = mailbox.wait_for(is_detailed(run), timeout=120)
    assert detailed["Subject"] == "[Groundwork] Failed: ingest-shop (source shop)"
    text = plain(detailed)
    assert "secret 'shop-database-url': has no value" in text
    assert "Finished in state Failed" in text, "the last log lines are there"
    assert "landing.shop__orders" in text
    assert "How much do we take per day and country" in text
    assert f"/runs/flow-run/{run.id}" in text
    html = detailed.get_body(("html",))
    assert html is not None and "landing.shop__orders" in html.get_content()

    # delivered again, as automations may, it is not mailed again
    again = run_deployment("notify/notify", parameters={"flow_run_id": str(run.id)}, timeout=120)
    assert isinstance(again, FlowRun) and again.state is not None and again.state.is_completed()
    assert len([mail for mail in mailbox.messages() if is_detailed(run)(mail)]) == 1


def test_a_run_that_is_killed_is_mailed_at_once_and_then_in_detail(
    mailbox: Mailbox, prefect_api: str
) -> None:
    waiting = Flow.from_source(str(PROJECT), "tests/integration/troubled_flows.py:wait_for_the_end")
    deployment_id = waiting.deploy(  # type: ignore[union-attr]
        name="wait",
        work_pool_name="groundwork",
        tags=["groundwork", "source:payments"],
        parameters={"source": "payments"},
        print_next_steps=False,
    )
    run = start("wait-for-the-end/wait")

    def process() -> int | None:
        found = [re.search(r"waiting pid=(\d+)", message) for message in messages_of(run)]
        return next((int(match[1]) for match in found if match), None)

    os.kill(until(process, seconds=60, what="the run began"), signal.SIGKILL)

    short = mailbox.wait_for(is_short(run), timeout=60)
    assert short["Subject"].startswith("[Groundwork] Crashed: ")
    detailed = mailbox.wait_for(is_detailed(run), timeout=120)
    text = plain(detailed)
    assert "[Groundwork] Crashed: " in detailed["Subject"]
    assert "-9" in text, "the worker's own lines say how it ended"
    assert "waiting pid=" in text
    assert "landing.payments__payments" in text
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployment_id)  # type: ignore[arg-type]


def test_a_mail_holds_no_password_and_no_quoted_value() -> None:
    from groundwork.notices import masked

    assert masked("postgresql://shop:hunter2@host/shop refused") == ("postgresql://shop:…@host/shop refused")
    assert "hunter2" not in masked("password=hunter2 was wrong")
    quoted = "Conversion Error: Could not convert string 'jane@example.com' to INT32"
    assert "jane" not in masked(quoted)
    assert "jane" not in masked('Constraint Error: Duplicate key "email: jane@example.com"')
