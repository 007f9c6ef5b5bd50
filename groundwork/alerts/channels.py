"""How a notice leaves the house: a mail server, and by configuration Slack and a webhook beside it."""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit

from groundwork.errors import GroundworkError
from groundwork.escaping import slack_text
from groundwork.sources.address import is_loopback

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds to wait for a server."""


@dataclass(frozen=True)
class Sender:
    """Who writes to whom, through which servers."""

    url: str
    """``smtp://user:password@host:port`` (STARTTLS, but for loopback) or ``smtps://…``."""
    sender: str
    recipients: Sequence[str] = field(default_factory=list)
    slack: str = ""
    """Address of an incoming webhook of Slack; empty for none."""
    webhook: str = ""
    """Any address that takes JSON by POST; empty for none."""


def send(mail: EmailMessage, sender: Sender) -> None:
    """Hand the mail to the server.

    Raises:
        GroundworkError: when the server cannot be reached, or refuses.
    """
    with _mail_server(sender) as client:
        refused = client.send_message(mail)
    recipients = len(str(mail["To"]).split(","))
    log.info("mailed subject=%r recipients=%d", mail["Subject"], recipients - len(refused))
    if refused:
        log.warning("the mail server refused some recipients, count=%d of=%d", len(refused), recipients)


def reach(sender: Sender) -> None:
    """Sign in to the mail server, and send nothing.

    Raises:
        GroundworkError: when the server cannot be reached, or refuses.
    """
    with _mail_server(sender):
        pass


@contextmanager
def _mail_server(sender: Sender) -> Iterator[smtplib.SMTP]:
    where = urlsplit(sender.url)
    host, server = where.hostname or "", f"mail server {where.hostname}:{where.port}"
    context = ssl.create_default_context()
    try:
        if where.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                host, where.port or 465, timeout=PATIENCE, context=context
            )
        else:
            client = smtplib.SMTP(host, where.port or 587, timeout=PATIENCE)
        with client:
            if where.scheme != "smtps" and not is_loopback(host):
                client.starttls(context=context)
            if where.username:
                client.login(unquote(where.username), unquote(where.password or ""))
            yield client
    except (OSError, smtplib.SMTPException) as error:
        raise GroundworkError(
            server,
            f"did not take the mail ({type(error).__name__})",
            fix="check GROUNDWORK_SMTP_URL and the server's log",
        ) from error


def post(mail: EmailMessage, facts: dict[str, Any], sender: Sender) -> list[GroundworkError]:
    """Tell Slack and the webhook too, where they are configured.

    Args:
        mail: its subject and plain text go to Slack.
        facts: goes to the webhook, with the plain text beside it.
        sender: holds the addresses.

    Returns:
        What did not work; the others were told.
    """
    body = mail.get_body(("plain",))
    text = str(body.get_content()) if body else ""
    failed = []
    for name, url, said in (
        ("GROUNDWORK_ALERT_SLACK", sender.slack, {"text": _slack(str(mail["Subject"]), text)}),
        ("GROUNDWORK_ALERT_WEBHOOK", sender.webhook, facts | {"subject": mail["Subject"], "text": text}),
    ):
        if url:
            try:
                _post(url, said)
            except (OSError, ValueError, HTTPException) as error:
                failed.append(
                    GroundworkError(
                        f"alert channel {urlsplit(url).hostname}",
                        f"did not take the notice ({type(error).__name__})",
                        fix=f"check {name}",
                    )
                )
    return failed


def _slack(subject: str, text: str) -> str:
    """A title and a block of code; names in them are text, neither links nor mentions."""
    return f"*{slack_text(subject)}*\n```{slack_text(text[:3500])}```"


def _post(url: str, said: dict[str, Any]) -> None:
    data = json.dumps(said).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE):
        pass
