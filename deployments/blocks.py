"""Blocks and variables that runs look up, made from this process's environment.

A value that the environment does not hold is left as it is in Prefect, so applying from a machine that
knows no secrets takes none away. A refresh token is set once: after that the runs save it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.blocks.system import Secret
from prefect.variables import Variable
from pydantic import BaseModel

from deployments.changes import Change, differences
from groundwork.catalog import Catalog, RestSource
from groundwork.catalog.auth import RefreshTokenAuth
from groundwork.settings import Named, Settings
from groundwork.sources.address import is_loopback
from tasks.lookup import BUCKET_BLOCK, DBT_BLOCK

MAIL_BLOCK = "groundwork-mail"
"""A "Slack Webhook" by type, but its address is a mail server's: Prefect hands it to Apprise, which mails."""

AWS_BLOCK = "groundwork-aws"
SNOWFLAKE = "GROUNDWORK_SNOWFLAKE_"
SNOWFLAKE_BLOCK = "groundwork-snowflake"
"""Two blocks of this name: the login, and the place that it is for."""

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
    set_too = [named for named in OPTIONAL if os.environ.get(named.environment_name)]
    wanted = {named.name: named for named in [*OWN, *set_too, *_named(list(catalog.values()))]}
    changing = set(_changing(catalog))
    for named in wanted.values():
        value = os.environ.get(named.environment_name, "")
        if named.variable:
            yield _variable(named.name.replace("-", "_"), value, dry_run=dry_run)
        elif value and not (named.name in changing and _loaded(Secret, named.name)):
            yield _block(Secret(value=value), named.name, dry_run=dry_run)
        else:
            yield _known(Secret, named.name, named.environment_name)
    if os.environ.get("GROUNDWORK_SMTP_URL"):
        yield _block(mail_block(), MAIL_BLOCK, dry_run=dry_run)
    else:
        yield _known(SlackWebhook, MAIL_BLOCK, "GROUNDWORK_SMTP_URL")
    for name, (named, said) in SERVERS_CHANNELS.items():
        if address := os.environ.get(named.environment_name):
            yield _block(_channel(address, said), name, dry_run=dry_run)
    if settings.bucket.startswith("s3://"):
        yield from _bucket(settings.bucket, dry_run=dry_run)
    if os.environ.get(f"{SNOWFLAKE}ACCOUNT"):
        yield from _snowflake(dry_run=dry_run)


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
        "from": os.environ.get("GROUNDWORK_ALERT_FROM", ""),
        "to": os.environ.get("GROUNDWORK_ALERT_TO", ""),
        "mode": mode,
        "format": "html",  # Apprise adds the plain text
    }
    scheme = "mailtos" if mode == "ssl" else "mailto"
    url = f"{scheme}://{login}{where.hostname}:{port}?{urlencode(options)}"
    return SlackWebhook(url=url, notify_type="failure")


def _channel(address: str, said: dict[str, str]) -> CustomWebhookNotificationBlock:
    """What is posted as JSON; the address is a secret, since who has it can write to the channel."""
    secrets = SecretDict({"address": address})
    return CustomWebhookNotificationBlock(
        name="groundwork", url="{{address}}", json_data=said, secrets=secrets
    )


def _bucket(url: str, *, dry_run: bool) -> Iterator[Change]:
    from prefect_aws import AwsCredentials, S3Bucket

    keys = {
        "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID"),
        "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "region_name": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    given: dict[str, Any] = {name: value for name, value in keys.items() if value}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
        given["aws_client_parameters"] = {"endpoint_url": endpoint}
    credentials = AwsCredentials(**given)
    yield _block(credentials, AWS_BLOCK, dry_run=dry_run)
    saved = _loaded(AwsCredentials, AWS_BLOCK) or credentials
    place = urlsplit(url)
    bucket = S3Bucket(bucket_name=place.netloc, bucket_folder=place.path.strip("/"), credentials=saved)
    yield _block(bucket, BUCKET_BLOCK, dry_run=dry_run)


def _snowflake(*, dry_run: bool) -> Iterator[Change]:
    """The login, the place, and dbt's target, each of which names the one before."""
    from prefect_dbt.cli.configs import SnowflakeTargetConfigs
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials

    login = ("account", "user", "password", "private_key", "private_key_passphrase", "role")
    given = _given(SNOWFLAKE, login)
    if file := os.environ.get(f"{SNOWFLAKE}PRIVATE_KEY_PATH"):  # no other machine has the file
        given["private_key"] = Path(file).read_text(encoding="utf-8")
    credentials = SnowflakeCredentials(**given)
    yield _block(credentials, SNOWFLAKE_BLOCK, dry_run=dry_run)
    connector = SnowflakeConnector(
        credentials=_loaded(SnowflakeCredentials, SNOWFLAKE_BLOCK) or credentials,
        **{"schema": "public", **_given(SNOWFLAKE, ("database", "warehouse", "schema"))},
    )
    yield _block(connector, SNOWFLAKE_BLOCK, dry_run=dry_run)
    target = SnowflakeTargetConfigs(
        connector=_loaded(SnowflakeConnector, SNOWFLAKE_BLOCK) or connector,
        threads=int(os.environ.get("GROUNDWORK_DBT_THREADS", "4")),
        allow_field_overrides=True,
    )
    yield _block(target, DBT_BLOCK, dry_run=dry_run)


def _given(prefix: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the environment holds."""
    return {name: value for name in fields if (value := os.environ.get(prefix + name.upper()))}


def _block(block: Block, name: str, *, dry_run: bool) -> Change:
    kind, existing = f"block {block.get_block_type_slug()}", _loaded(type(block), name)
    if existing is None:
        if not dry_run:
            block.save(name, overwrite=True)
        return Change("created", kind, name)
    fields = differences(
        _content(existing), _content(block),
        shown_before=_content(existing, secrets=False), shown_after=_content(block, secrets=False),
    )  # fmt: skip
    if not fields:
        return Change("unchanged", kind, name)
    if not dry_run:
        block.save(name, overwrite=True)
    return Change("updated", kind, name, fields=fields)


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


def _known(kind: type[Block], name: str, environment_name: str) -> Change:
    label = f"block {kind.get_block_type_slug()}"
    if _loaded(kind, name) is not None:
        return Change("unchanged", label, name)
    return Change("missing", label, name, f"set {environment_name} and apply again")


def _loaded(kind: type[Block], name: str) -> Any:
    try:
        return kind.load(name)
    except ValueError:  # Prefect's word for a block that is not there
        return None


def _content(block: Block, *, secrets: bool = True) -> dict[str, Any]:
    """A block's fields; secrets in the clear for comparison only, or masked."""
    dumped = block.model_dump(context={"include_secrets": secrets}, mode="json", by_alias=True)
    content: dict[str, Any] = _plain(dumped)
    return content


def _plain(value: Any) -> Any:
    """Without what Prefect adds to a block that is saved."""
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if not key.startswith("_") and key != "block_type_slug"
        }
    return value


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
