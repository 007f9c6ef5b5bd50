"""One measured run: a process of its own, what it cost, and what it cost the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
PATIENCE = 3600.0
"""Seconds after which a run is given up."""


class BenchError(RuntimeError):
    """A run failed, or gave another result than it must."""


@dataclass
class Measured:
    """What one run cost. CPU is user and system time of the whole process tree, start included."""

    wall: float
    cpu: float
    rss_mb: float
    server_cpu: float | None = None
    """CPU seconds of PostgreSQL's process tree meanwhile."""
    load: float = 0.0
    """The machine's load average when the run began: above 1 somebody else was at work too."""
    said: dict[str, Any] = field(default_factory=dict)
    """What the program printed as its last line."""

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}
        rounded["said"] = {k: round(v, 3) if isinstance(v, float) else v for k, v in self.said.items()}
        return rounded


@dataclass(frozen=True)
class Contender:
    """Somebody who does the job; `run` does it once, checks the result and cleans up."""

    name: str
    run: Callable[[], Measured]
    slow: bool = False
    """Runs in the first rounds only, see `Rounds`."""


@dataclass(frozen=True)
class Rounds:
    """How often contenders are run."""

    each: int
    slow: int = 1
    """Rounds, from the first, in which slow contenders take part."""


def measure(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    server_pid: int | None = None,
) -> Measured:
    """Run a program to its end.

    Args:
        command: program and arguments; run in the project's root.
        environment: variables beside our own.
        server_pid: the PostgreSQL server whose CPU time is to be measured beside it.

    Raises:
        BenchError: when it fails or takes too long, with the end of what it printed.
    """
    # our sockets and drivers are measured, not our patience: each run begins with clean caches of its own
    with tempfile.TemporaryDirectory(prefix="groundwork-bench-") as directory:
        report = Path(directory) / "cost.json"
        watched = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watched.py"))]
        load = os.getloadavg()[0]
        before = server_seconds(server_pid)
        process = subprocess.Popen(
            [*watched, str(report), *map(str, command)],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "0", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise BenchError(f"gave up after {PATIENCE:.0f} seconds: {_shown(command)}") from error
        if process.returncode:
            raise BenchError(f"failed: {_shown(command)}\n{(out + err)[-3000:]}")
        cost = json.loads(report.read_text())
        lines = [line for line in out.splitlines() if line.startswith("{")]
        said = json.loads(lines[-1]) if lines else {}
        after = settled_server_seconds(server_pid)
    spent = None if before is None or after is None else after - before
    return Measured(**cost, server_cpu=spent, load=load, said=said)


def server_seconds(pid: int | None) -> float | None:
    """CPU seconds of a server's process tree so far, processes that ended included."""
    if pid is None:
        return None
    root = psutil.Process(pid)
    own = root.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in root.children(recursive=True):
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system
    return float(total)


def settled_server_seconds(pid: int | None) -> float | None:
    """`server_seconds` once the processes that served our client have ended."""
    deadline = time.monotonic() + 5
    while pid is not None and time.monotonic() < deadline:
        serving = [c for c in psutil.Process(pid).children() if _serves_a_client(c)]
        if not serving:
            break
        time.sleep(0.02)
    return server_seconds(pid)


def _serves_a_client(process: psutil.Process) -> bool:
    try:
        return "127.0.0.1" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in command if "://" not in str(word))[:300]


def interleave(
    workload: str, contenders: Sequence[Contender], rounds: Rounds, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run all contenders in turn, round after round: what disturbs the machine disturbs all of them."""
    runs = []
    for number in range(rounds.each):
        for contender in contenders:
            if contender.slow and number >= rounds.slow:
                continue
            measured = contender.run()
            tell(
                f"{workload} round {number + 1} {contender.name}: cpu {measured.cpu:.2f}"
                + (f" server {measured.server_cpu:.2f}" if measured.server_cpu is not None else "")
                + f" wall {measured.wall:.1f} rss {measured.rss_mb:.0f}"
            )
            run = {"workload": workload, "contender": contender.name, "round": number}
            runs.append(run | measured.as_json())
    return runs
