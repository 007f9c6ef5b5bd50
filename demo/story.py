"""What the demo does with the platform: one good run, and one that fails on purpose."""

from __future__ import annotations

import os
import re
import time
from email.message import EmailMessage
from pathlib import Path

from prefect import tags

from demo.mailbox import Mailbox
from demo.service import ServiceError


def run_pipeline() -> None:
    """Run the flow `pipeline` in this process.

    Raises:
        ServiceError: when it did not end well.
    """
    from flows.pipeline import pipeline

    with tags("groundwork"):
        state = pipeline(return_state=True)
    if not state.is_completed():
        raise ServiceError(f"the pipeline ended {state.name}: {state.message}")


def provoke_failure(home: Path) -> list[EmailMessage]:
    """Ingest the shop with a wrong password, and wait for the two mails about it.

    Returns:
        The mail that the server sent at once, and the detailed one.
    """
    from flows.ingest import ingest

    mailbox = Mailbox(home / "services" / "mailbox" / "mails")
    before = len(mailbox.messages())
    right = os.environ["SHOP_DATABASE_URL"]
    os.environ["SHOP_DATABASE_URL"] = right.replace("groundwork:", "groundwork:wrong-", 1)
    try:
        with tags("groundwork"):
            state = ingest("shop", return_state=True)
    finally:
        os.environ["SHOP_DATABASE_URL"] = right
    if not state.is_failed():
        raise ServiceError("a wrong password did not fail the flow")

    deadline = time.monotonic() + 180
    while True:
        new = mailbox.messages()[before:]
        at_once = [mail for mail in new if not _has_log_lines(mail)]
        detailed = [mail for mail in new if _has_log_lines(mail)]
        if at_once and detailed:
            return [at_once[0], detailed[0]]
        if time.monotonic() > deadline:
            raise ServiceError(f"of the two mails only {len(at_once)} + {len(detailed)} came in 180 seconds")
        time.sleep(0.5)


def _has_log_lines(mail: EmailMessage) -> bool:
    body = mail.get_body(("plain",))
    return bool(body and re.search(r"Last \d+ log lines", body.get_content()))
