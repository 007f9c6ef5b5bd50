"""Slack and a webhook hear of it too, and their silence stops no mail."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from groundwork.alerts.channels import Sender, post
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
