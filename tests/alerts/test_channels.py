"""Slack and a webhook hear of it too, and their silence stops no mail."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from demo.mailbox import MailServer
from groundwork.alerts.channels import Sender, post, reach
from groundwork.errors import GroundworkError
from tests.ear import listening


@pytest.fixture
def heard() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """An address, and what is posted there."""
    with listening() as ear:
        yield ear


def mail() -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "[Groundwork] shop: failed"
    made.set_content("Trouble: no")
    return made


def test_slack_and_the_webhook_are_told_what_the_mail_says(heard: tuple[str, list[tuple[str, Any]]]) -> None:
    url, said = heard
    sender = Sender("", "", slack=f"{url}/slack", webhook=f"{url}/hook")
    assert post(mail(), {"state": "open"}, sender) == []
    (_, slack), (_, hook) = said
    assert slack["text"].startswith("*[Groundwork] shop: failed*") and "Trouble: no" in slack["text"]
    assert (hook["state"], hook["subject"]) == ("open", "[Groundwork] shop: failed")
    assert "Trouble: no" in hook["text"]


def test_one_that_refuses_is_named_without_its_secret_path_and_the_other_is_told(
    heard: tuple[str, list[tuple[str, Any]]],
) -> None:
    url, said = heard
    (error,) = post(mail(), {}, Sender("", "", slack=f"{url}/broken", webhook=f"{url}/hook"))
    assert "Check GROUNDWORK_ALERT_SLACK" in str(error) and "broken" not in str(error)
    assert [path for path, _ in said] == ["/broken", "/hook"]


def test_without_addresses_nobody_is_told() -> None:
    assert post(mail(), {}, Sender("", "")) == []


def test_a_mail_server_is_reached_by_who_may_sign_in_and_nothing_is_sent(tmp_path: Path) -> None:
    with MailServer(tmp_path / "mail") as server:
        reach(Sender(server.url, ""))
        with pytest.raises(GroundworkError, match=r"did not take the mail \(SMTPAuthentication"):
            reach(Sender(server.url.replace(server.password, "wrong"), ""))
        assert server.mailbox.messages() == []
    with pytest.raises(GroundworkError, match=r"did not take the mail \(ConnectionRefused"):
        reach(Sender(server.url, ""))
