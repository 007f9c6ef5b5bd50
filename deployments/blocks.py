"""Blocks and variables that runs look up, made from this process's environment.

A value that the environment does not hold is left as it is in Prefect, so applying from a machine that
knows no secrets removes none. A refresh token is set once: after that the runs save each new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from prefect.blocks.fields import SecretDict
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.blocks.system import Secret
from prefect.variables import Variable
from pydantic import BaseModel

from deployments.block_changes import kept, kept_or_missing, loaded, save_block
from deployments.changes import Change, differences
from deployments.storage_blocks import apply_bucket, apply_snowflake
from groundwork.alerts.mail_text import addresses, listed_addresses
from groundwork.catalog import Catalog, RestSource
from groundwork.catalog.auth import RefreshTokenAuth
from groundwork.errors import SettingMissing
from groundwork.settings import Named, Settings
from groundwork.sources.address import is_loopback

MAIL_BLOCK = "groundwork-mail"
"""A "Slack Webhook" by type, but its address is a mail server's: Prefect hands it to Apprise, which mails."""

OWN = [
    Named(secret="groundwork-smtp-url"),
    Named(variable="groundwork-alert-from"),
    Named(variable="groundwork-alert-to"),
]
OPTIONAL = [Named(secret="groundwork-alert-slack"), Named(secret="groundwork-alert-webhook")]
"""Further channels of alerts; nothing is said of those that are not set."""

SERVERS_CHANNELS = {
    "groundwork-slack": (OPTIONAL[0], {"text": "*{{subject}}*\n{{body}}"}),
    "groundwork-webhook": (OPTIONAL[1], {"state": "open", "subject": "{{subject}}", "text": "{{body}}"}),
}
"""The same channels for what the server tells by itself: a block, its address, what is posted there."""


def apply_blocks(catalog: Catalog, settings: Settings, *, dry_run: bool) -> Iterator[Change]:
    """Make Prefect's blocks and variables agree with the environment.

    A change of a field is told with both values, unless it is a secret.
    """
    wanted = {named.name: named for named in [*OWN, *_named(list(catalog.values()))]}
    changing = set(_changing(catalog))
    for named in wanted.values():
        value = os.environ.get(named.environment_name, "")
        if named.variable:
            yield _variable(named.name.replace("-", "_"), value, dry_run=dry_run)
        elif value and not (named.name in changing and loaded(Secret, named.name)):
            yield save_block(Secret(value=value), named.name, dry_run=dry_run)
        else:
            yield kept_or_missing(Secret, named.name, named.environment_name)
    if os.environ.get("GROUNDWORK_SMTP_URL"):
        yield save_block(mail_block(), MAIL_BLOCK, dry_run=dry_run)
    else:
        yield kept_or_missing(SlackWebhook, MAIL_BLOCK, "GROUNDWORK_SMTP_URL")
    yield from _channels(dry_run=dry_run)
    yield from apply_bucket(settings.bucket, dry_run=dry_run)
    yield from apply_snowflake(dry_run=dry_run)


def _channels(*, dry_run: bool) -> Iterator[Change]:
    """Further channels: of those that are neither set nor saved nothing is reported."""
    for named in OPTIONAL:
        if address := os.environ.get(named.environment_name):
            yield save_block(Secret(value=address), named.name, dry_run=dry_run)
        else:
            yield from kept(Secret, named.name)
    for name, (named, said) in SERVERS_CHANNELS.items():
        if address := os.environ.get(named.environment_name):
            yield save_block(_channel(address, said), name, dry_run=dry_run)
        else:
            yield from kept(CustomWebhookNotificationBlock, name)


def mail_block() -> SlackWebhook:
    """The block through which the server mails, from GROUNDWORK_SMTP_URL, ALERT_FROM and ALERT_TO."""
    where = urlsplit(os.environ["GROUNDWORK_SMTP_URL"])
    mode = "ssl" if where.scheme == "smtps" else "starttls"
    if mode == "starttls" and is_loopback(where.hostname or ""):
        mode = "insecure"
    login = ""
    if where.username:
        login = f"{quote(unquote(where.username), safe='')}:{quote(unquote(where.password or ''), safe='')}@"
    port = where.port or (465 if mode == "ssl" else 587)
    options = {
        "smtp": where.hostname,
        "from": _setting("GROUNDWORK_ALERT_FROM"),
        "to": ",".join(_recipients()),
        "mode": mode,
        "format": "html",  # Apprise adds the plain text
    }
    scheme = "mailtos" if mode == "ssl" else "mailto"
    url = f"{scheme}://{login}{where.hostname}:{port}?{urlencode(options)}"
    return SlackWebhook(url=url, notify_type="failure")


def _recipients() -> list[str]:
    """The addresses that get the server's own mails.

    Raises:
        SettingMissing: when there is none, or something that is none.
    """
    good, bad = addresses(listed_addresses(_setting("GROUNDWORK_ALERT_TO")))
    if bad or not good:
        what = f"holds {bad[0]!r}, which is no mail address" if bad else "holds no mail address"
        raise SettingMissing("GROUNDWORK_ALERT_TO", what, fix="write addresses, separated by commas")
    return good


def _setting(name: str) -> str:
    """A setting from the environment, or the one that was applied before.

    Raises:
        SettingMissing: when there is neither: a mail without it would never arrive.
    """
    value = os.environ.get(name) or Variable.get(name.lower())
    if not value:
        raise SettingMissing(
            name, "is not set", why="mails need it", fix=f"set {name} beside GROUNDWORK_SMTP_URL"
        )
    return str(value)


def _channel(address: str, said: dict[str, str]) -> CustomWebhookNotificationBlock:
    """What is posted as JSON; the address is a secret, since who has it can write to the channel."""
    secrets = SecretDict({"address": address})
    return CustomWebhookNotificationBlock(
        name="groundwork", url="{{address}}", json_data=said, secrets=secrets
    )


def _variable(name: str, value: str, *, dry_run: bool) -> Change:
    existing = Variable.get(name)
    if not value:
        if existing is not None:
            return Change("unchanged", "variable", name)
        return Change("missing", "variable", name, f"set {name.upper()} and apply again")
    if existing == value:
        return Change("unchanged", "variable", name)
    if not dry_run:
        Variable.set(name, value, overwrite=True)
    if existing is None:
        return Change("created", "variable", name)
    return Change("updated", "variable", name, fields=differences(existing, value))


def _changing(catalog: Catalog) -> Iterator[str]:
    """Secrets that runs save anew: the environment's value starts them, and is spent ever after."""
    for entry in catalog.values():
        if isinstance(entry, RestSource) and isinstance(entry.connection.auth, RefreshTokenAuth):
            yield entry.connection.auth.refresh_token.name


def _named(value: Any) -> Iterator[Named]:
    """Every named value in the catalog."""
    if isinstance(value, Named):
        yield value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _named(getattr(value, field))
    elif isinstance(value, dict):
        yield from _named(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)
