# ruff: noqa: E501 (a scene reads better in one line)
"""The troubles: how each is caused, and how it is mended. A wave is what can be wrong at once.

Each scene says which trouble it must raise; the judge holds the mailbox against all of them together, so a
mail too many is a failure of the wave, whichever scene it came from.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Pending

from tests.conditions import until

if TYPE_CHECKING:
    from tests.alerts.stage import Stage


@dataclass
class Scene:
    """One kind of trouble."""

    title: str
    key: str
    """Of the trouble on the board, as the mail's header says it; its subject for mails of the server."""
    word: str
    """The word in the subject."""
    cause: Callable[[Stage], None]
    mend: Callable[[Stage], None]
    to: str = "data-team@example.com"
    """Whose address must be among the mail's."""
    says: list[str] = field(default_factory=list)
    """What the mail must hold."""
    by: str = "notify"
    """Who tells it: `notify`, the `server`, or the dead man's `switch`."""
    also: tuple[str, ...] = ()
    """Keys of other troubles that may be told, as consequences of the way it is caused."""


def nothing(_stage: Stage) -> None:
    """It mends by itself, or something else mends it."""


# runs that end badly --------------------------------------------------------------------------------


def starting(how: str) -> Callable[[Stage], None]:
    flow = "endless" if how == "hang" else "troubled"
    return lambda stage: (stage.start(f"{flow}/{how}"), None)[1]


def well(how: str) -> Callable[[Stage], None]:
    return lambda stage: (stage.started.append(stage.start(f"troubled/{how}", how="well")), None)[1]


def wrong_password(stage: Stage) -> None:
    """Twice: the second failure is no second trouble."""
    stage.keep_secret("shop-database-url", stage.database.url(password="hunter2-hunter2"))
    stage.ingest("shop")
    stage.started.append(stage.start("ingest/ingest-shop"))


def right_password(stage: Stage) -> None:
    stage.keep_secret("shop-database-url", stage.database.url())
    stage.started.append(stage.start("ingest/ingest-shop"))


RUNS = [
    Scene("run fails (twice), wrong password", "shop", "failed", wrong_password, right_password,
          to="shop-team@example.org", says=["password authentication failed", "How much do we take per day?"]),
    Scene("run fails with a value and a password in its error", "fail", "failed", starting("fail"), well("fail"),
          says=["of …@… was refused", "troubled how=fail"]),
    Scene("process killed (SIGKILL, as the out-of-memory killer does)", "kill", "crashed", starting("kill"), well("kill"),
          says=["SIGKILL", "troubled how=kill"]),
    Scene("out of memory (MemoryError)", "memory", "failed", starting("memory"), well("memory"), says=["MemoryError"]),
    Scene("run times out", "slow", "timed out", starting("slow"), well("slow"), says=["timeout"]),
]  # fmt: skip


# silence and what no run tells ------------------------------------------------------------------------


def pause(stage: Stage) -> None:
    with get_client(sync_client=True) as client:
        client.pause_deployment(client.read_deployment_by_name("export-logs/export-logs").id)


def resume(stage: Stage) -> None:
    with get_client(sync_client=True) as client:
        client.resume_deployment(client.read_deployment_by_name("export-logs/export-logs").id)


def old_ledger(stage: Stage) -> None:
    """The source is wanted every two seconds from now on, and was looked at long ago."""
    stage.want("payments", "2 seconds")


def young_ledger(stage: Stage) -> None:
    stage.want("payments", "1 day")


def lagging(stage: Stage) -> None:
    stage.change_catalog("shop", connection={"slot_lag": {"alert": "1 MB"}})
    for _ in range(4):
        stage.database.sql("select pg_logical_emit_message(false, 'filler', repeat('x', 1000000))")


def caught_up(stage: Stage) -> None:
    stage.change_catalog("shop", connection={"slot_lag": None})


def too_few(stage: Stage) -> None:
    """Twenty batches of hundreds of rows, as the ledger would have them, and one of three."""
    stage.pretend_batches("ops", [*[200] * 20, 3])


def usual(stage: Stage) -> None:
    stage.pretend_batches("ops", [*[200] * 21])


def full_disk(stage: Stage) -> None:
    stage.fill_disk()


def free_disk(stage: Stage) -> None:
    stage.free_disk()


def negative(stage: Stage) -> None:
    stage.database.sql("insert into orders values (-1, -5)")
    stage.ingest("shop")
    stage.run("transform/transform")


def positive(stage: Stage) -> None:
    stage.database.sql("delete from orders where id = -1")
    stage.spoil_landing("delete from landing.shop__orders where id = '-1'")
    stage.started.append(stage.start("transform/transform"))


def unpublish(stage: Stage) -> None:
    stage.database.sql("alter publication groundwork drop table items; insert into items values (900, 'x')")
    stage.ingest("shop")


def publish(stage: Stage) -> None:
    stage.database.sql("alter publication groundwork add table items")
    stage.started.append(stage.start("ingest/ingest-shop"))


def hang(stage: Stage) -> None:
    """It is wanted every 20 seconds from now on; the runs that come meanwhile are dropped."""
    stage.hung = stage.start("endless/hang")
    stage.pid_of(stage.hung)
    stage.reschedule("endless/hang", 20)


def end_hung(stage: Stage) -> None:
    stage.reschedule("endless/hang", None)
    os.kill(stage.pid_of(stage.hung), signal.SIGTERM)
    until(lambda: stage.is_over(stage.hung), seconds=120, what="the hung run ends")
    stage.run("endless/hang", how="well")


SILENCE = [
    Scene("a run hangs", "hang", "hung", hang, end_hung, says=["has logged nothing for"]),
    Scene("schedule paused", "ops paused", "paused", pause, resume, to="data@example.com", says=["never starts by itself"]),
    Scene("source stale against update_every", "payments", "stale", old_ledger, young_ledger, to="finance@example.org"),
    Scene("finished with far too little", "ops too little", "too little", too_few, usual, to="data@example.com",
          says=["newest batch has 3 rows"]),
    Scene("disk filling", "disk", "disk", full_disk, free_disk, says=["% free"]),
    Scene("slot lag (flow watch)", "shop slot lag", "slot lag", lagging, caught_up, to="shop-team@example.org",
          says=["slot_lag.alert 1 MB"]),
]  # fmt: skip

CONTENT = [
    Scene("a table quarantined (flow ingest)", "shop quarantine", "quarantine", unpublish, publish,
          to="shop-team@example.org", says=["stream items", "landing.shop__items"]),
    Scene("data test failed", "transform test.groundwork.takings_are_not_negative", "test failed", negative, positive,
          to="shop-team@example.org", says=["takings_are_not_negative", "Monthly closing", "takings"]),
]  # fmt: skip


# the platform itself ------------------------------------------------------------------------------------


def no_bucket(stage: Stage) -> None:
    """Two runs fail of it, and `watch` sees it: one trouble."""
    stage.s3.stop()
    stage.started += [stage.start("ingest/ingest-shop"), stage.start("ingest/ingest-payments")]


def bucket(stage: Stage) -> None:
    stage.s3.start()
    stage.started += [stage.start("ingest/ingest-shop"), stage.start("ingest/ingest-payments")]


def no_warehouse(stage: Stage) -> None:
    stage.warehouse.rename(stage.warehouse.with_suffix(".away"))
    stage.warehouse.write_bytes(b"this is no warehouse" * 1000)
    stage.started.append(stage.start("ingest/ingest-payments"))


def warehouse(stage: Stage) -> None:
    stage.warehouse.unlink()
    stage.warehouse.with_suffix(".away").rename(stage.warehouse)
    stage.started.append(stage.start("ingest/ingest-payments"))


def pause_queue(stage: Stage) -> None:
    stage.pause_queue("default", True)
    stage.waiting = stage.start("troubled/fail", how="well")


def resume_queue(stage: Stage) -> None:
    stage.pause_queue("default", False)
    until(lambda: stage.is_over(stage.waiting), seconds=120, what="the waiting run ends")


def take_up_only(stage: Stage) -> None:
    """As a worker does whose engine never answers."""
    stage.pause_queue("default", True)
    stage.waiting = stage.start("troubled/fail", how="well")
    stage.set_state(stage.waiting, Pending())
    stage.pause_queue("default", False)


def begin(stage: Stage) -> None:
    stage.set_state(stage.waiting, Cancelled())


def lose_machine(stage: Stage) -> None:
    """Worker and run die together."""
    run = stage.start("endless/hang")
    pid = stage.pid_of(run)
    stage.worker.kill()
    stage.end(pid)
    stage.hung = run
    until(lambda: stage.is_over(run), seconds=240, what="the lost run is called crashed")


def another_machine(stage: Stage) -> None:
    stage.worker.start()
    stage.run("endless/hang", how="well")


def pause_pool(stage: Stage) -> None:
    stage.pause_pool(True)


def resume_pool(stage: Stage) -> None:
    stage.pause_pool(False)


def wrong_login(stage: Stage) -> None:
    """The run that tells cannot mail, the server can."""
    stage.keep_secret("groundwork-smtp-url", stage.mail.url.replace(stage.mail.password, "wrong-password"))
    stage.start("troubled/fail")


def right_login(stage: Stage) -> None:
    (stage.secrets / "groundwork-smtp-url").unlink()
    stage.run("troubled/fail", how="well")


def pause_calls(stage: Stage) -> None:
    stage.pause_queue("alerts", True)
    stage.start("troubled/fail")


def resume_calls(stage: Stage) -> None:
    stage.pause_queue("alerts", False)
    stage.run("troubled/fail", how="well")


def no_mail(stage: Stage) -> None:
    stage.mail.stop()
    stage.start("troubled/kill")


def mail(stage: Stage) -> None:
    stage.mail.start()
    stage.run("troubled/kill", how="well")


def stop_server(stage: Stage) -> None:
    stage.server.stop()


def start_server(stage: Stage) -> None:
    stage.server.start()


BUCKET = [Scene("bucket unreachable (three runs fail of it)", "bucket", "bucket", no_bucket, bucket,
                says=["the S3 server cannot be reached", "landing.payments__payments"])]  # fmt: skip
WAREHOUSE = [Scene("warehouse unreachable", "warehouse", "warehouse", no_warehouse, warehouse,
                   says=["cannot be opened"])]  # fmt: skip
LATE = [Scene("late: a queue paused", "queue groundwork/default", "late", pause_queue, resume_queue,
              says=["nothing takes them up"])]  # fmt: skip
PENDING = [Scene("a run is taken up and does not begin", "queue groundwork/default", "late", take_up_only, begin,
                 says=["was taken up from queue groundwork/default", "does not begin"])]  # fmt: skip
MACHINE = [
    Scene(
        "machine gone: worker and run killed",
        "worker",
        "no worker",
        lose_machine,
        another_machine,
        by="switch",
        says=["the last heartbeat came"],
    )
]
POOL = [
    Scene(
        "work pool paused",
        "worker",
        "no worker",
        pause_pool,
        resume_pool,
        by="switch",
        says=["the work pool is paused"],
    )
]
LOGIN = [Scene("the run that tells cannot mail", "alert channel", "Failed", wrong_login, right_login, by="server",
               also=("fail",))]  # fmt: skip
CALLS = [Scene("no worker takes up calls for help", "calls", "not taken up", pause_calls, resume_calls, by="switch",
               also=("fail",))]  # fmt: skip
MAIL = [
    Scene("mail server down", "alert channel", "could not send", no_mail, mail, by="switch", also=("kill",))
]
SERVER = [Scene("Prefect's server down", "server", "does not answer", stop_server, start_server, by="switch")]

WAVES: dict[str, list[Scene]] = {
    "runs": RUNS,
    "silence": [*CONTENT, *SILENCE],
    "bucket": BUCKET,
    "server": SERVER,
    "machine": MACHINE,
    "late": LATE,
    "pending": PENDING,
    "pool": POOL,
    "login": LOGIN,
    "mail": MAIL,
    "warehouse": WAREHOUSE,
    "calls": CALLS,
}


def merged(given: dict[str, Any], **changes: Any) -> str:
    """A catalog entry with some keys changed, one level deep; None takes a key away."""
    for name, value in changes.items():
        if isinstance(value, dict):
            given[name] = {key: one for key, one in (given[name] | value).items() if one is not None}
        else:
            given[name] = value
    return yaml.safe_dump(given)
