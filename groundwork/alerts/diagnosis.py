"""From the way a run ended to what is wrong: whose trouble it is, and what a person should do about it.

Read from the state's message, in which Prefect keeps no more of an exception than its name and its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from groundwork.alerts.troubles import Kind

RUNBOOKS = "docs/runbooks.md"

ADVICE: dict[Kind, str] = {
    "failed": (
        "The message says where, what, why and what to do. Once mended, nothing else is to be "
        "done: the next run goes on."
    ),
    "crashed": (
        "Its process was killed or lost: look for too little memory first. The next run goes on "
        "from what was committed."
    ),
    "timed out": (
        "It took longer than it may. See in its log lines where the time went; what was committed "
        "stays."
    ),
    "hung": (
        "Look at its last log line, cancel it, and run it again: while it hangs, no other run "
        "begins."
    ),
    "late": (
        "A worker is there but takes nothing up: look at the queue's and the pool's limits, and "
        "whether they are paused."
    ),
    "never started": (
        "Look at the newest runs of the deployment, its schedule, and whether the server's "
        "scheduler runs."
    ),
    "paused": "Paused on purpose? Then nothing is to be done. Otherwise resume it.",
    "stale": (
        "Nothing looked at the source in time, or nothing got as far as landing: look at the "
        "newest runs."
    ),
    "too little": (
        "Ask the source's owner whether that is true; look at the source's filters and rights."
    ),
    "test failed": (
        "What people see may be wrong. Run the test's SQL to see the rows, then mend the source "
        "or the model."
    ),
    "quarantine": (
        "All other tables are read and loaded. Mend what the message says; the next run brings the "
        "table up to date."
    ),
    "slot lag": (
        "The source's server keeps log for us, and its disk may fill. Usually runs have stopped: "
        "see why."
    ),
    "disk": "Free space before it is full: then nothing can be written, and runs fail.",
    "bucket": (
        "Check the S3 server, the network and the credentials: python -m groundwork doctor."
    ),
    "warehouse": "Check that it runs and who holds it: python -m groundwork doctor.",
    "alert channel": (
        "Look at the newest run of notify and at the mail server; calls are repeated once it "
        "works."
    ),
}  # fmt: skip


def runbook(kind: Kind, pages: str = RUNBOOKS) -> str:
    """Where the runbook says what to do about a kind of trouble.

    Args:
        kind: what is wrong.
        pages: address of the page of runbooks.
    """
    return f"{pages}#{kind.replace(' ', '-')}"


@dataclass(frozen=True)
class Diagnosis:
    """What a run's end says."""

    kind: Kind
    part: str = ""
    """The part of the platform it is about, which several runs may suffer from; empty for the run itself."""


def diagnose(state: str, message: str, *, crashed: bool) -> Diagnosis:
    """Tell what is wrong from the state that a run ended in.

    Args:
        state: the state's name, e.g. ``TimedOut``.
        message: the state's message.
        crashed: whether the state is of the type CRASHED.
    """
    if state == "TimedOut":
        return Diagnosis("timed out")
    if re.search(r"No space left on device|Disk quota exceeded|[Dd]isk (is )?full", message):
        return Diagnosis("disk", "disk")
    if re.search(r"\bBucketError: ", message):
        return Diagnosis("bucket", "bucket")
    if re.search(r"\bWarehouseUnusable: ", message):
        return Diagnosis("warehouse", "warehouse")
    if re.search(r"\bWarehouseError: .*(cannot be (opened|reached)|is still held|not reach)", message):
        return Diagnosis("warehouse", "warehouse")
    if re.search(r"\bStreamsQuarantined: ", message):
        return Diagnosis("quarantine")
    return Diagnosis("crashed" if crashed else "failed")
