"""All of the embedded default, started side by side in one directory.

``python -m demo.platform`` starts everything, prints the environment (secrets masked) and waits for
Ctrl-C. A second start in the same directory finds all data again.
"""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import filelock

from demo.dead_mans_switch import DeadMansSwitch
from demo.mailbox import Mailbox, MailServer
from demo.payments import REQUESTS_PER_SECOND, PaymentsApi
from demo.postgres import Postgres, keep_private
from demo.prefect_server import PrefectServer, PrefectWorker, create_prefect_database
from demo.s3 import S3Server
from demo.service import Service, ServiceError
from demo.shop import Shop
from demo.workload import WorkloadProcess
from groundwork.saved_settings import LOCK

logger = logging.getLogger(__name__)

PARTS = ("shop", "payments", "s3", "mailbox", "prefect", "worker")
"""What is started if nothing else is said."""
MORE_PARTS = ("workload", "switch")
"""What there is besides: the shop's writer, and the dead man's switch."""


class Platform:
    """The embedded services of one directory; also a context manager.

    Args:
        directory: the platform's home (GROUNDWORK_HOME); the services' data are in its `services/`.
        parts: which parts to start. `payments` and `workload` bring the shop with them, `worker`
            brings `prefect`, and `switch` prefect and mailbox.
        durable: false for tests: the databases do not wait for the disk.
        today: the day at which the shop's history ends, when it is made; today if not given.
        pool: the worker's pool.
        queues: the worker takes work from these queues of it only.
        workload_rate: operations per second of the part `workload`.
        requests_per_second: how many requests the payments API answers.
    """

    def __init__(
        self,
        directory: Path,
        *,
        parts: Iterable[str] = PARTS,
        durable: bool = True,
        today: date | None = None,
        pool: str = "default",
        queues: Sequence[str] = (),
        workload_rate: float = 5,
        requests_per_second: float = REQUESTS_PER_SECOND,
    ) -> None:
        self.directory = directory.absolute()
        self.parts = set(parts)
        unknown = self.parts - {*PARTS, *MORE_PARTS}
        if unknown:
            raise ValueError(f"unknown part {min(unknown)!r}; there are: {', '.join((*PARTS, *MORE_PARTS))}")
        self.parts |= {"shop"} if self.parts & {"payments", "workload"} else set()
        self.parts |= {"mailbox"} if "switch" in self.parts else set()
        self.parts |= {"prefect"} if self.parts & {"worker", "switch"} else set()
        self.today = today
        self.pool = pool
        self.queues = queues
        self.workload_rate = workload_rate
        self.requests_per_second = requests_per_second
        services = self.directory / "services"
        self.shop_server = Postgres(services / "shop", durable=durable)
        self.shop = Shop(self.shop_server)
        self.s3 = S3Server(services / "s3")
        self.mail_server = MailServer(services / "mailbox")
        self.prefect_database = Postgres(services / "prefect-database", durable=durable)
        self.payments: PaymentsApi | None = None
        self.prefect: PrefectServer | None = None
        self.worker: PrefectWorker | None = None
        self.workload: WorkloadProcess | None = None
        self.switch: DeadMansSwitch | None = None
        self.seconds: dict[str, float] = {}
        self._services = services
        self._lock = filelock.FileLock(self.directory / LOCK)

    @property
    def mailbox(self) -> Mailbox:
        """The mails that came."""
        return self.mail_server.mailbox

    def start(self) -> Self:
        """Start the parts side by side and wait until all of them are ready.

        Raises:
            ServiceError: a part did not start (all others are stopped then), or a platform runs in
                this directory already.
        """
        keep_private(self.directory)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ServiceError(
                f"{self.directory}: a platform is running in this directory; "
                "stop it (Ctrl-C where it was started), or use another directory"
            ) from None
        began = time.monotonic()
        chains: dict[str, Callable[[], None]] = {
            "shop": self._start_shop,
            "s3": lambda: self._start("s3", self.s3),
            "mailbox": lambda: self._start("mailbox", self.mail_server),
            "prefect": self._start_prefect,
        }
        try:
            _side_by_side([chain for part, chain in chains.items() if part in self.parts])
            # the flow runs of the worker get the addresses of everything else
            _side_by_side([self._start_worker, self._start_workload])
            self._start_switch()  # last: what it looks at is there
        except BaseException:
            self.stop()
            raise
        self.seconds["all"] = time.monotonic() - began
        told = " ".join(f"{part}={seconds:.1f}" for part, seconds in self.seconds.items())
        logger.info("started platform seconds: %s", told)
        return self

    def stop(self) -> None:
        """Stop everything: first what uses the databases, then the databases. Safe to call twice."""
        users = [self.worker, self.workload, self.prefect, self.payments]
        servers = [self.s3, self.mail_server, self.shop_server, self.prefect_database]
        if self.switch is not None:
            self.switch.stop()  # first: what is stopped on purpose is no incident
        if self.worker is not None:
            self.worker.stop()  # while the server is there, so that it can say what it stopped
        for group in (users, servers):
            _side_by_side([service.stop for service in group if service is not None])
        self._lock.release()

    def environment(self) -> dict[str, str]:
        """Every environment variable of the platform's own code and of the libraries it uses."""
        variables = {
            "GROUNDWORK_HOME": str(self.directory),
            "GROUNDWORK_WAREHOUSE": "duckdb",
            "GROUNDWORK_DUCKDB_PATH": str(self.directory / "warehouse.duckdb"),
            "GROUNDWORK_BUCKET": (self.directory / "bucket").as_uri(),
        }
        if "s3" in self.parts:
            variables["GROUNDWORK_BUCKET"] = f"s3://{self.s3.bucket}/platform"
            variables |= self.s3.environment()
        if "mailbox" in self.parts:
            variables |= self.mail_server.environment()
        if "shop" in self.parts:
            variables["SHOP_DATABASE_URL"] = self.shop.url("groundwork")
            variables["SHOP_WRITER_URL"] = self.shop.url("shop")
        if self.payments is not None:
            variables |= self.payments.environment()
        if self.prefect is not None:
            variables |= self.prefect.environment()
        return variables

    def _start(self, part: str, service: Service) -> None:
        began = time.monotonic()
        service.start()
        self.seconds[part] = time.monotonic() - began

    def _start_shop(self) -> None:
        began = time.monotonic()
        self.shop_server.start()
        self.shop.create(self.today)
        self.seconds["shop"] = time.monotonic() - began
        if "payments" in self.parts:
            self.payments = PaymentsApi(
                self._services / "payments",
                self.shop.url("provider"),
                requests_per_second=self.requests_per_second,
            )
            self._start("payments", self.payments)

    def _start_prefect(self) -> None:
        self._start("prefect-database", self.prefect_database)
        url = create_prefect_database(self.prefect_database)
        self.prefect = PrefectServer(self._services / "prefect", url)
        self._start("prefect", self.prefect)
        self.prefect.settle()

    def _start_worker(self) -> None:
        if "worker" in self.parts and self.prefect is not None:
            directory = self._services / "worker"
            settings = self.environment()
            self.worker = PrefectWorker(
                directory, self.prefect, pool=self.pool, queues=self.queues, settings=settings
            )
            self._start("worker", self.worker)

    def _start_workload(self) -> None:
        if "workload" in self.parts:
            directory = self._services / "workload"
            url = self.shop.url("shop")
            self.workload = WorkloadProcess(directory, url, rate=self.workload_rate)
            self._start("workload", self.workload)

    def _start_switch(self) -> None:
        if "switch" in self.parts:
            self.switch = DeadMansSwitch(self._services / "switch", self.environment())
            self._start("switch", self.switch)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _side_by_side(actions: Iterable[Callable[[], None]]) -> None:
    """Run actions in threads; when all have ended, raise the first error there was.

    Ctrl-C is not kept waiting for them: the caller stops the services, at which the threads end.
    """
    threads = ThreadPoolExecutor(max_workers=8)
    running: list[Future[None]] = [threads.submit(action) for action in actions]
    threads.shutdown(wait=False)
    wait(running)
    for future in running:
        future.result()


def masked(variables: dict[str, str]) -> dict[str, str]:
    """The variables with `***` in place of every password, token and key."""
    shown = {}
    for name, value in variables.items():
        secret = re.search(r"(TOKEN|PASSWORD|SECRET_ACCESS_KEY)$", name)
        shown[name] = "***" if secret else re.sub(r"(://[^:/@]+):[^@/]+@", r"\1:***@", value)
    return shown


def main() -> None:
    """Start the parts, print the environment, wait for Ctrl-C or SIGTERM, stop."""
    parser = argparse.ArgumentParser(prog="python -m demo.platform", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".groundwork"))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=(*PARTS, *MORE_PARTS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        with Platform(options.directory, parts=options.parts) as platform:
            for name, value in sorted(masked(platform.environment()).items()):
                print(f"{name}={value}")
            print("running; Ctrl-C stops it", flush=True)
            ended.wait()
    except KeyboardInterrupt:
        logger.info("stopped platform")


if __name__ == "__main__":
    main()
