# ruff: noqa: E501 (statements and messages read better in one line)
"""What every bucket promises: one class, held against a directory, SeaweedFS and moto."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from demo.s3 import S3Server
from demo.service import free_port
from groundwork.bucket import Bucket, open_bucket
from groundwork.bucket.local import LocalBucket
from groundwork.bucket.s3 import S3Bucket, s3_client
from groundwork.errors import BucketError, KeyMissing, KeyTaken
from tests.chaos.network import Network
from tests.chaos.s3_link import Fault, S3Link, Stored

ODD = [
    "a b", "ä/ö ü", "per%20cent", "plus+plus", "quote'\"", "a=b/c=d", "über/💥", "tilde~!$&()*,;@[]{}",
    "dots/...", ".hidden/.file", "x" * 200, "hash#and?question",
]  # fmt: skip


class BucketContract:
    """Tests that each suite inherits."""

    @pytest.fixture
    def bucket(self) -> Bucket:
        raise NotImplementedError

    def test_what_was_put_is_got_listed_downloaded_and_deleted(self, bucket: Bucket, tmp_path: Path) -> None:
        assert not bucket.exists("shop/data/a")
        bucket.put("shop/data/a", b"one")
        bucket.put("shop/data/a", b"three")
        assert bucket.exists("shop/data/a")
        assert bucket.get("shop/data/a") == b"three"
        bucket.download("shop/data/a", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"three"
        (found,) = bucket.list("shop/")
        assert (found.key, found.size) == ("shop/data/a", 5)
        assert abs(found.modified.timestamp() - time.time()) < 60
        bucket.delete("shop/data/a")
        bucket.delete("shop/data/a")
        assert not bucket.exists("shop/data/a")
        assert list(bucket.list("")) == []

    def test_a_file_and_no_bytes_at_all_can_be_put(self, bucket: Bucket, tmp_path: Path) -> None:
        content = bytes(range(256)) * 50_000
        (tmp_path / "large").write_bytes(content)
        bucket.put("large", tmp_path / "large")
        assert bucket.get("large") == content
        bucket.put("empty", b"")
        bucket.put_if_absent("empty too", b"")
        assert (bucket.get("empty"), bucket.get("empty too")) == (b"", b"")

    def test_a_missing_key_is_missing_in_every_way(self, bucket: Bucket, tmp_path: Path) -> None:
        bucket.put("there", b"")
        for act in (lambda: bucket.get("no/such"), lambda: bucket.download("no/such", tmp_path / "x")):
            with pytest.raises(KeyMissing, match="no/such: is not in the bucket"):
                act()
        assert not bucket.exists("no/such")
        assert not bucket.exists("the")
        assert list(bucket.list("no/")) == []

    @pytest.mark.parametrize("key", ODD)
    def test_odd_keys_are_keys(self, bucket: Bucket, key: str, tmp_path: Path) -> None:
        bucket.put(key, b"x")
        bucket.put_if_absent(f"{key}.2", b"y")
        assert (bucket.get(key), bucket.get(f"{key}.2")) == (b"x", b"y")
        bucket.download(key, tmp_path / "copy")
        assert sorted(o.key for o in bucket.list("")) == sorted([key, f"{key}.2"])
        assert sorted(o.key for o in bucket.list(key)) == sorted([key, f"{key}.2"])
        bucket.delete(key)
        assert not bucket.exists(key)

    def test_a_listing_is_by_the_beginning_of_keys_however_many(self, bucket: Bucket) -> None:
        keys = {f"shop/manifests/{number:010d}.json" for number in range(1050 if self.many else 60)}
        threads = [
            threading.Thread(target=lambda part=part: [bucket.put(key, b"") for key in sorted(keys)[part::8]])
            for part in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        bucket.put("shop2/other", b"")
        assert {o.key for o in bucket.list("shop/")} == keys
        assert {o.key for o in bucket.list("shop/manifests/000000000")} == {
            f"shop/manifests/{n:010d}.json" for n in range(10)
        }
        assert len(list(bucket.list("shop"))) == len(keys) + 1

    many = False

    def test_of_many_writers_of_a_key_exactly_one_wins(self, bucket: Bucket) -> None:
        for attempt in range(5):
            start, winners, losers = threading.Barrier(8), [], []

            def write(number: int, key: str = f"shop/manifests/{attempt}", start: Any = start,
                      winners: Any = winners, losers: Any = losers) -> None:  # fmt: skip
                start.wait(60)
                try:
                    bucket.put_if_absent(key, b"%d" % number * 5000)
                    winners.append(number)
                except KeyTaken:
                    losers.append(number)

            threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert (len(winners), len(losers)) == (1, 7)
            assert bucket.get(f"shop/manifests/{attempt}") == b"%d" % winners[0] * 5000

    def test_a_put_if_absent_whose_answer_was_lost_may_be_repeated(self, bucket: Bucket) -> None:
        bucket.put_if_absent("manifest", b"mine")
        bucket.put_if_absent("manifest", b"mine")
        with pytest.raises(KeyTaken, match="manifest: is stored already"):
            bucket.put_if_absent("manifest", b"other")
        assert bucket.get("manifest") == b"mine"

    def test_a_reader_sees_the_old_or_the_new_and_nothing_between(self, bucket: Bucket) -> None:
        bodies = [bytes([letter]) * 300_000 for letter in b"ab"]
        bucket.put("key", bodies[0])
        stop, seen = threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                seen.append(bucket.get("key"))

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(20):
            bucket.put("key", bodies[number % 2])
        stop.set()
        reader.join(60)
        assert seen
        assert set(seen) <= set(bodies)


class TestLocalDirectory(BucketContract):
    many = True

    @pytest.fixture
    def bucket(self, tmp_path: Path) -> Bucket:
        return open_bucket((tmp_path / "a bücket").as_uri())

    def test_a_writer_that_fails_leaves_nothing(self, bucket: LocalBucket, tmp_path: Path) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        for put in (bucket.put, bucket.put_if_absent):
            with (
                patch("groundwork.bucket.local.os.fsync", full),
                pytest.raises(BucketError, match=r"x/y: the directory refused \(No space left on device\)"),
            ):
                put("x/y", b"body")
        assert list(bucket.list("")) == []
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_drafts_of_a_killed_writer_are_not_listed(self, bucket: LocalBucket, tmp_path: Path) -> None:
        bucket.put("x/y", b"")
        (tmp_path / "a bücket" / "x" / ".draft-1234").write_bytes(b"half")
        assert [found.key for found in bucket.list("x/")] == ["x/y"]

    def test_a_directory_goes_with_its_last_key(self, bucket: LocalBucket, tmp_path: Path) -> None:
        for key in ("shop/data/a/0000000001/x", "shop/data/a/0000000001/y", "shop/data/a/0000000002/x"):
            bucket.put(key, b"1")
        place = next(tmp_path.rglob("0000000001"))
        bucket.delete("shop/data/a/0000000001/x")
        assert place.is_dir()
        bucket.purge("shop/data/a/0000000001/y")
        assert not place.exists() and place.with_name("0000000002").is_dir()

    def test_a_key_is_stored_while_its_directory_comes_and_goes(self, bucket: LocalBucket) -> None:
        def work(writer: int) -> None:
            for number in range(200):
                bucket.put(f"shop/data/a/{writer}-{number}", b"1")
                assert bucket.get(f"shop/data/a/{writer}-{number}") == b"1"
                list(bucket.list("shop/"))
                bucket.delete(f"shop/data/a/{writer}-{number}")

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, writer) for writer in range(4)]:
                done.result()
        assert list(bucket.list("")) == []

    def test_a_key_cannot_lead_out_of_the_bucket(self, bucket: LocalBucket) -> None:
        for act in (
            lambda: bucket.get("../x"),
            lambda: bucket.put("a/../../x", b""),
            lambda: bucket.put("/etc/x", b""),
        ):
            with pytest.raises(BucketError, match="cannot lead out of the bucket"):
                act()

    def test_a_directory_of_keys_is_not_a_key(self, bucket: LocalBucket, tmp_path: Path) -> None:
        bucket.put("x/y", b"")
        assert not bucket.exists("x")
        with pytest.raises(KeyMissing):
            bucket.get("x")
        with pytest.raises(KeyMissing):
            bucket.download("x", tmp_path / "copy")

    def test_a_directory_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(BucketError, match="the directory refused"):
            open_bucket((tmp_path / "file").as_uri()).put("x/y", b"")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3"), bucket="lake") as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class TestSeaweed(BucketContract):
    @pytest.fixture
    def bucket(self, seaweed: S3Server, request: pytest.FixtureRequest) -> Bucket:
        return S3Bucket("lake", f"test-{abs(hash(request.node.name))}/ä b", self.client(seaweed))

    @staticmethod
    def client(server: S3Server, **changes: Any) -> Any:
        options = {
            "endpoint_url": server.endpoint_url,
            "aws_access_key_id": server.access_key_id,
            "aws_secret_access_key": server.secret_access_key,
            "region_name": "us-east-1",
        }
        return s3_client(**(options | changes))

    def test_a_bucket_is_opened_by_the_environment(
        self, seaweed: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in seaweed.environment().items():
            monkeypatch.setenv(name, value)
        bucket = open_bucket("s3://lake/from/environment")
        bucket.put("x", b"y")
        assert bucket.get("x") == b"y"
        assert bucket.url == "s3://lake/from/environment"

    @pytest.mark.parametrize(
        ("wrong", "call"),
        [
            *(
                ("secret", call)
                for call in ("get", "exists", "put", "put_if_absent", "list", "delete", "download")
            ),
            *(("endpoint", call) for call in ("exists", "put_if_absent")),
            # SeaweedFS makes a missing bucket at the first put: what comes first must be refused.
            *(("bucket", call) for call in ("get", "exists")),
        ],
    )
    def test_what_is_wrong_is_told_at_the_first_call(
        self, seaweed: S3Server, tmp_path: Path, call: str, wrong: str
    ) -> None:
        message = {
            "secret": "the S3 server refused .*403.*Check the credentials",
            "endpoint": "the S3 server cannot be reached.*Check AWS_ENDPOINT_URL_S3",
            "bucket": "the bucket does not exist.*Create the bucket 'no-such-lake', or correct GROUNDWORK_BUCKET",
        }[wrong]
        if wrong == "secret":
            bucket = S3Bucket("lake", "p", self.client(seaweed, aws_secret_access_key="wrong-secret"))
        elif wrong == "endpoint":
            bucket = S3Bucket(
                "lake", "p", self.client(seaweed, endpoint_url=f"http://127.0.0.1:{free_port()}")
            )
        else:
            bucket = S3Bucket("no-such-lake", "p", self.client(seaweed))
        act = {
            "get": lambda: bucket.get("k"),
            "exists": lambda: bucket.exists("k"),
            "put": lambda: bucket.put("k", b""),
            "put_if_absent": lambda: bucket.put_if_absent("k", b""),
            "list": lambda: list(bucket.list("k")),
            "delete": lambda: bucket.delete("k"),
            "download": lambda: bucket.download("k", tmp_path / "x"),
        }[call]
        began = time.monotonic()
        with pytest.raises(BucketError, match=message) as caught:
            act()
        assert time.monotonic() - began < 30
        assert not isinstance(caught.value, KeyMissing | KeyTaken)
        assert "wrong-secret" not in str(caught.value)
        assert seaweed.secret_access_key not in str(caught.value)

    def test_a_server_that_fails_is_not_told_as_a_matter_of_rights(self, seaweed: S3Server) -> None:
        with Network() as network:
            link = S3Link(network, "ours", lambda: seaweed.port, Stored())
            link.arm(Fault("answers 500", times=1))
            client = seaweed.client(endpoint_url=f"http://127.0.0.1:{link.port}")
            with pytest.raises(
                BucketError, match=r"p/k: the S3 server failed \(500 .*free space of its disk"
            ):
                S3Bucket("lake", "p", client).put("k", b"")

    def test_no_credentials_are_told(
        self, seaweed: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed.endpoint_url)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(BucketError, match="NoCredentialsError"):
            open_bucket("s3://lake/p").get("x")

    def test_a_full_disk_of_ours_is_not_told_as_the_servers(self, bucket: S3Bucket) -> None:
        bucket.put("x", b"y" * 5000)
        with pytest.raises(BucketError, match=r"/dev/full.*No space left"):
            bucket.download("x", Path("/dev/full"))


class TestMoto(BucketContract):
    many = True

    @pytest.fixture
    def bucket(self, moto: str, request: pytest.FixtureRequest) -> Bucket:
        secrets = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        with patch.dict("os.environ", {"AWS_ENDPOINT_URL_S3": moto}):
            client = s3_client(**secrets)
        name = f"lake-{abs(hash(request.node.nodeid)) % 10**10}"
        boto3.client(
            "s3", endpoint_url=moto, config=Config(s3={"addressing_style": "path"}), **secrets
        ).create_bucket(Bucket=name)
        return S3Bucket(name, "", client)

    def test_a_missing_bucket_is_told_at_the_first_call(self, bucket: S3Bucket, tmp_path: Path) -> None:
        missing = S3Bucket("no-such-lake", "p", bucket._client)
        for act in (
            lambda: missing.get("k"), lambda: missing.exists("k"), lambda: missing.put("k", b""),
            lambda: missing.put_if_absent("k", b""), lambda: list(missing.list("k")),
            lambda: missing.download("k", tmp_path / "x"),
        ):  # fmt: skip
            with pytest.raises(BucketError, match="the bucket does not exist"):
                act()


@pytest.mark.parametrize("url", ["", "lake", "gs://lake", "s3://", "file://", "http://x/y"])
def test_another_url_is_not_a_bucket(url: str) -> None:
    with pytest.raises(BucketError, match=r"is not a bucket URL.*GROUNDWORK_BUCKET"):
        open_bucket(url)
