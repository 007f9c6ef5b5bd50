"""Where things are, for a flow run: the environment first, Prefect's blocks and variables second.

Secrets that change while they are used are saved by `tasks.keeping`.
"""

from __future__ import annotations

from typing import Any

from groundwork.bucket import Bucket, open_bucket
from groundwork.bucket.s3 import s3_client
from groundwork.errors import SettingMissing
from groundwork.settings import Named, Settings, resolve_from_environment
from tasks.aws import aws_session
from tasks.keeping import read_secret

BUCKET_BLOCK = "groundwork-bucket"
"""Name of the S3Bucket block; `deployments.apply` makes it."""

DBT_BLOCK = "groundwork-dbt"
"""Name of the block with dbt's target on Snowflake; `deployments.apply` makes it."""


def resolve(named: Named) -> str:
    """Look a named value up: environment, then Prefect's Secret block or Variable of that name.

    Raises:
        SettingMissing: when it is in neither.
    """
    from prefect.variables import Variable

    try:
        return resolve_from_environment(named)
    except SettingMissing:
        found = Variable.get(named.name.replace("-", "_")) if named.variable else read_secret(named)
        if not found:
            raise
        return str(found)


def platform_bucket(settings: Settings) -> Bucket:
    """The bucket: GROUNDWORK_BUCKET, or else what the block `groundwork-bucket` says.

    Credentials are the block's when it speaks of the same place; otherwise boto3 finds them itself.
    """
    block = None if settings.bucket.startswith("file:") else _bucket_block()
    if block is None:
        return open_bucket(settings.bucket_url)
    url = f"s3://{block.bucket_name}/{block.bucket_folder}".rstrip("/")
    if settings.bucket and settings.bucket.rstrip("/") != url:
        return open_bucket(settings.bucket)
    options = {}
    if endpoint := block.credentials.aws_client_parameters.endpoint_url:
        options["endpoint_url"] = endpoint
    return open_bucket(url, s3_client(aws_session(block.credentials), **options))


def _bucket_block() -> Any:
    from prefect_aws import S3Bucket

    try:
        return S3Bucket.load(BUCKET_BLOCK)
    except ValueError:
        return None


def run_id() -> str:
    """Id of the flow run this runs in: every row, batch and ledger entry names it."""
    from prefect.runtime import flow_run

    return str(flow_run.id or "")
