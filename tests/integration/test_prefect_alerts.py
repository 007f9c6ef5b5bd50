"""A short `make test-alerts`: a run fails, one is killed, the server is gone; a mail each, and one after."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.flows import Flow
from prefect.states import Crashed
from prefect.variables import Variable

from demo.mailbox import Mailbox, MailServer
from demo.prefect_server import PrefectServer, PrefectWorker
from deployments.automations import apply_automations, read_automations
from groundwork.bucket import open_bucket
from groundwork.catalog import load_catalog
from groundwork.extract import extract
from groundwork.manifest import since
from groundwork.sources import Checkpoint, Cursors, Rows
from tasks.run_states import could_not_tell
from tasks.watch import call_if_changed
from tests.commands import PROJECT
from tests.conditions import until

SWITCH = PROJECT / "deployments" / "dead_mans_switch" / "switch.py"


def plain(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def told(key: str, state: str = "open") -> Callable[[EmailMessage], bool]:
    return lambda mail: mail["X-Groundwork-Trouble"] == key and mail["X-Groundwork-State"] == state


def run(deployment: str, **parameters: Any) -> FlowRun:
    ended = run_deployment(deployment, parameters=parameters or None, timeout=180, as_subflow=False)
    assert isinstance(ended, FlowRun) and ended.state is not None and ended.state.is_final()
    return ended


def state_of_a_call() -> str:
    """How a run of `notify` ended; one that meets another is dropped."""
    state = run("notify/notify").state
    return state.name if state else ""


def call() -> None:
    """Call for a look, once those that are going on are done: a call meanwhile is dropped."""
    deadline, state = time.monotonic() + 240, None
    while time.monotonic() < deadline:
        state = run("notify/notify").state
        if state is not None and state.is_completed():
            return
    raise AssertionError(f"no run of notify completed, the last one: {state}")


@pytest.fixture
def mailbox(mail_server: MailServer, prefect_worker: PrefectWorker) -> Mailbox:
    return mail_server.mailbox


@contextmanager
def deployed_troubled(name: str) -> Iterator[str]:
    """A deployment that gets into trouble when it is asked to."""
    flow: Any = Flow.from_source(str(PROJECT), "tests/alerts/troubled_flows.py:troubled")
    deployment = flow.deploy(
        name=name, work_pool_name="groundwork", tags=["groundwork", "groundwork-scheduled"],
        parameters={"how": "kill"}, cron="0 3 1 1 *", print_next_steps=False,
    )  # fmt: skip
    yield f"troubled/{name}"
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployment)


@pytest.fixture
def troubled(prefect_worker: PrefectWorker, prefect_api: str) -> Iterator[str]:
    with deployed_troubled("kill") as name:
        yield name


@pytest.fixture
def unheard(prefect_worker: PrefectWorker, prefect_api: str) -> Iterator[str]:
    """Another one, of which nothing stands on the board."""
    with deployed_troubled("unheard") as name:
        yield name


@pytest.mark.timeout(600)  # five processes one after the other, on a machine that may be busy
def test_a_run_that_is_killed_is_mailed_once_and_once_when_it_is_over(
    mailbox: Mailbox, troubled: str
) -> None:
    run(troubled)
    mail = mailbox.wait_for(told("kill"), timeout=150)
    assert mail["Subject"] == "[Groundwork] kill: crashed"
    text = plain(mail)
    assert "SIGKILL" in text and "troubled how=kill" in text
    assert "docs/runbooks.md#crashed" in text
    run(troubled)  # the same trouble once more
    run(troubled, how="well")
    call()
    over = mailbox.wait_for(told("kill", "recovered"), timeout=60)
    assert over["In-Reply-To"] == mail["Message-ID"]
    assert len([one for one in mailbox.messages() if one["X-Groundwork-Trouble"] == "kill"]) == 2


@pytest.fixture
def scheduled(prefect_api: str) -> Iterator[None]:
    """Runs are to begin by themselves, as in production."""
    Variable.set("groundwork_schedules", "on", overwrite=True)
    yield
    Variable.set("groundwork_schedules", "off", overwrite=True)


@pytest.mark.timeout(600)
def test_a_run_by_hand_that_is_killed_is_told_though_it_is_known_that_none_begins_by_itself(
    mailbox: Mailbox, troubled: str, scheduled: None
) -> None:
    with get_client(sync_client=True) as client:
        client.pause_deployment(client.read_deployment_by_name(troubled).id)
    call()
    mailbox.wait_for(told("kill paused"), timeout=60)
    before = len([one for one in mailbox.messages() if told("kill")(one)])
    run(troubled)
    call()
    assert len([one for one in mailbox.messages() if told("kill")(one)]) == before + 1
    assert not [one for one in mailbox.messages() if told("kill paused", "recovered")(one)]


@pytest.mark.timeout(600)
def test_a_run_that_fails_is_told_to_the_sources_owner_with_all_that_waits(mailbox: Mailbox) -> None:
    failed = run("ingest/ingest-shop")  # no database is named here
    call()  # as `watch` does, if a look that was just ending made the server drop the run's own call
    mail = mailbox.wait_for(told("shop"), timeout=60)
    assert mail["Subject"] == "[Groundwork] shop: failed (ingest-shop)"
    assert mail["To"] == "data-team@example.com, shop-engineering@example.com"
    text = plain(mail)
    assert "secret 'shop-database-url': has no value" in text
    assert "Finished in state Failed" in text, "the last log lines are there"
    assert "landing.shop__orders" in text
    assert "How much do we take per day and country" in text
    assert f"/runs/flow-run/{failed.id}" in text
    html = mail.get_body(("html",))
    assert html is not None and "landing.shop__orders" in html.get_content()
    call()  # again, as automations may
    assert len([one for one in mailbox.messages() if told("shop")(one)]) == 1


@pytest.mark.timeout(600)
def test_a_stream_that_cannot_be_loaded_is_mailed_once_and_once_when_it_caught_up(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    environment = {"GROUNDWORK_HOME": str(tmp_path), "GROUNDWORK_BUCKET": bucket.url}

    class Source:
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield Rows("flow_runs", pl.DataFrame({"record": ["{}"], "_request": ["a test"]}))
            yield Checkpoint({}, heartbeat=True)

    extract(load_catalog(PROJECT / "catalog")["ops"], Source(), bucket)
    (stored,) = next(since(bucket, "ops", 0)).objects
    body = bucket.get(stored.key)
    bucket.put(stored.key, body[:-1])

    def export() -> FlowRun:
        job = {"env": environment}
        parameters = {"settle_seconds": 0}
        ended = run_deployment(
            "export-logs/export-logs", parameters=parameters, job_variables=job, timeout=180, as_subflow=False
        )
        assert isinstance(ended, FlowRun) and ended.state is not None and ended.state.is_final()
        return ended

    failed = export()
    assert failed.state is not None and failed.state.is_failed()
    call()
    mail = mailbox.wait_for(told("ops quarantine"), timeout=60)
    assert mail["Subject"] == "[Groundwork] ops: quarantine (export-logs)"
    text = plain(mail)
    assert "stream flow_runs is not loaded from batch 0000000001 on" in text
    assert "bytes, its manifest says" in text and "Restore the object from the bucket's versions" in text
    assert "docs/runbooks.md#quarantine" in text
    bucket.put(stored.key, body)
    mended = export()
    assert mended.state is not None and mended.state.is_completed()
    call()
    over = mailbox.wait_for(told("ops quarantine", "recovered"), timeout=60)
    assert over["In-Reply-To"] == mail["Message-ID"]
    assert len([one for one in mailbox.messages() if told("ops quarantine")(one)]) == 1


@pytest.mark.timeout(600)
def test_what_could_not_be_told_is_told_when_it_can_be_though_it_is_over_by_then(
    mail_server: MailServer, mailbox: Mailbox, unheard: str
) -> None:
    with get_client(sync_client=True) as client:
        mail_server.stop()
        run(unheard)
        until(lambda: could_not_tell(client), seconds=150, what="the call fails")
        run(unheard, how="well")
        until(lambda: state_of_a_call() == "Failed", seconds=150, what="a call finds that nobody can be told")
        mail_server.start()
        assert call_if_changed.fn({}), "watch asks for a call"
        call()
        assert not could_not_tell(client)
    assert not call_if_changed.fn({})
    (mail,) = [one for one in mailbox.messages() if one["X-Groundwork-Trouble"] == "unheard"]
    assert mail["Subject"] == "[Groundwork] unheard: recovered (was crashed)"
    assert "Nobody was told when it came" in plain(mail) and "docs/runbooks.md#crashed" in plain(mail)


@pytest.mark.timeout(600)
def test_a_call_that_failed_is_made_again_until_one_gets_through_though_nothing_is_to_be_told(
    mail_server: MailServer, mailbox: Mailbox
) -> None:
    call()
    assert not call_if_changed.fn({})
    mail_server.stop()
    with get_client(sync_client=True) as client:
        lost = client.create_flow_run_from_deployment(client.read_deployment_by_name("notify/notify").id)
        client.set_flow_run_state(lost.id, Crashed(message="Its machine is gone."), force=True)
        until(lambda: could_not_tell(client), seconds=60, what="it is seen that the call was lost")
        assert call_if_changed.fn({}), "watch asks for a call"
        until(lambda: state_of_a_call() == "Failed", seconds=150, what="a call finds that nobody can be told")
        mail_server.start()
        assert call_if_changed.fn({}), "watch asks once more"
        call()
        assert not could_not_tell(client)
    assert not call_if_changed.fn({})


def test_applied_twice_nothing_is_doubled(deployed: str, prefect_api: str, platform: dict[str, str]) -> None:
    with get_client(sync_client=True) as client:
        before = {one.name: one.id for one in read_automations(client)}
        changes = list(apply_automations(client, dry_run=False, prune=False))
        after = read_automations(client)
    assert {change.outcome for change in changes} == {"unchanged"}, changes
    assert {one.name: one.id for one in after} == before and len(after) == len(before)


def test_the_dead_mans_switch_tells_once_that_the_server_is_gone_and_once_that_it_is_back(
    prefect_server: PrefectServer, mail_server: MailServer, prefect_worker: PrefectWorker, tmp_path: Path
) -> None:
    def look(url: str) -> None:
        environment = {
            "PATH": os.environ["PATH"], "PREFECT_API_URL": url,
            "PREFECT_API_AUTH_STRING": prefect_server.login, "SWITCH_SMTP_URL": mail_server.url,
            "SWITCH_FROM": "switch@example.com", "SWITCH_TO": "data-team@example.com",
            "SWITCH_STATE": str(tmp_path / "switch.json"), "SWITCH_CALLS_SECONDS": "600",
        }  # fmt: skip
        # Isolated, without site-packages: it must run where there is nothing but Python.
        subprocess.run([sys.executable, "-I", "-S", str(SWITCH)], env=environment, check=True, timeout=60)

    def subjects() -> list[str]:
        mails = mail_server.mailbox.messages()
        return [str(mail["Subject"]) for mail in mails if mail["From"] == "switch@example.com"]

    look(prefect_server.api_url)
    assert subjects() == [], "all is well"
    gone = "http://127.0.0.1:1/api"
    look(gone)
    assert subjects() == [], "one lost packet is no trouble"
    look(gone)
    look(gone)
    assert subjects() == ["[Groundwork] server: Prefect does not answer (dead man's switch)"]
    look(prefect_server.api_url)
    look(prefect_server.api_url)
    assert subjects()[1:] == ["[Groundwork] server: recovered (dead man's switch)"]
