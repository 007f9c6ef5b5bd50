"""Runs one program as a service that never outlives the process that asked for it.

Started as a script, one per service, by ``demo.service``:
``python -I -S guard.py PARENT STOP_SIGNAL PATIENCE DIRECTORY -- PROGRAM ARGUMENT ...``

The decision that is not obvious: a parent-death signal (PR_SET_PDEATHSIG) alone will not do. It fires
when the *thread* that forked ends, and the services are started side by side in threads; and it
does not reach grandchildren (a worker's flow runs, PostgreSQL's backends). So this small process
stands between: it looks every half second whether its parent is still there, it adopts whatever
the program leaves behind (PR_SET_CHILD_SUBREAPER), and it ends only when nothing is left. The
program itself gets a parent-death signal for the case that the guard is killed. Only the standard
library is used, and nothing of ``demo``: it must start in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY = 0.5  # seconds between two looks at the parent
WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process on Linux; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def prepare_program() -> None:
    """Undo, in the forked program, what the guard did to its own signals.

    SIGINT is set back to its default too: a shell starts background jobs with SIGINT ignored, and a
    Prefect worker that inherits this never stops at SIGTERM.
    """
    for number in WATCHED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def children() -> list[int]:
    """Process ids whose parent is this process (own and adopted), zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended between the listing and the read
        if int(parent) == os.getpid() and state != "Z":
            found.append(int(entry.parent.name))
    return found


def reap() -> dict[int, int]:
    """Collect every ended child: process id to exit code."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def end_everything(group: int) -> None:
    """Kill whatever the program left behind, until nothing of it is there."""
    while True:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        left = children()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        reap()
        if not left:
            return
        time.sleep(0.02)


def take_lock(directory: Path, patience: float) -> None:
    """Wait until no other guard holds this directory; the lock goes when this process ends."""
    descriptor = os.open(directory / "guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"{directory}: the service of this directory is already running")
            time.sleep(0.05)


def main() -> int:
    """Start the program, wait for its end, a stop signal or the parent's end."""
    parent, stop_signal, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    directory, program = Path(sys.argv[4]), sys.argv[6:]
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    take_lock(directory, patience + 5)
    process = subprocess.Popen(program, process_group=0, preexec_fn=prepare_program)
    pid_file = directory / "pid"
    pid_file.with_suffix(".new").write_text(f"{process.pid}\n")
    pid_file.with_suffix(".new").replace(pid_file)
    exit_code: int | None = None
    deadline = None
    while exit_code is None:
        caught = signal.sigtimedwait(WATCHED, LOOK_EVERY)
        exit_code = reap().get(process.pid)
        asked = caught is not None and caught.si_signo != signal.SIGCHLD
        if exit_code is None and deadline is None and (asked or os.getppid() != parent):
            os.kill(process.pid, stop_signal)
            deadline = time.monotonic() + patience
        if deadline is not None and time.monotonic() > deadline:
            break
    end_everything(process.pid)
    pid_file.unlink(missing_ok=True)
    return 0 if exit_code is None else max(exit_code, 0)


if __name__ == "__main__":
    sys.exit(main())
