"""Blocks of bucket and warehouse: AWS credentials, the S3 bucket, Snowflake's login, place and dbt target."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployments.block_changes import kept, loaded, merged, save_block
from deployments.changes import Change
from groundwork.errors import SettingMissing
from groundwork.warehouses.snowflake_login import CREDENTIALS, PREFIX
from tasks.lookup import BUCKET_BLOCK, DBT_BLOCK
from tasks.warehouse import SNOWFLAKE_BLOCK

AWS_BLOCK = "groundwork-aws"
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_LOGIN = ("account", "user", "password", "private_key", "private_key_passphrase", "role")
_PLACE = ("database", "warehouse", "schema")


def apply_bucket(url: str, *, dry_run: bool) -> Iterator[Change]:
    """Save where the bucket is, and how to sign in to it; keep what the environment does not set.

    Args:
        url: GROUNDWORK_BUCKET, empty when it is not set.
        dry_run: report what would be saved, and save nothing.
    """
    from prefect_aws import AwsCredentials, S3Bucket

    if not url.startswith("s3://"):
        yield from [*kept(AwsCredentials, AWS_BLOCK), *kept(S3Bucket, BUCKET_BLOCK)]
        return
    given: dict[str, Any] = {}
    if os.environ.get("AWS_SESSION_TOKEN"):
        why = "AWS_SESSION_TOKEN is set, and temporary keys expire: use a role, or keys that last"
        yield Change("missing", "AWS keys for block", AWS_BLOCK, why)
    else:
        given = _given("", _KEYS)
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        given["region_name"] = region
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
        given["aws_client_parameters"] = {"endpoint_url": endpoint}
    credentials = AwsCredentials(**merged(AwsCredentials, AWS_BLOCK, given, together=_KEYS))
    yield save_block(credentials, AWS_BLOCK, dry_run=dry_run)
    saved = loaded(AwsCredentials, AWS_BLOCK) or credentials
    place = urlsplit(url)
    bucket = S3Bucket(bucket_name=place.netloc, bucket_folder=place.path.strip("/"), credentials=saved)
    yield save_block(bucket, BUCKET_BLOCK, dry_run=dry_run)


def apply_snowflake(*, dry_run: bool) -> Iterator[Change]:
    """Save the login, the place, and dbt's target, each of which names the one before.

    Raises:
        SettingMissing: when the file of the private key cannot be read.
    """
    from prefect_dbt.cli.configs import SnowflakeTargetConfigs
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials

    together = (*CREDENTIALS, "private_key_passphrase")
    login = merged(SnowflakeCredentials, SNOWFLAKE_BLOCK, _login(), together=together)
    if not login.get("account"):
        return
    credentials = SnowflakeCredentials(**login)
    yield save_block(credentials, SNOWFLAKE_BLOCK, dry_run=dry_run)
    place = {"schema_": "public"} | merged(SnowflakeConnector, SNOWFLAKE_BLOCK, _given(PREFIX, _PLACE))
    place["credentials"] = loaded(SnowflakeCredentials, SNOWFLAKE_BLOCK) or credentials
    connector = SnowflakeConnector(**_schema_by_alias(place))
    yield save_block(connector, SNOWFLAKE_BLOCK, dry_run=dry_run)
    threads = os.environ.get("GROUNDWORK_DBT_THREADS")
    target = merged(SnowflakeTargetConfigs, DBT_BLOCK, {"threads": int(threads)} if threads else {})
    target["connector"] = loaded(SnowflakeConnector, SNOWFLAKE_BLOCK) or connector
    target["allow_field_overrides"] = True
    yield save_block(SnowflakeTargetConfigs(**_schema_by_alias(target)), DBT_BLOCK, dry_run=dry_run)


def _login() -> dict[str, Any]:
    """What the environment sets of the login, with the key's text in place of its file."""
    given = _given(PREFIX, _LOGIN)
    if file := os.environ.get(f"{PREFIX}PRIVATE_KEY_PATH"):
        try:
            given["private_key"] = Path(file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SettingMissing(
                f"{PREFIX}PRIVATE_KEY_PATH",
                f"the file {file} cannot be read ({type(error).__name__})",
                fix="name the file of the private key (PKCS#8, PEM)",
            ) from error
        given.pop("password", None)
    return given


def _given(prefix: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the environment sets."""
    return {name: value for name in fields if (value := os.environ.get(prefix + name.upper()))}


def _schema_by_alias(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a block with its schema under the name that the block's constructor takes."""
    named = {name: value for name, value in fields.items() if name not in ("schema_", "schema")}
    return named | {"schema": fields.get("schema") or fields.get("schema_")}
