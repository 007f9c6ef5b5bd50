"""What happens to the parts around us: the order in which they are struck follows from the seed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from demo.postgres import Postgres
from demo.s3 import S3Server
from tests.chaos.network import Link
from tests.chaos.plan import Plan
from tests.chaos.s3_link import KINDS, Fault, S3Link

PATIENCE = 6.0
"""Seconds that a fault of the S3 server waits for a request that it can strike."""


STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""PostgreSQL's ways to end (manual, "Shutting Down the Server"); "killed" is SIGKILL to its first process.
After the last two it recovers from a crash."""


@dataclass
class Struck:
    """What was done, and where it struck."""

    restarts: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """Requests that a fault of the S3 server struck."""
    missed: int = 0
    """Strikes that met nothing, and were tried again."""
    seconds_down: float = 0.0

    def told(self) -> str:
        """How many of each, in words."""
        faults = self.faults.total()
        return f"{self.restarts.total()} restarts, {self.cuts.total()} cuts, {faults} S3 faults"


class Striker(threading.Thread):
    """Strikes one part after another, spread over the plan's time."""

    def __init__(
        self, plan: Plan, postgres: Postgres, s3: S3Server, wire: Link, stores: Sequence[S3Link],
        clock: Callable[[], float], over: threading.Event,
    ) -> None:  # fmt: skip
        super().__init__(name="striker")
        self._plan, self._postgres, self._s3 = plan, postgres, s3
        self._wire, self._stores, self._clock, self._over = wire, stores, clock, over
        self._chance = random.Random(f"{plan.seed} strikes")
        self.struck = Struck()
        self.error: BaseException | None = None

    def run(self) -> None:
        """All that is planned; what strikes nothing is tried again until it is over."""
        kinds: list[Callable[[], bool]] = []
        kinds += [self._restart] * self._plan.restarts + [self._cut] * self._plan.cuts
        kinds += [self._fault] * self._plan.faults
        self._chance.shuffle(kinds)
        try:
            for number, strike in enumerate(kinds):
                due = self._plan.seconds * (number + self._chance.random()) / len(kinds)
                self._over.wait(max(due - self._clock(), 0.05))
                while not self._over.is_set() and not strike():
                    self.struck.missed += 1
        except BaseException as error:
            self.error = error

    def _restart(self) -> bool:
        how = self._chance.choice([*STOPS, "killed"])
        began = time.monotonic()
        if how == "killed":
            self._postgres.kill()
        else:
            pid = self._postgres.pid
            assert pid
            os.kill(pid, STOPS[how])
            while self._postgres.is_running and time.monotonic() < began + 30:
                time.sleep(0.02)
            self._postgres.stop()
        self._postgres.start()
        self.struck.restarts[how] += 1
        self.struck.seconds_down += time.monotonic() - began
        return True

    def _cut(self) -> bool:
        link = self._chance.choice([self._wire, self._wire, *self._stores])
        how = self._chance.choice(["reset", "swallowed for a while", "swallowed, then reset"])
        seconds = self._chance.uniform(0.1, 3.0)
        if how == "reset":
            struck = link.reset(seconds / 2)
        else:
            struck = link.swallow(seconds, then_reset=how.endswith("reset"))
        if struck:
            self.struck.cuts[f"{link.name}: {how}"] += 1
        return bool(struck)

    def _fault(self) -> bool:
        if self._chance.random() < 0.25:
            return self._kill_s3()
        link = self._chance.choice(self._stores)
        puts = link is self._stores[0] and self._chance.random() < 0.7
        fault = Fault(
            self._chance.choice(KINDS), self._chance.choice([1, 1, 2, 3, 5, 8]), "PUT" if puts else "",
            self._chance.choice(["/manifests/", "/manifests/", "/data/"]) if puts else "",
        )  # fmt: skip
        link.arm(fault)
        deadline = time.monotonic() + PATIENCE
        while fault.times > 0 and time.monotonic() < deadline and not self._over.wait(0.02):
            pass
        link.arm(None)
        if fault.struck:
            self.struck.faults[f"{link.name}: {fault.kind}"] += 1
            self.struck.requests.update(fault.struck)
        return bool(fault.struck)

    def _kill_s3(self) -> bool:
        self._s3.kill()
        self._over.wait(self._chance.uniform(0.0, 1.0))
        self._s3.start()
        self.struck.faults["the server: killed and started again"] += 1
        return True
