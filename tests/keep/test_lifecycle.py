"""What S3 tidies by itself is nothing that a replay needs; S3 servers take the rules as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from demo.s3 import S3Server
from groundwork.bucket.s3 import S3Bucket, s3_client
from groundwork.digests import PREFIX as DIGESTS
from groundwork.keep.lifecycle import rules
from groundwork.keep.records import rewrite_key
from groundwork.manifest import manifest_key
from groundwork.serving.served import KEY as SERVED
from tests.commands import PROJECT, run_command

READ_AT_ONCE = {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
NEEDED = [
    manifest_key("shop", 1),
    "shop/data/orders/0000000001/part-00000-3f9a1c2e.parquet",
    rewrite_key("shop", 1),
    "artifacts/dbt/manifest.json",
    f"{DIGESTS}/snowflake/newest.json",
    SERVED,
]


@pytest.mark.parametrize("prefix", ["", "platform", "/deep/er/"])
@pytest.mark.parametrize("cold", [False, True])
def test_no_rule_takes_what_a_replay_needs_or_moves_it_where_it_takes_hours(prefix: str, cold: bool) -> None:
    root = f"{prefix.strip('/')}/" if prefix else ""
    for rule in rules(prefix, cold=cold)["Rules"]:
        place = rule["Filter"].get("Prefix", rule["Filter"].get("And", {}).get("Prefix"))
        assert place.startswith(root)
        if "Expiration" in rule:
            assert not any(f"{root}{key}".startswith(place) for key in NEEDED), rule["ID"]
            assert f"{root}artifacts/dbt/2026-01-01/1-2/records.jsonl".startswith(place)
        assert {move["StorageClass"] for move in rule.get("Transitions", [])} <= READ_AT_ONCE


def test_the_file_in_the_documents_is_what_the_command_prints() -> None:
    kept = json.loads((PROJECT / "docs" / "lifecycle.json").read_text())
    assert kept == rules()
    printed = run_command("groundwork", "lifecycle", environment={"GROUNDWORK_BUCKET": "s3://lake/platform"})
    assert json.loads(printed) == rules("platform")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with S3Server(tmp_path_factory.mktemp("s3"), bucket="lake") as seaweed:
        other = s3_client(
            endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id="a", aws_secret_access_key="b",
        )  # fmt: skip
        other.create_bucket(Bucket="lake")
        yield {"seaweed": seaweed.client(), "moto": other}
    moto.stop()


@pytest.mark.parametrize("server", ["seaweed", "moto"])
def test_servers_take_the_rules(clients: dict[str, Any], server: str) -> None:
    client = clients[server]
    client.put_bucket_lifecycle_configuration(Bucket="lake", LifecycleConfiguration=rules("platform"))
    found = client.get_bucket_lifecycle_configuration(Bucket="lake")["Rules"]
    assert {rule["ID"] for rule in found} == {rule["ID"] for rule in rules("platform")["Rules"]}
    assert {r["ID"]: r["Expiration"] for r in found if "Expiration" in r} == {
        "groundwork-dbt-artifacts": {"Days": 400}
    }


@pytest.mark.parametrize("server", ["seaweed", "moto"])
def test_what_is_purged_is_gone_in_every_version_and_what_is_replaced_is_compared_first(
    clients: dict[str, Any], server: str, tmp_path: Path
) -> None:
    from groundwork.errors import KeyChanged, KeyMissing

    client = clients[server]
    client.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
    bucket = S3Bucket("lake", "versions", client)
    bucket.put("person", b"one")
    bucket.put("person", b"two")
    bucket.put("person-2", b"another")
    bucket.delete("person")
    bucket.purge("person")
    bucket.purge("person")
    answer = client.list_object_versions(Bucket="lake", Prefix="versions/person")
    left = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
    assert [version["Key"] for version in left] == ["versions/person-2"]

    bucket.put("record", b"first")
    bucket.replace("record", b"second", b"first")
    bucket.replace("record", b"second", b"first")  # an answer that was lost
    with pytest.raises(KeyChanged, match="record: was changed by another run meanwhile"):
        bucket.replace("record", b"third", b"first")
    assert bucket.get("record") == b"second"
    with pytest.raises(KeyMissing):
        bucket.replace("absent", b"x", b"")
