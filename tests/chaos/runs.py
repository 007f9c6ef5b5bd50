"""Run extract and load again and again, in processes of their own, and kill some of them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.places import BOARD_BYTES, PLACES

LONGEST_RUN = 240.0
"""Seconds after which a run counts as one that hangs."""

FAULTS_OF_OTHERS = {"SourceUnreachable", "SourceBusy", "BucketError", "ManifestConflict"}
"""How a run may end when somebody else failed: told plainly, and right the next time."""


@dataclass
class Tally:
    """What became of the runs of one kind."""

    finished: int = 0
    killed: int = 0
    aimed: int = 0
    """Of the killed: those that died at a place that was aimed at."""
    struck: Counter[str] = field(default_factory=Counter)
    """Where the killed ones were."""
    refused: Counter[str] = field(default_factory=Counter)
    """Runs that ended with an error of ours, by its name."""
    told: dict[str, str] = field(default_factory=dict)
    """An example of each."""
    failures: list[str] = field(default_factory=list)
    """Tracebacks, losses told by the engine itself, runs that hang: none is allowed."""
    batches: int = 0
    events: Counter[str] = field(default_factory=Counter)
    """What happened besides rows, as the runs' reports tell."""


class Runner:
    """A fork server, and runs in it."""

    def __init__(
        self, what: str, directory: Path, environment: dict[str, str], order: dict[str, Any]
    ) -> None:
        self.what, self.tally, self._order = what, Tally(), order
        self._board = directory / f"{what}.board"
        self._board.write_bytes(b" " * BOARD_BYTES)
        self._log = directory / f"{what}.log"
        scratch = directory / f"{what}-scratch"  # a killed run cannot remove its files
        scratch.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.forkserver"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | environment | {"TMPDIR": str(scratch)}, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._usual = 1.0

    def once(self, streams: dict[str, Any], kill: Callable[[float], Any] | None = None) -> str:
        """One run; how it ended: ``finished``, ``killed``, the name of an error of ours, or ``failed``.

        Args:
            streams: the catalog at this moment.
            kill: given how long a run usually takes, seconds after which to kill it, or a place to die at.
        """
        strike = kill(self._usual) if kill else None
        aim = strike if isinstance(strike, dict) else None
        order = self._order | {
            "what": self.what, "streams": streams, "aim": aim,
            "board": str(self._board), "log": str(self._log),
        }  # fmt: skip
        began = time.monotonic()
        assert self._server.stdin
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid = self._answer()["pid"]
        patience = LONGEST_RUN if strike is None or aim else float(strike)
        hangs = not self._ends_within(pid, patience)
        ended = self._answer()
        if hangs and patience == LONGEST_RUN:
            self.tally.failures.append(f"a run of {self.what} hung {patience:.0f} s: {self._where()}")
            return "failed"
        self._usual = 0.8 * self._usual + 0.2 * (time.monotonic() - began) if not strike else self._usual
        return self._count(ended, aim)

    def close(self) -> None:
        """End the fork server."""
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(10)
        self._server.stdout.close()

    def log_tail(self) -> str:
        """The last lines that runs logged."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def _ends_within(self, pid: int, seconds: float) -> bool:
        """Whether it ended by itself; else it is killed."""
        import select

        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            if select.select([handle], [], [], seconds)[0]:
                return True
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            except ProcessLookupError:
                return True
            return False
        finally:
            os.close(handle)

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the parent of {self.what} is gone")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _where(self) -> str:
        return self._board.read_bytes().decode(errors="replace").strip()

    def _count(self, ended: dict[str, Any], aim: dict[str, Any] | None) -> str:
        tally = self.tally
        if ended["status"] == -signal.SIGKILL:
            tally.killed += 1
            tally.aimed += self._where().startswith("aimed")
            tally.struck[self._where()] += 1
            return "killed"
        if ended["status"] == 0:
            tally.finished += 1
            tally.batches += ended["batches"]
            tally.events.update(event["event"] for event in ended.get("events", []))
            return "finished"
        if name := ended.get("refused"):
            tally.refused[name] += 1
            tally.told.setdefault(name, ended["told"])
            if name not in FAULTS_OF_OTHERS:
                tally.failures.append(f"{self.what}: {name}: {ended['told']}")
            return str(name)
        tally.failures.append(
            f"{self.what}: status {ended['status']}: {ended.get('traceback', self._where())}"
        )
        return "failed"


class Keeper(threading.Thread):
    """Keeps one kind of run going, and kills as many of them as are due."""

    def __init__(
        self, runner: Runner, streams: Callable[[], dict[str, Any]], due: Callable[[], float], seed: str,
        over: threading.Event,
    ) -> None:  # fmt: skip
        super().__init__(name=runner.what)
        self.runner, self._streams, self._due, self._over = runner, streams, due, over
        self._chance = random.Random(seed)
        self.error: BaseException | None = None

    def run(self) -> None:
        """Until it is over; never two kills in a row without a chance to get on."""
        try:
            while not self._over.is_set():
                behind = self._due() - self.runner.tally.killed
                strikes = behind >= 1 and self._chance.random() < 0.75
                before = self.runner.tally.batches
                self.runner.once(self._streams(), self._kill if strikes else None)
                if self.runner.tally.failures[20:]:
                    return
                if not strikes and self.runner.tally.batches == before:
                    self._over.wait(0.2)
        except BaseException as error:
            self.error = error

    def _kill(self, usual: float) -> Any:
        """At any moment of a run, or at a place."""
        if self._chance.random() < 0.6:
            return self._chance.uniform(0.0, usual * 1.1)
        place = self._chance.choice([*PLACES[self.runner.what]])
        often = place in (
            "receiving the log",
            "putting an object",
            "adding rows to an object",
            "inserting an object",
        )
        return {
            "place": place,
            "when": self._chance.choice(["before", "after"]),
            "call": self._chance.randint(1, 8) if often else 1,
        }
