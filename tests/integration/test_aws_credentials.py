"""Credentials of AWS roles: renewed while a run lasts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from prefect_aws import AwsCredentials

from groundwork.bucket import open_bucket
from groundwork.bucket.s3 import s3_client
from groundwork.errors import SettingMissing
from tasks.aws import aws_session
from tests.integration.fault_api import Api, answer


class Cloud:
    """A credentials endpoint, STS and S3 on one port; each answer of the first two is a new key."""

    def __init__(self) -> None:
        self.keys_of_puts: list[str] = []
        self._numbers = count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        # Within botocore's window of renewal, so that every request renews.
        expires = (datetime.now(UTC) + timedelta(seconds=45)).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = next(self._numbers)
        if request.path == "/container":
            return answer(
                {
                    "AccessKeyId": f"CONTAINER{number}",
                    "SecretAccessKey": "secret",
                    "Token": "token",
                    "Expiration": expires,
                }
            )
        if request.method == "POST":
            return web.Response(text=ASSUMED.format(number=number, expires=expires), content_type="text/xml")
        found = re.search(r"Credential=(\w+)/", request.headers["Authorization"])
        assert found
        self.keys_of_puts.append(found.group(1))
        return web.Response()


ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ROLE{number}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>{expires}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture
def cloud(serve: Callable[[Any], Api], monkeypatch: pytest.MonkeyPatch) -> Cloud:
    played = Cloud()
    api = serve(played.handle)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{api.url}/container")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", api.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", api.url)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return played


@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/groundwork"])
def test_keys_of_a_role_are_renewed_before_they_expire(cloud: Cloud, role: str | None) -> None:
    block = AwsCredentials(region_name="eu-central-1", assume_role_arn=role)
    bucket = open_bucket("s3://lake/p", s3_client(aws_session(block)))
    for name in ("one", "two", "three"):
        bucket.put(name, b"x")
    assert len(set(cloud.keys_of_puts)) == 3
    assert all(key.startswith("ROLE" if role else "CONTAINER") for key in cloud.keys_of_puts)


def test_the_blocks_own_keys_are_used_as_they_are(cloud: Cloud) -> None:
    block = AwsCredentials(aws_access_key_id="OWN", aws_secret_access_key="secret", region_name="eu-west-1")
    bucket = open_bucket("s3://lake/p", s3_client(aws_session(block)))
    bucket.put("one", b"x")
    assert cloud.keys_of_puts == ["OWN"]


def test_a_role_without_credentials_to_assume_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(SettingMissing, match="has AWS credentials to assume it with"):
        aws_session(AwsCredentials(assume_role_arn="arn:aws:iam::123456789012:role/groundwork"))
