"""Telling: one mail per trouble, or per run that met several, to those who answer for it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from groundwork.alerts.channels import Sender, post, reach, send
from groundwork.alerts.mail_text import listed_addresses
from groundwork.alerts.masking import secrets_of
from groundwork.alerts.notices import Notice, compose, compose_bare, facts_of
from groundwork.errors import GroundworkError, SettingMissing
from groundwork.settings import Named, Settings

if TYPE_CHECKING:
    from email.message import EmailMessage

    from prefect.client.orchestration import SyncPrefectClient

    from groundwork.alerts.troubles import News, Row

log = logging.getLogger("groundwork.telling")

TRIES = 3
BETWEEN_TRIES = 5.0
"""Seconds; a mail server may be restarted just now."""


def tell(client: SyncPrefectClient, news: News) -> list[GroundworkError]:
    """Send every notice, and note in its rows that it is told.

    Returns:
        Why some could not be sent.
    """
    if not news:
        return []
    sender, secrets = _sender(), _secrets()
    failed = []
    for rows, recovered in [*_grouped(news.opened, False), *_grouped(news.recovered, True)]:
        try:
            _tell(_notice(client, rows, recovered, secrets), sender)
        except GroundworkError as error:
            failed.append(error)
        except Exception as error:  # whatever it is, the others are sent
            log.exception("a notification could not be sent")
            what = f"could not be sent ({type(error).__name__})"
            fix = "see the log of this run; it is tried again by the next one"
            failed.append(GroundworkError(f"notification of {rows[0].trouble.kind!r}", what, fix=fix))
    return failed


def _tell(notice: Notice, sender: Sender) -> None:
    mail = _written(notice, sender)
    _send(mail, sender)
    for row in notice.rows:
        row.is_told(str(mail["Message-ID"]))
    for deaf in post(mail, facts_of(notice), sender):
        log.error("%s", deaf)


def _written(notice: Notice, sender: Sender) -> EmailMessage:
    """The mail, or a bare one where outside text cannot be written as it should be.

    Raises:
        SettingMissing: when there is nobody to write to.
    """
    try:
        mail = compose(notice, sender)
        mail.as_bytes()  # only now are headers and bodies encoded
    except SettingMissing:
        raise
    except Exception as error:
        log.warning("a mail could not be written as usual: %s", type(error).__name__)
        return compose_bare(notice, sender)
    return mail


def make_sure() -> None:
    """Make sure that what is to be told next could be.

    Raises:
        GroundworkError: when the mail server cannot be reached, or refuses.
    """
    reach(_sender())


def _grouped(rows: list[Row], recovered: bool) -> Iterator[tuple[list[Row], bool]]:
    """Several troubles of one run are one mail."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        together = f"{row.trouble.deployment} {row.trouble.run_id if not recovered else ''}"
        key = together if row.trouble.node else row.trouble.key
        groups.setdefault(key, []).append(row)
    for group in groups.values():
        yield group, recovered


def _notice(client: SyncPrefectClient, rows: list[Row], recovered: bool, secrets: list[str]) -> Notice:
    from groundwork.alerts.affected import Affected
    from tasks.trouble import find_affected

    notice = Notice(rows, recovered, runbooks=Settings().runbooks, secrets=secrets)
    touched, owners = _or_else((Affected(), []), find_affected, [row.trouble for row in rows])
    about = _or_else({}, _about_run, client, rows[0].trouble.run_id, recovered)
    return replace(notice, affected=touched, owners=owners, **about)


def _about_run(client: SyncPrefectClient, run_id: str, recovered: bool) -> dict[str, Any]:
    """A run's names, link and last log lines."""
    from prefect.utilities.urls import url_for

    from tasks.trouble import last_lines

    if not run_id:
        return {}
    run = client.read_flow_run(UUID(run_id))
    lines = [] if recovered else last_lines(client, run.id)
    flow = client.read_flow(run.flow_id).name
    return {"run_name": run.name, "flow": flow, "url": url_for(run) or "", "log_lines": lines}


def _or_else(instead: Any, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What can be found out; a mail that says less is better than none."""
    try:
        return ask(*arguments)
    except Exception as error:
        log.warning("%s could not tell: %s", ask.__name__, error)
        return instead


def _send(mail: EmailMessage, sender: Sender) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            return send(mail, sender)
        except GroundworkError:
            if attempt == TRIES:
                raise
            time.sleep(BETWEEN_TRIES)
    return None


def _sender() -> Sender:
    from tasks.lookup import resolve

    return Sender(
        url=resolve(Named(secret="groundwork-smtp-url")),
        sender=resolve(Named(variable="groundwork-alert-from")),
        recipients=listed_addresses(resolve(Named(variable="groundwork-alert-to"))),
        slack=_optional(Named(secret="groundwork-alert-slack")),
        webhook=_optional(Named(secret="groundwork-alert-webhook")),
    )


def _optional(named: Named) -> str:
    from tasks.lookup import resolve

    try:
        return resolve(named)
    except SettingMissing:
        return ""


def _secrets() -> list[str]:
    """The values of all secrets of the environment and of the catalog, and the passwords in them."""
    from urllib.parse import unquote, urlsplit

    from groundwork.catalog import load_catalog

    values = secrets_of(os.environ)
    try:
        catalog = load_catalog(Settings().catalog)
    except GroundworkError:
        return values
    for named in _named(list(catalog.values())):
        if named.secret and (value := _optional(named)):
            password = urlsplit(value).password if "://" in value else None
            values += [value, *([password, unquote(password)] if password else [])]
    return values


def _named(value: Any) -> Iterator[Named]:
    """Every named value in a part of the catalog."""
    if isinstance(value, Named):
        yield value
    elif isinstance(value, BaseModel):
        yield from _named([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named(inner)
