"""The dead man's switch: tells what cannot tell of itself any more. It needs Python's standard library only.

Run it on another machine than Prefect's server, with a mail server of its own if there is one:

    * * * * *  . /etc/groundwork-switch.env && python3 switch.py        (cron)
    docker run --env-file switch.env -v switch:/state groundwork-switch (a container that looks every minute)

It tells four things, each once when it comes and once when it is over: Prefect does not answer; the server
could not send a mail; calls for help are not taken up although a worker is there; nobody watches.

    PREFECT_API_URL       the API, e.g. https://prefect.example.org/api
    PREFECT_API_KEY       Prefect Cloud's key; PREFECT_API_AUTH_STRING user:password of a server of your own
    SWITCH_SMTP_URL       smtp://user:password@host:port (STARTTLS, but for this machine) or smtps://…
    SWITCH_FROM SWITCH_TO who writes to whom; several separated by commas
    SWITCH_STATE          file that remembers what was told (default: ./switch.json)
    SWITCH_RUNBOOKS       address of the runbooks, for the links
    SWITCH_CALLS_SECONDS SWITCH_WATCH_SECONDS  how long calls may wait (150), and watch be silent (420)
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import smtplib
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TIMEOUT = 10.0
"""Seconds that an answer may take."""
LOOKS = 2
"""A trouble is told when it was there at this many looks in a row: one lost packet is none."""
CALLS_WAIT = timedelta(seconds=float(os.environ.get("SWITCH_CALLS_SECONDS", "150")))
"""How long runs of `notify` may wait for a worker that is there, and none of them ends."""
WATCH_IS_DUE = timedelta(seconds=float(os.environ.get("SWITCH_WATCH_SECONDS", "420")))
"""`watch` succeeds every two minutes; `notify` tells after 5 minutes that it does not, if it can."""
SERVER_MAILS = timedelta(minutes=2)
"""The server has mailed by then that `notify` failed, if it could."""
MAIL_FAILED = timedelta(hours=2)
"""How far back the server is asked for mails that it could not send; it tries once an hour."""

WHAT = {
    "server": ("Prefect does not answer", "nothing is started, and nobody is told of anything"),
    "alert channel": ("the server could not send a mail", "troubles may be there that nobody was told of"),
    "worker": ("runs wait, and no worker has ever been there", "nothing is read, built or watched"),
    "calls": ("calls for help are not taken up, though a worker is there", "no trouble is told"),
    "watch": ("nobody watches: the flow watch does not succeed", "silence, disks and slots go unnoticed"),
}
"""By trouble: what it is, and what it affects."""
ADVICE = {
    "server": "look at the server's process, its database and the network between",
    "alert channel": "look at the mail server, its login, and the block groundwork-mail",
    "worker": "start one: prefect worker start --pool groundwork",
    "calls": "does a worker serve the queue alerts? is the queue paused?",
    "watch": "look at the newest runs of watch, and at the server's scheduler",
}
SECTION = {
    "server": "server", "alert channel": "alert-channel", "worker": "no-worker", "calls": "late",
    "watch": "never-started",
}  # fmt: skip


def ask(path: str, question: Mapping[str, Any] | None = None) -> Any:
    """Ask Prefect's API; OSError or ValueError when there is no answer, or none that makes sense."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif login := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    data = None if question is None else json.dumps(question).encode()
    url = os.environ["PREFECT_API_URL"].rstrip("/") + path
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return json.load(response)


def look(at: datetime) -> dict[str, str]:
    """What is wrong now, each with a detail; no secret and no address of ours is in it."""
    try:
        pools = ask("/work_pools/filter", {"work_pools": {"name": {"any_": ["groundwork"]}}})
        found = {}
        if failed := failed_mails(at):
            found["alert channel"] = failed
        if any(pool.get("status") == "READY" for pool in pools):
            found |= unheard(at)
        elif pools:  # the server itself tells of workers that are gone, but not that there never was one
            found |= never_begun(at)
        return found
    except urllib.error.HTTPError as error:
        return {"server": f"answered {error.code}"}
    except (OSError, ValueError) as error:
        return {"server": type(error).__name__}


def failed_mails(at: datetime) -> str:
    """A mail of the server, or a run of `notify`, that failed, and after which nobody was told of that."""
    done = runs("notify", {"state": {"type": {"any_": ["COMPLETED"]}}}, "END_TIME_DESC")
    since = max([at - MAIL_FAILED, *(moment(run["end_time"]) for run in done)])
    sent = mails("executed", since)
    failed = [one for one in mails("failed", since) if not any(other > one for other in sent)]
    ended = {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}, "end_time": {"after_": since.isoformat()}}
    for run in runs("notify", ended, "END_TIME_DESC"):
        bad = moment(run["end_time"])
        if bad > since and at - bad > SERVER_MAILS and not sent:
            failed.append(bad)
    return f"since {min(failed):%Y-%m-%d %H:%M:%S} UTC" if failed else ""


def mails(end: str, since: datetime) -> list[datetime]:
    """When the server sent mails of ours, or could not."""
    asked = {
        "occurred": {"since": since.isoformat()},
        "event": {"name": [f"prefect.automation.action.{end}"]},
        "order": "DESC",
    }
    seen = ask("/events/filter", {"filter": asked, "limit": 50})["events"]
    return [
        moment(event["occurred"])
        for event in seen
        if "notification" in event["payload"].get("action_type", "")
        and event["resource"].get("prefect.resource.name", "").startswith("groundwork: ")
    ]


def unheard(at: datetime) -> dict[str, str]:
    """Whether `notify` waits, or `watch` is silent, although a worker is there."""
    found = {}
    waiting = runs("notify", {"state": {"type": {"any_": ["SCHEDULED"]}}}, "EXPECTED_START_TIME_ASC")
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    last = [moment(run["end_time"]) for run in runs("notify", ended, "END_TIME_DESC")]
    if waiting and at - max([moment(waiting[0]["expected_start_time"]), *last]) > CALLS_WAIT:
        found["calls"] = f"the first since {waiting[0]['expected_start_time'][:19]} UTC"
    done = runs("watch", {"state": {"type": {"any_": ["COMPLETED"]}}}, "END_TIME_DESC")
    if done and at - moment(done[0]["end_time"]) > WATCH_IS_DUE and "watch" not in told_by_notify():
        found["watch"] = f"the last success ended {done[0]['end_time'][:19]} UTC"
    return found


def never_begun(at: datetime) -> dict[str, str]:
    """Whether runs wait for a pool that never had a worker."""
    if ask("/work_pools/groundwork/workers/filter", {}):
        return {}
    waiting = first(
        {
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}, "tags": {"all_": ["groundwork"]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
    )
    if not waiting or at - moment(waiting[0]["expected_start_time"]) < CALLS_WAIT:
        return {}
    return {"worker": f"the first since {waiting[0]['expected_start_time'][:19]} UTC"}


def runs(deployment: str, which: Mapping[str, Any], sort: str) -> list[Any]:
    """The first run of a deployment, in an order."""
    return first({"deployments": {"name": {"any_": [deployment]}}, "flow_runs": which, "sort": sort})


def first(asked: Mapping[str, Any]) -> list[Any]:
    """The first run that is asked for, if there is one."""
    found: list[Any] = ask("/flow_runs/filter", {**asked, "limit": 1})
    return found


def told_by_notify() -> set[str]:
    """Keys of the troubles that stand on the platform's own board."""
    try:
        rows = ask("/artifacts/groundwork-troubles/latest")["data"]
        rows = json.loads(rows) if isinstance(rows, str) else rows
        return {row["trouble"]["key"] for row in rows if not row["over"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def moment(text: str) -> datetime:
    """A time as Prefect writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def one_line(text: str) -> str:
    """A text of the server's as a mail can carry it: whatever is not printable is a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def tell(subject: str, facts: Mapping[str, str]) -> None:
    """Send one mail; OSError or SMTPException when that fails."""
    mail = EmailMessage()
    facts = {name: one_line(value) for name, value in facts.items()}
    mail["Subject"], mail["From"], mail["To"] = (
        one_line(subject),
        os.environ["SWITCH_FROM"],
        os.environ["SWITCH_TO"],
    )
    mail["Message-ID"] = make_msgid(domain="groundwork")
    mail.set_content("".join(f"{name + ':':11}{value}\n" for name, value in facts.items()))
    rows = "".join(
        f"<tr><th align=left>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items()
    )
    mail.add_alternative(f"<table cellpadding=4>{rows}</table>", subtype="html")
    where, context = urlsplit(os.environ["SWITCH_SMTP_URL"]), ssl.create_default_context()
    host = where.hostname or ""
    if where.scheme == "smtps":
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, where.port or 465, timeout=TIMEOUT, context=context)
    else:
        client = smtplib.SMTP(host, where.port or 587, timeout=TIMEOUT)
    with client:
        if where.scheme != "smtps" and host not in ("localhost", "127.0.0.1", "::1"):
            client.starttls(context=context)
        if where.username:
            client.login(unquote(where.username), unquote(where.password or ""))
        client.send_message(mail)


def step(state: dict[str, Any], found: Mapping[str, str], at: datetime) -> None:
    """Hold a look against what was told, and tell the difference; the state remembers it.

    A mail that cannot be sent is tried again at the next look.
    """
    runbooks = os.environ.get("SWITCH_RUNBOOKS", "docs/runbooks.md")
    for key, detail in found.items():
        mark = state.setdefault(key, {"since": at.isoformat(), "looks": 0, "told": False})
        mark["looks"] += 1
        if mark["looks"] >= LOOKS and not mark["told"]:
            what, affects = WHAT[key]
            facts = {"Trouble": what, "Since": f"{mark['since'][:19]} UTC", "Detail": detail}
            facts |= {"Affects": affects, "To do": ADVICE[key], "Runbook": f"{runbooks}#{SECTION[key]}"}
            tell(f"[Groundwork] {key}: {what} (dead man's switch)", facts)
            mark["told"] = True
    for key in [key for key in state if key not in found and not ("server" in found and key != "server")]:
        if state[key]["told"]:
            since = moment(state[key]["since"])
            facts = {"Was": WHAT[key][0], "Since": f"{since:%Y-%m-%d %H:%M:%S} UTC"}
            facts["Recovered"] = (
                f"{at:%Y-%m-%d %H:%M:%S} UTC, after {(at - since).total_seconds():.0f} seconds"
            )
            tell(f"[Groundwork] {key}: recovered (dead man's switch)", facts)
        del state[key]


def main() -> int:
    """Look once, or for ever; 1 when a mail could not be sent."""
    parser = argparse.ArgumentParser(prog="switch.py", description="Groundwork's dead man's switch")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="look again and again")
    every, worked = parser.parse_args().every, True
    file = Path(os.environ.get("SWITCH_STATE", "switch.json"))
    while True:
        at = datetime.now(UTC)
        state = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        try:
            step(state, look(at), at)
            worked = True
        except (OSError, smtplib.SMTPException) as error:
            print(f"{at:%H:%M:%S} a mail could not be sent ({type(error).__name__})", file=sys.stderr)
            worked = False
        file.with_suffix(".part").write_text(json.dumps(state), encoding="utf-8")
        file.with_suffix(".part").replace(file)
        if not every:
            return 0 if worked else 1
        time.sleep(every)


if __name__ == "__main__":
    sys.exit(main())
