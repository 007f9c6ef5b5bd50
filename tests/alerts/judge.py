# ruff: noqa: E501 (one fault, one line)
"""Plays a wave of troubles and holds the mailbox against it: one mail each, one when it is over, no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from tests.alerts.scenes import Scene
from tests.alerts.stage import Stage, plain

SECRETS = ("hunter2", "jane@example.org", "geheim-3f7a")
"""What no mail may hold."""
LONGEST = 300.0
"""Seconds within which a call must come."""


@dataclass
class Told:
    """What became of one scene."""

    scene: Scene
    wave: str
    caused: float = 0.0
    mended: float = 0.0
    opened: list[float] = field(default_factory=list)
    """When mails about it came."""
    recovered: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether there was one mail of each kind, in time, with all that it must say."""
        return len(self.opened) == len(self.recovered) == 1 and not self.faults and self.seconds <= LONGEST

    @property
    def seconds(self) -> float:
        """From the trouble to its mail."""
        return self.opened[0] - self.caused if self.opened else float("inf")


@dataclass
class Verdict:
    """What became of all that was played."""

    told: list[Told] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """Subjects of mails that no scene explains."""

    @property
    def holds(self) -> bool:
        """Whether every scene was told once and nothing else was."""
        return not self.strange and all(one.holds for one in self.told)


def play(stage: Stage, wave: str, scenes: Sequence[Scene], tell: Callable[[str], None] = print) -> Verdict:
    """Cause all troubles of a wave, wait for their calls, mend them, wait for the mails that they are over."""
    seen = len_of(stage)
    verdict = Verdict([Told(scene, wave) for scene in scenes])
    outside = any(scene.by != "notify" for scene in scenes)
    for one in verdict.told:
        one.caused = time.time()
        one.scene.cause(stage)
        tell(f"{wave}: caused {one.scene.title}")
    wait(stage, verdict, seen, lambda one: one.opened, watching=not outside)
    if len(scenes) > 1:
        stage.watch()  # once more: nothing is told twice
    for one in verdict.told:
        one.mended = time.time()
        one.scene.mend(stage)
        tell(f"{wave}: mended {one.scene.title}, told after {one.seconds:.0f} s")
    stage.settle()
    wait(stage, verdict, seen, lambda one: one.recovered, watching=True)
    if len(scenes) > 1:
        stage.watch()
    stage.settle()
    read(stage, verdict, seen)
    for one in verdict.told:
        tell(f"{wave}: {one.scene.title}: mails={len(one.opened)}+{len(one.recovered)} {one.faults or ''}")
    if verdict.strange:
        tell(f"{wave}: also told: {verdict.strange}")
    return verdict


def wait(
    stage: Stage, verdict: Verdict, seen: dict[Path, int], there: Callable[[Told], Any], *, watching: bool
) -> None:
    """Until every scene has what is waited for, or five minutes have passed."""
    deadline = time.time() + LONGEST
    while time.time() < deadline:
        if watching:
            stage.watch()
        pause = time.time() + 20
        while time.time() < min(pause, deadline):
            read(stage, verdict, seen)
            if all(there(one) for one in verdict.told):
                return
            time.sleep(0.5)


def len_of(stage: Stage) -> dict[Path, int]:
    """How many mails each mailbox has."""
    return {box.directory: len(box.messages()) for box in (stage.mail.mailbox, stage.second_mail.mailbox)}


def read(stage: Stage, verdict: Verdict, seen: dict[Path, int]) -> None:
    """Sort all mails since into the scenes that they are about."""
    for one in verdict.told:
        one.opened, one.recovered, one.faults = [], [], []
    verdict.strange = []
    for box in (stage.mail.mailbox, stage.second_mail.mailbox):
        files = sorted(box.directory.glob("*.eml"))[seen[box.directory] :]
        for file, mail in zip(files, box.messages()[seen[box.directory] :], strict=False):
            came = int(file.stem) / 1e9
            sort(mail, came, verdict)


def sort(mail: EmailMessage, came: float, verdict: Verdict) -> None:
    """Put one mail beside its scene, and note what is wrong with it."""
    for one in verdict.told:
        kind = which(mail, one.scene)
        if kind:
            (one.opened if kind == "open" else one.recovered).append(came)
            one.faults += faults(mail, one.scene, kind)
            return
    keys = {key for one in verdict.told for key in one.scene.also}
    if mail["X-Groundwork-Trouble"] not in keys:
        verdict.strange.append(
            f"{mail['Subject']} ({parsedate_to_datetime(mail['Date']):%H:%M:%S})"
            if mail["Date"]
            else str(mail["Subject"])
        )


def which(mail: EmailMessage, scene: Scene) -> str:
    """Whether a mail is about a scene: its call, or that it is over."""
    subject, key = str(mail["Subject"]), str(mail["X-Groundwork-Trouble"] or "")
    if "(dead man's switch)" in subject:
        if scene.by != "switch" or not subject.startswith(f"[Groundwork] {scene.key}:"):
            return ""
        return "recovered" if "recovered" in subject else "open"
    if scene.by == "switch":
        return ""
    if not key:  # a mail of the server
        about = {"alert channel": "alert channel: Failed"}.get(scene.key, "-")
        return "open" if scene.by == "server" and about in subject else ""
    if key.split(", ")[0] != scene.key:
        return ""
    return "recovered" if mail["X-Groundwork-State"] == "recovered" else "open"


def faults(mail: EmailMessage, scene: Scene, kind: str) -> list[str]:
    """What a mail lacks, or holds though it must not."""
    text, page = plain(mail), mail.get_body(("html",))
    found = [f"holds {secret}" for secret in SECRETS if secret in mail.as_string() or secret in text]
    if page is None:
        found.append("is not HTML too")
    if kind == "open":
        found += [f"does not say {said!r}" for said in scene.says if said not in text]
        found += [
            f"does not say {said!r}"
            for said in ("Trouble:", "Since:", "To do:", "Runbook:")
            if said not in text
        ]
        if scene.word not in str(mail["Subject"]):
            found.append(f"subject {mail['Subject']!r}")
        if scene.to not in str(mail["To"]):
            found.append(f"is not for {scene.to}")
    return found
