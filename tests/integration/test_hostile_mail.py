"""Names in the mail of the dead man's switch are text, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mailbox import MailServer
from deployments.dead_mans_switch.switch import send
from tests.hostile_names import HOSTILE, drawn


@pytest.fixture
def mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with MailServer(tmp_path) as server:
        monkeypatch.setenv("SWITCH_SMTP_URL", server.url)
        monkeypatch.setenv("SWITCH_FROM", "switch@example.com")
        monkeypatch.setenv("SWITCH_TO", "oncall@example.com")
        yield server


def test_the_switchs_mail_holds_names_as_text(mails: MailServer) -> None:
    names = [name for name in [*HOSTILE, *drawn(50, 1)] if name.strip()]
    for number, first in enumerate(range(0, len(names), 60)):
        some = names[first : first + 60]
        send(f"{number} {some[0]}", {f"Detail {place}": name for place, name in enumerate(some)})
        mail = mails.mailbox.wait_for(lambda one, n=number: str(one["Subject"]).startswith(f"{n} "))
        assert str(mail["To"]) == "oncall@example.com" and "Bcc" not in mail
        plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain and page
        assert len(plain.get_content().splitlines()) == len(some)
        shown = page.get_content()
        assert not any(markup in shown for markup in ("<script", "<b>", "<i>"))
        assert shown.count("<tr>") == len(some)
