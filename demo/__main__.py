"""``python -m demo run``: the whole platform once, with a report. ``python -m demo serve``: until Ctrl-C.

``python -m demo services``: some parts, for one command of `groundwork` (`groundwork.saved_settings`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from demo.platform import PARTS, Platform
from demo.postgres import keep_private
from demo.service import ServiceError
from groundwork.saved_settings import Saved, save

HOME = Path(".groundwork")
POOL = "groundwork"

logger = logging.getLogger("demo")


def main() -> int:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("run", "serve", "services"))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="of services: which")
    parser.add_argument(
        "--home", type=Path, default=HOME, help="where data and logs go (default .groundwork)"
    )
    parser.add_argument("--rate", type=float, default=20, help="operations per second in the shop")
    options = parser.parse_args()
    # A shell starts a background process with SIGINT ignored, and Python then installs no handler of its own.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    log_file = options.home.absolute() / "demo.log"
    keep_private(log_file.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", filename=log_file)
    try:
        if options.command == "services":
            _services(options.home, options.parts)
        else:
            (_run if options.command == "run" else _serve)(options.home, options.rate)
    except KeyboardInterrupt:
        print("stopped")
    except ServiceError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        logger.exception("demo failed")
        print(f"demo: {type(error).__name__}: {error}\n  what happened before: {log_file}", file=sys.stderr)
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(home: Path, rate: float) -> None:
    """Everything once: start, deploy, pipeline while the shop goes on writing, a failure, the report."""
    began, since = time.monotonic(), datetime.now(UTC)
    # The worker takes alerts only: the schedules would begin the same work a second time. That their runs
    # wait meanwhile is no trouble.
    os.environ["GROUNDWORK_LATE_SECONDS"] = "86400"
    with _started(home, rate, queues=["alerts"]):
        from demo import report
        from demo.story import provoke_failure, run_pipeline

        with ThreadPoolExecutor(1) as beside:
            deployed = beside.submit(_deploy)
            with _told("the pipeline, while the shop goes on writing"):
                run_pipeline()
            with _told("deployments and alerts"):
                deployed.result()
        with _told("a failure on purpose, until its mail is there"):
            mails = provoke_failure(home)
        report.show(home, mails, since)
    seconds = time.monotonic() - began
    print(f"\n{seconds:.0f} seconds in all. Again, and only what changed is captured: make demo")


def _serve(home: Path, rate: float) -> None:
    """Server, worker, schedules, shop and UI, until Ctrl-C."""
    with _started(home, rate, more=["switch"]) as platform:
        with _told("deployments and alerts"):
            _deploy()
        assert platform.prefect is not None
        print(f"\n  Prefect     {platform.prefect.url}")
        print(f"              log in with the line in {platform.prefect.login_file}")
        print('  warehouse   python -m groundwork sql "from visualization.revenue_daily limit 5"')
        print(f"  mails       {platform.mailbox.directory}")
        print(
            f"  logs        {home}/services/*/\n\n  The schedules run now; Ctrl-C stops everything.",
            flush=True,
        )
        threading.Event().wait()


def _services(home: Path, parts: Sequence[str]) -> None:
    """Some parts, until standard input ends; prints their settings as one line of JSON."""
    with Platform(home, parts=parts) as platform:
        print(json.dumps(platform.environment()), flush=True)
        sys.stdin.read()


def _save_settings(platform: Platform) -> None:
    """For commands in other shells, and after the end."""
    serve = [sys.executable, "-m", "demo", "services", "--home", str(platform.directory), "--parts"]
    variables = platform.environment()
    save(platform.directory, Saved(variables=variables, serve=serve, checkout=Path.cwd()))


@contextmanager
def _started(
    home: Path, rate: float, queues: Sequence[str] = (), more: Sequence[str] = ()
) -> Iterator[Platform]:
    parts = (*PARTS, "workload", *more)
    platform = Platform(home, parts=parts, pool=POOL, queues=queues, workload_rate=rate)
    with _told("PostgreSQL, S3, payments API, Prefect, mailbox, worker"):
        platform.start()
    try:
        _save_settings(platform)
        os.environ.update(platform.environment())
        os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "groundwork")
        yield platform
    finally:
        platform.stop()


def _deploy() -> None:
    """What a user runs: `prefect deploy --all` and the alerts, both by one command."""
    command = [sys.executable, "-m", "deployments.apply", "--deploy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    logger.info("deployed\n%s%s", done.stdout, done.stderr)
    if done.returncode:
        raise ServiceError(f"deployments.apply failed: {done.stderr.strip().splitlines()[-1:]}")


@contextmanager
def _told(text: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    began, ended = time.monotonic(), " failed after"
    print(f"→ {text} …", end="", flush=True)
    try:
        yield
        ended = ""
    finally:
        print(f"{ended} {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: at the interpreter's end DuckDB's module prints a page of harmless leak warnings. For
    # the same reason PYTHONWARNINGS below: the tracker of semaphores outlives us and would complain.
    os._exit(status)
