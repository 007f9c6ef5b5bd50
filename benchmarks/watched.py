"""Run one program and write down what it cost. Started with ``python -I -S`` to be as small as can be.

Linux counts the memory of the process that starts a program as the program's own at first, so whoever
starts it must be smaller than anything that is measured.

Usage: watched.py REPORT COMMAND…
"""

import json
import os
import sys
import time


def main() -> int:
    report, command = sys.argv[1], sys.argv[2:]
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    # The usage of a process that was waited for includes all of its own children's.
    _, status, usage = os.wait4(pid, 0)
    cost = {
        "wall": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib would double our size)
        json.dump(cost, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
