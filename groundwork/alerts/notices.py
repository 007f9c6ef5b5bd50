"""Notices: what went wrong, since when, what it touches, what to do; and that it is over. One mail each.

The subject begins with what it is about, so that a mailbox sorted by subject shows a source's troubles and
their ends side by side. No secret and no row value leaves the house: `groundwork.alerts.masking`.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from groundwork.alerts.affected import Affected
from groundwork.alerts.channels import Sender
from groundwork.alerts.diagnosis import ADVICE, RUNBOOKS, runbook
from groundwork.alerts.mail_text import addresses, ascii_text, body_text, header_text, sender_text
from groundwork.alerts.masking import folded, masked
from groundwork.alerts.silence import rough
from groundwork.alerts.troubles import COMES_AND_GOES, Row, moment
from groundwork.errors import SettingMissing

LONGEST_LINE = 4000
"""Characters of one log line that a mail holds."""


@dataclass(frozen=True)
class Notice:
    """One mail's worth: troubles of one run or one look, or their ends."""

    rows: Sequence[Row]
    recovered: bool = False
    affected: Affected = field(default_factory=Affected)
    owners: Sequence[str] = ()
    """Mail addresses of those who answer for the sources."""
    flow: str = ""
    run_name: str = ""
    url: str = ""
    log_lines: Sequence[str] = ()
    runbooks: str = RUNBOOKS
    secrets: Sequence[str] = field(default=(), repr=False)
    """Values that must not be in the mail."""


def compose(notice: Notice, sender: Sender) -> EmailMessage:
    """Write the mail, as plain text and as HTML."""
    first = notice.rows[0]
    mail = EmailMessage()
    mail["Subject"] = header_text(masked(subject(notice), notice.secrets))
    good, bad = _recipients(notice, sender)
    mail["From"] = sender_text(sender.sender, good[0])
    mail["To"] = ", ".join(good)
    mail["Message-ID"] = message_id(first, notice.recovered)
    if notice.recovered and first.message_id:
        mail["In-Reply-To"] = mail["References"] = ascii_text(first.message_id)
    mail["X-Groundwork-Trouble"] = ", ".join(ascii_text(row.trouble.key) for row in notice.rows)
    mail["X-Groundwork-State"] = "recovered" if notice.recovered else "open"
    if first.trouble.run_id:
        mail["X-Groundwork-Run"] = ascii_text(first.trouble.run_id)
    facts, lists = _facts(notice), _lists(notice)
    if bad:
        facts = [*facts, ("Unsent to", f"{', '.join(bad)}: not a mail address")]
    lines = [folded(masked(line, notice.secrets))[:LONGEST_LINE] for line in notice.log_lines]
    mail.set_content(body_text(_plain(facts, lists, lines)))
    mail.add_alternative(body_text(_html(facts, lists, lines)), subtype="html")
    return mail


def compose_bare(notice: Notice, sender: Sender) -> EmailMessage:
    """Write a mail of plain ASCII that says the least: for a notice that cannot be written otherwise."""
    first = notice.rows[0]
    state = "recovered" if notice.recovered else "open"
    mail = EmailMessage()
    mail["Subject"] = f"[Groundwork] {first.trouble.kind}, {state}: its mail could not be written as usual"
    good, _ = _recipients(notice, sender)
    mail["From"], mail["To"] = good[0], ", ".join(good)
    mail["Message-ID"] = message_id(first, notice.recovered)
    mail["X-Groundwork-State"] = state
    what = [ascii(masked(row.trouble.what, notice.secrets)) for row in notice.rows]
    mail.set_content("\n".join([*what, f"Since: {first.trouble.since!a}", ascii(notice.url)]))
    return mail


def _recipients(notice: Notice, sender: Sender) -> tuple[list[str], list[str]]:
    """Who is written to, and what among the names is no address.

    Raises:
        SettingMissing: when nobody is left.
    """
    good, bad = addresses([*sender.recipients, *notice.owners])
    if not good:
        raise SettingMissing(
            "GROUNDWORK_ALERT_TO", "holds no mail address that can be written to",
            fix="write one address, or several separated by commas",
        )  # fmt: skip
    return good, bad


def subject(notice: Notice) -> str:
    """E.g. ``[Groundwork] shop: failed (ingest-shop)``, ``[Groundwork] shop: recovered (was failed)``."""
    trouble = notice.rows[0].trouble
    several = f", {len(notice.rows)} troubles" if len(notice.rows) > 1 else ""
    if notice.recovered:
        return f"[Groundwork] {trouble.about}: recovered (was {trouble.kind}{several})"
    more = trouble.deployment or notice.run_name
    more = more if more != trouble.about else ""
    inside = f"{more}{several}".removeprefix(", ")
    return f"[Groundwork] {trouble.about}: {trouble.kind}" + (f" ({inside})" if inside else "")


def message_id(row: Row, recovered: bool = False) -> str:
    """The same for the same news: a mail that is sent twice all the same is shown once by most programs."""
    said = f"{row.trouble.key}|{row.opened[-1]}|{recovered}"
    return f"<{hashlib.sha256(said.encode()).hexdigest()[:32]}@groundwork>"


def facts_of(notice: Notice) -> dict[str, Any]:
    """What a webhook is told."""
    return {
        "state": "recovered" if notice.recovered else "open",
        "troubles": [
            {
                "key": row.trouble.key,
                "kind": row.trouble.kind,
                "about": row.trouble.about,
                "what": masked(row.trouble.what, notice.secrets),
                "since": row.trouble.since,
            }
            for row in notice.rows
        ],
        "url": notice.url,
        "runbook": runbook(notice.rows[0].trouble.kind, notice.runbooks),
    }


Facts = Sequence[tuple[str, str]]
Lists = Sequence[tuple[str, Sequence[str]]]


def _facts(notice: Notice) -> Facts:
    row = notice.rows[0]
    trouble, since = row.trouble, moment(row.trouble.since)
    what = [masked(one.trouble.what, notice.secrets) for one in notice.rows]
    facts = [("Trouble" if not notice.recovered else "Was", "; ".join(what)), ("Since", _time(since))]
    if notice.recovered:
        ended = moment(row.over)
        facts.append(("Recovered", f"{_time(ended)}, after {rough(ended - since)}"))
        if row.untold:
            unheard = "Nobody was told when it came: no mail could be sent."
            facts += [("Note", unheard), ("Runbook", runbook(trouble.kind, notice.runbooks))]
    run = " ".join(
        part for part in (notice.run_name, f"({trouble.run_id})" if trouble.run_id else "") if part
    )
    flow = "/".join(part for part in (notice.flow, trouble.deployment) if part)
    run, flow = masked(run, notice.secrets), masked(flow, notice.secrets)
    facts += [("Run", run), ("Flow", flow), ("Link", notice.url), ("Owner", ", ".join(notice.owners))]
    if not notice.recovered:
        facts += [("To do", ADVICE[trouble.kind]), ("Runbook", runbook(trouble.kind, notice.runbooks))]
        if len(row.opened) >= COMES_AND_GOES:
            often = (
                f"It came {len(row.opened)} times within the last hour. "
                "You will hear of it again when it has been well for an hour."
            )
            facts.append(("Note", often))
    return [(name, value) for name, value in facts if value]


def _lists(notice: Notice) -> Lists:
    if notice.recovered:
        return []
    nodes = [row.trouble.node for row in notice.rows if row.trouble.node]
    return [
        ("Models and tests that failed", [node.split(".", 2)[-1] for node in nodes]),
        ("Tables that are not fresh", notice.affected.tables),
        ("Models that people see", notice.affected.models),
        ("Dashboards and exports", notice.affected.exposures),
        ("Questions that wait for an answer", notice.affected.questions),
    ]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _plain(facts: Facts, lists: Lists, lines: Sequence[str]) -> str:
    parts = ["\n".join(f"{name + ':':11}{value}" for name, value in facts)]
    parts += [f"{name}:\n" + "\n".join(f"  - {one}" for one in of) for name, of in lists if of]
    if lines:
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
    last = f"<p><b>Last {len(lines)} log lines</b></p><pre>{tail}</pre>" if lines else ""
    return f"<table cellpadding=4>{rows}</table>{items}{last}"


def _linked(value: str) -> str:
    safe = html.escape(value)
    return f'<a href="{safe}">{safe}</a>' if value.startswith("http") else safe
