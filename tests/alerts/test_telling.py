"""Every notification is sent, whatever another one holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.mailbox import MailServer
from groundwork.alerts.affected import Affected
from groundwork.alerts.channels import Sender
from groundwork.alerts.notices import Notice
from groundwork.alerts.troubles import News, Row, Trouble
from groundwork.catalog import load_catalog
from groundwork.errors import CatalogError, GroundworkError
from tasks import telling
from tests.commands import PROJECT
from tests.ear import listening

SINCE = "2026-11-22T12:00:00+00:00"
FIXTURE = HealthCheck.function_scoped_fixture
EXAMPLES = int(os.environ.get("GROUNDWORK_TEST_HOSTILE_NAMES", "40"))

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(codec=None), max_size=60),  # halves of surrogate pairs too
    st.sampled_from(
        ["a\nBcc: victim@example.org", "a\r\n\r\nbody", "a\x00b", "\ud800", "\u2028x",
         "\x85", "=?utf-8?q?x?=",
         "=?utf-8?q??=", "x" * 5000, "é" * 900, "", "<script>", "{{ jinja }}", "\u202ex",
         '"', "\\", "a, b; c", "@", "\t "]
    ),
)  # fmt: skip


def row(text: str, number: int = 0) -> Row:
    trouble = Trouble(f"{text}{number}", "failed", about=text, what=text, since=SINCE, deployment=text)
    return Row(trouble, ["x"], [SINCE], untold=True)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture
def environment(mail: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """All that a notification looks up, so that nobody asks Prefect."""
    with listening() as (url, _):
        settings = mail.environment() | {
            "GROUNDWORK_ALERT_SLACK": f"{url}/slack",
            "GROUNDWORK_ALERT_WEBHOOK": f"{url}/hook",
            "GROUNDWORK_CATALOG": str(PROJECT / "catalog"),
            "GROUNDWORK_BUCKET": tmp_path.as_uri(),
            "SHOP_DATABASE_URL": "postgresql://groundwork:geheim-1@localhost/shop",
            "PAYMENTS_TOKEN": "geheim-2",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield mail


def tell(*rows: Row) -> list[GroundworkError]:
    return telling.tell(cast(Any, None), News(opened=list(rows)))


@settings(
    max_examples=max(EXAMPLES // 4, 1),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(HOSTILE, min_size=1, max_size=3))
def test_hostile_names_are_sent_one_mail_each_and_add_no_header(
    environment: MailServer, texts: list[str]
) -> None:
    before = len(environment.mailbox.messages())
    rows = [row(text, number) for number, text in enumerate(texts)]
    assert tell(*rows) == []
    assert not any(one.untold for one in rows)
    mails = environment.mailbox.messages()[before:]
    assert len(mails) == len(rows)
    for sent in mails:
        assert sent.get_all("To") == ["data-team@example.com"] and sent["Bcc"] is None
        assert len(sent.get_all("Subject", [])) == 1 and "\n" not in sent["Subject"]
        body = sent.get_body(("plain",))
        assert body is not None and "Since:" in body.get_content()
        assert sent.get_body(("html",)) is not None


@settings(max_examples=EXAMPLES * 5, deadline=None)
@given(name=HOSTILE, line=HOSTILE, owners=st.lists(HOSTILE, max_size=3))
def test_a_mail_of_hostile_names_and_owners_is_written_as_usual(
    name: str, line: str, owners: list[str]
) -> None:
    hostile = row(name)
    hostile.trouble = replace(hostile.trouble, node=f"test.groundwork.{line}", run_id=name)
    notice = Notice(
        [hostile], affected=Affected([name], [line], [name], [line]), owners=owners, flow=name,
        run_name=line, url=name, log_lines=[line, name],
    )  # fmt: skip
    sent = telling._written(notice, Sender("", name, recipients=["a@example.org"]))
    names = [header.lower() for header in sent]
    assert "bcc" not in names and len(names) == len(set(names))
    assert "could not be written" not in str(sent["Subject"])
    assert str(sent["To"]).startswith("a@example.org")


def test_a_mail_that_cannot_be_written_is_sent_bare_and_the_others_as_usual(
    environment: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(environment.mailbox.messages())
    compose = telling.compose

    def broken(notice: Notice, sender: Sender) -> EmailMessage:
        if notice.rows[0].trouble.about == "bad":
            raise ValueError("a fault that nobody thought of")
        return compose(notice, sender)

    monkeypatch.setattr(telling, "compose", broken)
    assert tell(row("bad"), row("good", 1), row("bad", 2), row("fine", 3)) == []
    subjects = [str(sent["Subject"]) for sent in environment.mailbox.messages()[before:]]
    assert [("could not be written" in one) for one in subjects] == [True, False, True, False]


def test_a_notification_that_fails_for_any_reason_leaves_the_others(
    environment: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = telling._notice

    def broken(client: Any, rows: list[Row], *rest: Any) -> Notice:
        if rows[0].trouble.about == "bad":
            raise RuntimeError("a fault that nobody thought of")
        return notice(client, rows, *rest)

    monkeypatch.setattr(telling, "_notice", broken)
    bad, good = row("bad"), row("good", 1)
    (error,) = tell(bad, good)
    assert "could not be sent (RuntimeError)" in str(error)
    assert (bad.untold, good.untold) == (True, False)


def with_owner(tmp_path: Path, address: str) -> Path:
    entry = (PROJECT / "catalog" / "shop.yml").read_text(encoding="utf-8")
    assert "shop-engineering@example.com" in entry
    written = '"' + address.replace("\n", "\\n") + '"'
    (tmp_path / "shop.yml").write_text(
        entry.replace("shop-engineering@example.com", written), encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize(
    "address",
    ["a@x.org, b@x.org", "a@x.org; b@x.org", "a@x.org\nBcc: c@x.org", "a@x.org\n", "Team <a@x.org>",
     "a b@x.org", "nobody", "a@", "@x.org", "é@x.org", "a@x..org", ""],
)  # fmt: skip
def test_an_owners_address_that_is_not_one_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(CatalogError, match=r"owner\.email.*mail address"):
        load_catalog(with_owner(tmp_path, address))


@pytest.mark.parametrize("address", ["ops@acme.local", "root@localhost", "a+b@x.org", "o'neil@x.org"])
def test_an_owners_address_of_ones_own_mail_server_is_taken(tmp_path: Path, address: str) -> None:
    assert load_catalog(with_owner(tmp_path, address))["shop"].owner.email == address


def test_an_address_that_cannot_be_written_to_is_named_and_all_others_get_the_mail() -> None:
    sender = Sender("", "a@example.org", ["good@example.org", "two@x.org three@x.org", "x\ny@z.org"])
    sent = telling._written(Notice([row("shop")], owners=["not one"]), sender)
    assert sent["To"] == "good@example.org"
    assert "Unsent to: two@x.org three@x.org" in str(sent.get_body(("plain",)))
    with pytest.raises(GroundworkError, match="GROUNDWORK_ALERT_TO"):
        telling._written(Notice([row("shop")]), Sender("", "a@example.org", ["nobody"]))
