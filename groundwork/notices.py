"""Calls for help: what went wrong, since when, what it touches, what to do; as one mail.

No secret and no row value leaves the house: passwords in addresses are masked, and so are the values
that databases quote in their errors.
"""

from __future__ import annotations

import html
import logging
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from groundwork.affected import Affected
from groundwork.errors import GroundworkError
from groundwork.sources.address import is_loopback

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trouble:
    """One run that did not end well, as far as Prefect knows."""

    run_id: str
    run_name: str
    flow: str
    deployment: str
    state: str
    state_id: str
    message: str
    since: str
    url: str
    source: str = ""
    """The catalog's name of the source it was about, if it was about one."""
    log_lines: Sequence[str] = ()
    failed_nodes: Sequence[str] = ()
    """dbt's unique ids of what failed, when dbt ran."""


@dataclass(frozen=True)
class Sender:
    """Who writes to whom, through which server."""

    url: str
    """``smtp://user:password@host:port`` (STARTTLS, but for loopback) or ``smtps://…``."""
    sender: str
    recipients: Sequence[str] = field(default_factory=list)


def compose(trouble: Trouble, affected: Affected, sender: Sender) -> EmailMessage:
    """Write the mail, as plain text and as HTML."""
    what = "/".join(part for part in (trouble.flow, trouble.deployment) if part)
    about = f" (source {trouble.source})" if trouble.source else ""
    facts = [
        ("Run", f"{trouble.run_name} ({trouble.run_id})"),
        ("Flow", what),
        ("State", f"{trouble.state} since {trouble.since}"),
        ("Message", masked(trouble.message)),
        ("Link", trouble.url),
    ]
    lists = [
        ("Models that failed", [node.split(".", 2)[-1] for node in trouble.failed_nodes]),
        ("Tables that are not fresh", affected.tables),
        ("Models that people see", affected.models),
        ("Dashboards and exports", affected.exposures),
        ("Questions that wait for an answer", affected.questions),
    ]
    lines = [folded(masked(line)) for line in trouble.log_lines]
    mail = EmailMessage()
    mail["Subject"] = f"[Groundwork] {trouble.state}: {trouble.run_name}{about}"
    mail["From"], mail["To"] = sender.sender, ", ".join(sender.recipients)
    mail["X-Groundwork-Run"] = trouble.run_id
    mail.set_content(_plain(facts, lists, lines))
    mail.add_alternative(_html(facts, lists, lines), subtype="html")
    return mail


def send(mail: EmailMessage, sender: Sender) -> None:
    """Hand the mail to the server.

    Raises:
        GroundworkError: when the server cannot be reached, or refuses.
    """
    where = urlsplit(sender.url)
    host, server = where.hostname or "", f"mail server {where.hostname}:{where.port}"
    context = ssl.create_default_context()
    try:
        if where.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, where.port or 465, timeout=30, context=context)
        else:
            client = smtplib.SMTP(host, where.port or 587, timeout=30)
        with client:
            if where.scheme != "smtps" and not is_loopback(host):
                client.starttls(context=context)
            if where.username:
                client.login(unquote(where.username), unquote(where.password or ""))
            client.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise GroundworkError(
            server,
            f"did not take the mail ({type(error).__name__})",
            fix="check GROUNDWORK_SMTP_URL and the server's log",
        ) from error
    log.info("mailed subject=%r recipients=%d", mail["Subject"], len(sender.recipients))


def masked(text: str) -> str:
    """A text without passwords, and without the values that databases quote in errors."""
    text = re.sub(r"://([^:/@\s]*):[^@\s]+@", r"://\1:…@", text)
    text = re.sub(r"(?i)\b(password|token|secret|api[_-]?key)(\s*[=:]\s*)\S+", r"\1\2…", text)
    if re.search(r"(?i)conver|cast|constraint|duplicate|violat|invalid input|not recognized", text):
        text = re.sub(r"'[^']*'", "'…'", text)
        text = re.sub(r"(?i)(key \")[^\"]*\"", r'\1…"', text)
        text = re.sub(r"(?i)(key \([^)]*\)=)\([^)]*\)", r"\1(…)", text)
    return text


Facts = Sequence[tuple[str, str]]
Lists = Sequence[tuple[str, Sequence[str]]]


def folded(line: str, rows: int = 4) -> str:
    """A log line without the middle of its traceback: how it begins, and the error it ends with."""
    parts = line.rstrip().splitlines()
    if len(parts) <= rows:
        return line
    return "\n".join([parts[0], f"    … {len(parts) - 2} lines, see the run …", f"    {parts[-1]}"])


def _plain(facts: Facts, lists: Lists, lines: Sequence[str]) -> str:
    parts = ["\n".join(f"{name + ':':9}{value}" for name, value in facts)]
    parts += [f"{name}:\n" + "\n".join(f"  - {one}" for one in of) for name, of in lists if of]
    parts.append(f"Last {len(lines)} log lines:\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _html(facts: Facts, lists: Lists, lines: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><th align=left valign=top>{name}</th><td>{_linked(value)}</td></tr>" for name, value in facts
    )
    items = "".join(
        f"<p><b>{name}</b></p><ul>{''.join(f'<li>{html.escape(one)}</li>' for one in of)}</ul>"
        for name, of in lists
        if of
    )
    tail = html.escape("\n".join(lines))
    return (
        f"<table cellpadding=4>{rows}</table>{items}"
        f"<p><b>Last {len(lines)} log lines</b></p><pre>{tail}</pre>"
    )


def _linked(value: str) -> str:
    safe = html.escape(value)
    return f'<a href="{safe}">{safe}</a>' if value.startswith("http") else safe
