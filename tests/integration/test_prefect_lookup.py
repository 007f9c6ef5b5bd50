"""Where a run finds things: the environment first, Prefect second."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.s3 import S3Server
from groundwork.errors import SettingMissing
from groundwork.settings import Named, Settings
from tasks.lookup import platform_bucket, resolve
from tests.commands import run_command


def test_a_named_value_is_found_in_prefect_unless_the_environment_has_it(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret
    from prefect.variables import Variable

    secret, variable = Named(secret="lookup-test-secret"), Named(variable="lookup-test-variable")
    with pytest.raises(SettingMissing, match="secret 'lookup-test-secret': has no value"):
        resolve(secret)
    with pytest.raises(SettingMissing, match="variable 'lookup-test-variable': has no value"):
        resolve(variable)

    Secret(value="from prefect").save("lookup-test-secret")
    Variable.set("lookup_test_variable", "from prefect")
    assert resolve(secret) == resolve(variable) == "from prefect"

    monkeypatch.setenv("LOOKUP_TEST_SECRET", "from the environment")
    assert resolve(secret) == "from the environment"


def test_the_bucket_block_holds_what_the_environment_does_not(
    platform: dict[str, str], prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    with S3Server(tmp_path) as s3:
        url = f"s3://{s3.bucket}/of-a-block"
        environment = {**platform, **s3.environment(), "GROUNDWORK_BUCKET": url}
        report = run_command("deployments.apply", "--deploy", environment=environment)
        assert "block s3-bucket 'groundwork-bucket'" in report
        for name in s3.environment():
            monkeypatch.delenv(name, raising=False)

        bucket = platform_bucket(Settings(bucket=""))
        bucket.put("key", b"value")
        assert (bucket.url, bucket.get("key")) == (url, b"value")
        assert platform_bucket(Settings(bucket=url)).get("key") == b"value"
        elsewhere = platform_bucket(Settings(bucket=(tmp_path / "plain").as_uri()))
        assert elsewhere.url.startswith("file://")
    with get_client(sync_client=True) as client:
        for name, slug in (("groundwork-bucket", "s3-bucket"), ("groundwork-aws", "aws-credentials")):
            document = client.read_block_document_by_name(name, slug)
            client.delete_block_document(document.id)
