"""The parent of all extract and load processes: it imports once, then forks a child for each run.

A run costs no second of imports, so hundreds can be killed in minutes. A child is a process like any other:
its own sockets, its own threads, its own death. Orders come as JSON, a line each, on stdin; two lines answer
each: ``{"pid"}`` when the child is there, ``{"status", …}`` when it is gone.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from groundwork import extract, load
from groundwork.bucket import open_bucket, s3
from groundwork.errors import GroundworkError
from groundwork.warehouses import duckdb
from tests.capture import entry as entry_of
from tests.chaos.places import watch

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork a child per order, until stdin ends."""
    # Now, not in each child: to read boto3's description of S3 takes longer than most runs.
    s3.own_client()
    __import__("groundwork.sources.postgres")
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _child(order, writing)
        os.close(writing)
        _say({"pid": pid})
        told = b""
        while chunk := os.read(reading, 1 << 16):
            told += chunk
        os.close(reading)
        # Left as a zombie until the other side knows of its end: its number cannot be given to another.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _, status = os.waitpid(pid, 0)
        report = json.loads(told) if told else {}
        _say({"status": os.waitstatus_to_exitcode(status)} | report)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _child(order: dict[str, Any], writing: int) -> None:
    """One run; never returns."""
    report, status = {}, 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.basicConfig(level=logging.INFO, force=True)
        exec(order["prelude"], {"__name__": "prelude"})
        watch(order["what"], Path(order["board"]), order["aim"])
        report, status = _run(order), 0
    except GroundworkError as error:
        report, status = {"refused": type(error).__name__, "told": str(error)[:500]}, 3
    except BaseException:
        report = {"traceback": traceback.format_exc()[-3000:]}
    os.write(writing, json.dumps(report).encode())
    os.close(writing)
    os._exit(status)


def _run(order: dict[str, Any]) -> dict[str, Any]:
    entry = entry_of({name: (table, key) for name, (table, key) in order["streams"].items()})
    place = open_bucket(order["bucket"])
    if order["what"] == "extract":
        source = extract.open_source(entry, lambda _: order["url"], place)
        done = extract.extract(entry, source, place)
        return {"batches": len(done.batches), "rows": sum(done.rows.values()), "events": done.events}
    with duckdb.open_duckdb(Path(order["file"]), who="chaos") as warehouse:
        loaded = load.load(entry, place, warehouse)
    return {"batches": len(loaded.batches), "rows": sum(loaded.rows.values())}


if __name__ == "__main__":
    main()
