"""What the demo does with the platform: one good run, and one that fails on purpose."""

from __future__ import annotations

import os
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
    """Ingest the shop with a wrong password, and wait for the mail about it.

    Returns:
        The one mail.
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
        new = [mail for mail in mailbox.messages()[before:] if _tells_of_the_password(mail)]
        if new:
            return new[:1]
        if time.monotonic() > deadline:
            raise ServiceError("no mail about the failure came in 180 seconds")
        time.sleep(0.5)


def _tells_of_the_password(mail: EmailMessage) -> bool:
    body = mail.get_body(("plain",))
    return bool(body and "password authentication failed" in body.get_content())
