"""The dead man's switch: a look from outside at what stops everything; Python's standard library only.

Run it on another machine than Prefect's server, by cron, systemd or in a container: see docs/alerts.md.

It sends one mail when each of these begins, and one when it is resolved: Prefect does not answer or stores
nothing; no worker takes work, or the work pool is paused or gone; the flow `watch` does not succeed; runs of
`notify` are not taken up; a mail could not be sent; a disk of this machine fills. It reads Prefect's state,
not its events: after a restart of the server, an event can wait 15 minutes for one that came before it.

    PREFECT_API_URL       the API, e.g. https://prefect.example.org/api; without it, only SWITCH_DISKS
    PREFECT_API_KEY       Prefect Cloud's key; PREFECT_API_AUTH_STRING user:password of a server of your own
    SWITCH_SMTP_URL       smtp://user:password@host:port (STARTTLS, but for this machine) or smtps://…
    SWITCH_FROM SWITCH_TO sender and recipients; several separated by commas
    SWITCH_STATE          file with the open incidents (default: ./switch.json)
    SWITCH_DISKS          directories of this machine, separated by commas, whose disks must not fill
    SWITCH_LEAST_FREE_PERCENT, SWITCH_CALLS_SECONDS, SWITCH_WATCH_SECONDS  limits (10, 150, 235)
    SWITCH_RUNBOOKS       address of the runbooks, for the links
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import shutil
import smtplib
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from email.utils import make_msgid, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TIMEOUT = 10.0
"""Seconds that an answer may take."""
POOL = "groundwork"
LOOKED = "groundwork_switch"
"""Prefect variable that every look writes: whether the server stores anything, and when we looked last."""
CALLS_WAIT = timedelta(seconds=float(os.environ.get("SWITCH_CALLS_SECONDS", "150")))
"""How long runs of `notify` may wait for a worker that is there, and none of them ends."""
WATCH_IS_DUE = timedelta(seconds=float(os.environ.get("SWITCH_WATCH_SECONDS", "235")))
"""How long no run of `watch` may end; it is scheduled every two minutes."""
NOTIFY_IS_DUE = WATCH_IS_DUE + timedelta(seconds=165)  # when `watch` fails, `notify` has said so by then
MISSED_HEARTBEATS = 3
SERVER_MAILS = timedelta(minutes=2)  # the server has mailed by then that `notify` failed, if it could
MAIL_FAILED = timedelta(hours=2)  # how far back mails that failed are asked for; it tries once an hour
GAP = timedelta(minutes=5)  # without a look for so long, this machine slept: silence counts from the next on
LEAST_FREE = float(os.environ.get("SWITCH_LEAST_FREE_PERCENT", "10"))
BLOCKING = ("server", "worker")  # silence is a consequence of these

WHAT = {
    "server": ("Prefect does not answer", "nothing is started, and no mail about it is sent", "server",
               "look at the server's process, its database, that one's disk, and the network between"),
    "alert channel": ("the server could not send a mail", "incidents may have no mail", "alert-channel",
                      "look at the mail server, its login, and the block groundwork-mail"),
    "worker": ("no worker takes work from the pool", "nothing is read, built or watched", "no-worker",
               f"start one (prefect worker start --pool {POOL}), or resume the pool"),
    "calls": ("calls for help are not taken up, though a worker is there", "no mail is sent", "late",
              "does a worker serve the queue alerts? is the queue paused?"),
    "watch": ("the flow watch does not succeed", "stale sources, disks and slots go unnoticed", "watch",
              "look at the newest runs of watch, and at the server's scheduler"),
    "disk": ("a disk fills", "a database on it stops when it is full", "disk",
             "free space, or make the disk larger, before it is full"),
}  # fmt: skip
"""By incident: what it is, what it affects, the section of the runbooks, what to do."""
LOOKS = {"server": 2, "worker": 2, "alert channel": 2}  # in a row that must see it; silence needs one


class Prefect:
    """Prefect's API, for one look; OSError or ValueError when it gives no answer that makes sense."""

    def __init__(self, client: str) -> None:
        """Read the server's clock, and fetch a CSRF token where the server wants one."""
        self.headers = {"Content-Type": "application/json"}
        if key := os.environ.get("PREFECT_API_KEY"):
            self.headers["Authorization"] = f"Bearer {key}"
        elif login := os.environ.get("PREFECT_API_AUTH_STRING"):
            self.headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        self.now: datetime = datetime.now(UTC)  # the server's clock, once it has answered
        try:
            token = self.ask(f"/csrf-token?client={client}")["token"]
            self.headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
        except urllib.error.HTTPError as error:
            if error.code >= 500:  # a server without this protection, and Cloud, answer 4xx
                raise

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "") -> Any:
        """The answer to one request."""
        url = os.environ["PREFECT_API_URL"].rstrip("/") + path
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, self.headers, method=method or None)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                self._read_clock(response.headers)
                answer = response.read()
        except urllib.error.HTTPError as error:
            self._read_clock(error.headers)
            raise
        return json.loads(answer) if answer else None

    def find(self, path: str) -> Any:
        """The answer to one request; None where there is no such thing."""
        try:
            return self.ask(path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def runs(self, deployment: str, states: Sequence[str], order: str, **more: Any) -> list[Any]:
        """The first run of a deployment in some states, in an order."""
        which = {"state": {"type": {"any_": list(states)}}, **more}
        asked = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": which}
        found: list[Any] = self.ask("/flow_runs/filter", {**asked, "sort": order, "limit": 1})
        return found

    def ended(self, deployment: str, *states: str) -> list[Any]:
        """The newest run of a deployment that ended so; not one of a clock that was ahead."""
        before = {"before_": (self.now + timedelta(seconds=2)).isoformat()}
        return self.runs(deployment, states, "END_TIME_DESC", end_time=before)

    def store(self) -> None:
        """Write the time of this look; an error when the server stores nothing."""
        value = {"name": LOOKED, "value": self.now.isoformat(timespec="seconds")}
        try:
            self.ask(f"/variables/name/{LOOKED}", value, "PATCH")
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise
            if error.code == 404:
                self.ask("/variables/", value)

    def _read_clock(self, headers: Message) -> None:
        if date := headers["Date"]:
            self.now = parsedate_to_datetime(date).replace(tzinfo=UTC)


class Look:
    """One look at everything, with what earlier looks left."""

    def __init__(self, memory: State) -> None:
        self.memory, self.at = memory, memory.at

    def found(self) -> dict[str, str]:
        """The incidents there are now, each with a detail; no secret and no address is in it."""
        found = full_disks()
        if "PREFECT_API_URL" not in os.environ:
            return found
        try:
            self.api = Prefect(self.memory.client)
            self.api.store()
            return found | self._prefect()
        except urllib.error.HTTPError as error:
            return found | {"server": f"answered {error.code}"}
        except (OSError, ValueError) as error:
            return found | {"server": type(error).__name__}

    def _prefect(self) -> dict[str, str]:
        found = {}
        if failed := self._failed_mails():
            found["alert channel"] = failed
        if worker := self._worker():
            return found | {"worker": worker}
        if not self.memory.pool:
            return found  # nothing is deployed yet
        calls, watch = self._calls(), self._watch()
        if watch and (not calls or "watch" in self.memory.incidents):
            return found | {"watch": watch}
        return found | ({"calls": calls} if calls else {})

    def _silent(self, key: str, since: datetime) -> timedelta:
        """Time since the last sign of life. Both ends come from one clock, the server's or ours."""
        silent = self.api.now - since
        return silent if key in self.memory.incidents else min(silent, self.at - self.memory.since)

    def _worker(self) -> str:
        if (pool := self.api.find(f"/work_pools/{POOL}")) is None:
            return "the work pool does not exist any more" if self.memory.pool else ""
        self.memory.pool = True
        if pool["is_paused"]:
            return "the work pool is paused"
        workers = self.api.ask(f"/work_pools/{POOL}/workers/filter", {})
        if not workers:
            return self._never_begun()
        beats = [moment(one["last_heartbeat_time"]) for one in workers if one["last_heartbeat_time"]]
        newest = max((beat for beat in beats if beat <= self.api.now + GAP), default=None)
        allowed = MISSED_HEARTBEATS * max(one.get("heartbeat_interval_seconds") or 30 for one in workers)
        silent = self._silent("worker", newest or datetime.min.replace(tzinfo=UTC))
        if silent <= timedelta(seconds=allowed):
            return ""
        return f"the last heartbeat came {newest:%Y-%m-%d %H:%M:%S} UTC" if newest else "no heartbeat came"

    def _never_begun(self) -> str:
        """Whether runs wait for a pool that never had a worker."""
        which = {"state": {"type": {"any_": ["SCHEDULED"]}}, "tags": {"all_": ["groundwork"]}}
        asked = {"flow_runs": which, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}
        waiting = self.api.ask("/flow_runs/filter", asked)
        if not waiting or self.api.now - moment(waiting[0]["expected_start_time"]) < CALLS_WAIT:
            return ""
        return (
            f"runs wait since {waiting[0]['expected_start_time'][:19]} UTC, and no worker has ever been there"
        )

    def _calls(self) -> str:
        waiting = self.api.runs("notify", ["SCHEDULED"], "EXPECTED_START_TIME_ASC")
        if not waiting:
            return ""
        last = [moment(run["end_time"]) for run in self.api.ended("notify", "COMPLETED", "FAILED", "CRASHED")]
        if self._silent("calls", max([moment(waiting[0]["expected_start_time"]), *last])) <= CALLS_WAIT:
            return ""
        return f"the first waits since {waiting[0]['expected_start_time'][:19]} UTC"

    def _watch(self) -> str:
        deployment = self.api.find("/deployments/name/watch/watch")
        quiet = self.api.find("/variables/name/groundwork_schedules")
        if deployment is None or (quiet and quiet["value"] == "off"):
            return ""
        ended = self.api.ended("watch", "COMPLETED", "FAILED", "CRASHED")
        last = moment(ended[0]["end_time"] if ended else deployment["created"])
        if self._silent("watch", last) > WATCH_IS_DUE:
            return f"no run of it ended since {last:%Y-%m-%d %H:%M:%S} UTC"
        if not ended or ended[0]["state_type"] == "COMPLETED":
            return ""
        good = [*self.api.ended("watch", "COMPLETED"), {"end_time": deployment["created"]}]
        since = moment(good[0]["end_time"])
        if self._silent("watch", since) <= NOTIFY_IS_DUE or self._on_board(since):
            return ""
        return f"its runs fail since {since:%Y-%m-%d %H:%M:%S} UTC, and no mail was sent about it"

    def _on_board(self, since: datetime) -> bool:
        """Whether `notify` has an open incident, begun since then, that explains why `watch` fails."""
        board = self.api.find("/artifacts/groundwork-troubles/latest")
        try:
            rows = json.loads(board["data"]) if isinstance(board["data"], str) else board["data"]
            kinds = ("bucket", "warehouse", "disk")
            return any(
                not row["over"] and moment(row["opened"][-1]) >= since
                and (row["trouble"]["key"] == "watch" or row["trouble"]["kind"] in kinds)
                for row in rows
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, IndexError):
            return False

    def _failed_mails(self) -> str:
        """Since when mails of the server, or runs of `notify`, fail, and no mail says so."""
        done = self.api.ended("notify", "COMPLETED")
        since = max([self.api.now - MAIL_FAILED, *(moment(run["end_time"]) for run in done)])
        sent = self._mails("executed", since)
        failed = [one for one in self._mails("failed", since) if not any(other > one for other in sent)]
        for run in self.api.ended("notify", "FAILED", "CRASHED"):
            bad = moment(run["end_time"])
            if bad > since and self.api.now - bad > SERVER_MAILS and not sent:
                failed.append(bad)
        return f"since {min(failed):%Y-%m-%d %H:%M:%S} UTC" if failed else ""

    def _mails(self, end: str, since: datetime) -> list[datetime]:
        """When the server sent mails of ours, or could not."""
        name = {"name": [f"prefect.automation.action.{end}"]}
        asked = {"occurred": {"since": since.isoformat()}, "event": name, "order": "DESC"}
        return [
            moment(event["occurred"])
            for event in self.api.ask("/events/filter", {"filter": asked, "limit": 50})["events"]
            if "notification" in event["payload"].get("action_type", "")
            and event["resource"].get("prefect.resource.name", "").startswith("groundwork: ")
        ]


class State:
    """What one look leaves for the next; in memory too, so that a full disk stops no loop."""

    def __init__(self, file: Path) -> None:
        """Read the file; one that cannot be read is an empty one."""
        try:
            kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {}
        self.file = file
        self.at = self.since = datetime.min.replace(tzinfo=UTC)
        """This machine's clock, and from when on silence counts."""
        if "looked" in kept:
            self.at, self.since = moment(kept["looked"]), moment(kept["since"])
        self.incidents: dict[str, Any] = kept.get("incidents", {})
        self.pool: bool = kept.get("pool", False)  # whether it was ever there
        self.client: str = kept.get("client") or str(uuid.uuid4())
        self.slept: bool = kept.get("slept", False)

    def begin(self, at: datetime) -> None:
        """Begin a look."""
        slept = not timedelta() <= at - self.at <= GAP
        if slept and not self.slept:  # twice in a row: it looks no more often than that
            self.since = at
        self.at, self.slept = at, slept

    def save(self) -> None:
        """Write the file, whole or not at all; OSError when that fails."""
        kept = {"incidents": self.incidents, "pool": self.pool, "client": self.client, "slept": self.slept}
        kept |= {"since": self.since.isoformat(), "looked": self.at.isoformat()}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(self.file)

    def compare(self, found: Mapping[str, str]) -> None:
        """Send the mails that are due; one that cannot be sent is tried again at the next look."""
        for key, detail in found.items():
            mark = self.incidents.setdefault(key, {"since": self.at.isoformat(), "looks": 0, "mailed": False})
            mark["looks"] += 1
            if mark["looks"] >= LOOKS.get(key, 1) and not mark["mailed"]:
                opened(key, mark["since"], detail)
                mark["mailed"] = True
        blocked = [key for key in BLOCKING if self.incidents.get(key, {}).get("mailed")]
        for key in [key for key in self.incidents if key not in found]:
            blind = "server" in found or (key != "server" and "worker" in found)
            if key != "disk" and blind:
                continue  # it cannot be seen
            if self.incidents[key]["mailed"]:
                resolved(key, moment(self.incidents[key]["since"]), self.at)
            del self.incidents[key]
        if blocked:
            self.since = self.at


def full_disks() -> dict[str, str]:
    """The disks of this machine that fill."""
    full = []
    for place in filter(None, os.environ.get("SWITCH_DISKS", "").split(",")):
        usage = shutil.disk_usage(place)
        free = 100 * usage.free / usage.total if usage.total else 100.0
        if free < LEAST_FREE:
            full.append(f"{place} has {free:.0f} % free")
    return {"disk": "; ".join(full)} if full else {}


def opened(key: str, since: str, detail: str) -> None:
    """Send the mail that an incident has begun."""
    what, affects, section, advice = WHAT[key]
    runbooks = os.environ.get("SWITCH_RUNBOOKS", "docs/runbooks.md")
    facts = {"Trouble": what, "Since": f"{since[:19]} UTC", "Detail": detail, "Affects": affects}
    facts |= {"To do": advice, "Runbook": f"{runbooks}#{section}"}
    send(f"[Groundwork] {key}: {what} (dead man's switch)", facts)


def resolved(key: str, since: datetime, at: datetime) -> None:
    """Send the mail that an incident is resolved."""
    end = f"{at:%Y-%m-%d %H:%M:%S} UTC, after {(at - since).total_seconds():.0f} seconds"
    facts = {"Was": WHAT[key][0], "Since": f"{since:%Y-%m-%d %H:%M:%S} UTC", "Recovered": end}
    send(f"[Groundwork] {key}: recovered (dead man's switch)", facts)


def send(subject: str, facts: Mapping[str, str]) -> None:
    """Send one mail, its texts in one line each; OSError or SMTPException when that fails."""
    mail = EmailMessage()
    facts = {key: "".join(c if c.isprintable() else " " for c in text) for key, text in facts.items()}
    mail["Subject"], mail["From"], mail["To"] = subject, os.environ["SWITCH_FROM"], os.environ["SWITCH_TO"]
    mail["Message-ID"] = make_msgid(domain="groundwork")
    mail.set_content("".join(f"{name + ':':11}{value}\n" for name, value in facts.items()))
    rows = (
        f"<tr><th align=left>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items()
    )
    mail.add_alternative(f"<table cellpadding=4>{''.join(rows)}</table>", subtype="html")
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


def moment(text: str) -> datetime:
    """A time as Prefect writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def main() -> int:
    """Look once, or for ever; 1 when a mail could not be sent."""
    parser = argparse.ArgumentParser(prog="switch.py", description="Groundwork's dead man's switch")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="look again and again")
    every = parser.parse_args().every
    state = State(Path(os.environ.get("SWITCH_STATE", "switch.json")))
    while True:
        worked = looked(state)
        if not every:
            return 0 if worked else 1
        time.sleep(every)


def looked(state: State) -> bool:
    """Look once; whether all mails could be sent and the state be saved."""
    state.begin(datetime.now(UTC))
    failed = ""
    try:
        state.compare(Look(state).found())
    except (OSError, smtplib.SMTPException) as error:
        failed = f"a mail could not be sent ({type(error).__name__})"
    try:
        state.save()
    except OSError as error:
        failed = f"its state could not be saved ({type(error).__name__})"
    print(f"{state.at:%H:%M:%S} {failed}\n" if failed else "", file=sys.stderr, end="")
    return not failed


if __name__ == "__main__":
    sys.exit(main())
