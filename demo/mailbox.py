"""A mailbox: an SMTP server that keeps every mail it gets as one .eml file.

It is a process of its own, so that it outlives a flow that is killed. It wants a login, as a real
mail server does. Started by `MailServer` as ``python -m demo.mailbox DIRECTORY PORT``; the password
is in the environment variable MAILBOX_PASSWORD.
"""

from __future__ import annotations

import email
import email.policy
import os
import smtplib
import sys
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from demo.service import LOOPBACK, Service, keep_secret

USER = "groundwork"


class Mailbox:
    """Reads the mails in a directory.

    Args:
        directory: where the .eml files are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def messages(self) -> list[EmailMessage]:
        """Every mail, in the order in which they came."""
        paths = sorted(self.directory.glob("*.eml"))
        policy = email.policy.default
        return [email.message_from_bytes(path.read_bytes(), policy=policy) for path in paths]

    def wait_for(self, predicate: Callable[[EmailMessage], bool], timeout: float = 30.0) -> EmailMessage:
        """The first mail that the predicate accepts, waited for if need be.

        Args:
            predicate: says whether a mail is the one waited for.
            timeout: seconds to wait.

        Raises:
            TimeoutError: no such mail came in time; the message counts what came.
        """
        deadline = time.monotonic() + timeout
        while True:
            messages = self.messages()
            for message in messages:
                if predicate(message):
                    return message
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.directory}: the mail waited for did not come in {timeout:.0f} seconds; "
                    f"{len(messages)} other mails are there"
                )
            time.sleep(0.1)


class MailServer(Service):
    """The SMTP server of a mailbox.

    Args:
        directory: holds the mails (in `mails/`), the password (mode 0600) and the log.
    """

    name: ClassVar[str] = "mailbox"

    @property
    def password(self) -> str:
        """What the server wants to see before it takes a mail."""
        return keep_secret(self.directory / "password")

    @property
    def url(self) -> str:
        """The address `smtp://user:password@127.0.0.1:port`."""
        return f"smtp://{USER}:{self.password}@{LOOPBACK}:{self.port}"

    @property
    def mailbox(self) -> Mailbox:
        """The mails that came."""
        return Mailbox(self.directory / "mails")

    def environment(self) -> dict[str, str]:
        """The mail server's address, and who writes to whom."""
        return {
            "GROUNDWORK_SMTP_URL": self.url,
            "GROUNDWORK_ALERT_FROM": "groundwork@example.com",
            "GROUNDWORK_ALERT_TO": "data-team@example.com",
        }

    def prepare(self) -> None:
        """Make the directory of the mails."""
        (self.directory / "mails").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        """This module, as a program."""
        mails = str(self.directory / "mails")
        return [sys.executable, "-m", "demo.mailbox", mails, str(self.port)]

    def program_environment(self) -> dict[str, str]:
        """The password; it is not for the command line, which everyone can read."""
        return {"MAILBOX_PASSWORD": self.password}

    def is_ready(self) -> bool:
        """Whether a login is accepted."""
        try:
            with smtplib.SMTP(LOOPBACK, self.port, timeout=5) as client:
                client.login(USER, self.password)
        except (OSError, smtplib.SMTPException):
            return False
        return True


class _Keeper:
    """Writes each mail to a file, complete under its name or not there at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def handle_DATA(  # noqa: N802  the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep the mail; the answer 250 is given when it is on the disk under its name."""
        content = envelope.original_content or b""
        path = self.directory / f"{time.time_ns():020d}.eml"
        with path.with_suffix(".part").open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".part").rename(path)
        print(f"kept mail={path.name} bytes={len(content)}", flush=True)
        return "250 OK"


def main() -> None:
    """Take mails until the process is ended."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    expected = (USER.encode(), os.environ["MAILBOX_PASSWORD"].encode())

    def check(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: object
    ) -> AuthResult:
        given = (login.login, login.password) if isinstance(login, LoginPassword) else None
        return AuthResult(success=given == expected, handled=False)

    controller = Controller(
        _Keeper(directory),
        hostname=LOOPBACK,
        port=port,
        authenticator=check,
        auth_required=True,
        auth_require_tls=False,  # loopback only
    )
    controller.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
