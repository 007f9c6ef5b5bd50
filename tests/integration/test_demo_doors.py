"""What the demo's servers answer to a stranger on this machine, such as a web page that somebody opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.platform import Platform
from demo.prefect_server import PrefectServer
from demo.s3 import S3Server
from tests.prefect_access import api_of

STRANGER = {"Origin": "http://evil.example"}


def test_prefects_api_asks_for_the_login_and_answers_no_other_origin(prefect_server: PrefectServer) -> None:
    api = prefect_server.api_url
    for method, path in (
        ("POST", "/flow_runs/filter"),
        ("GET", "/admin/settings"),
        ("DELETE", "/work_pools/x"),
    ):
        assert httpx.request(method, api + path, headers=STRANGER).status_code in (401, 403)
    assert httpx.get(f"{api}/variables/name/x").status_code == 401
    asked = {
        **STRANGER,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = httpx.options(f"{api}/flow_runs/filter", headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    own = httpx.options(f"{api}/flow_runs/filter", headers={**asked, "Origin": prefect_server.url})
    assert own.headers["access-control-allow-origin"] == prefect_server.url


def test_prefects_api_writes_nothing_without_a_csrf_token(prefect_server: PrefectServer) -> None:
    variable = {"name": "csrf", "value": 1}
    with api_of(prefect_server) as api:
        assert api.get("/variables/name/csrf").status_code == 404
        token = api.headers.pop("Prefect-Csrf-Token")
        assert api.post("/variables/", json=variable).status_code == 403
        api.headers["Prefect-Csrf-Token"] = token
        assert api.post("/variables/", json=variable).status_code == 201
        api.delete("/variables/name/csrf").raise_for_status()


def test_the_login_is_random_and_for_this_user_only(prefect_server: PrefectServer) -> None:
    user, _, password = prefect_server.login.partition(":")
    assert user and len(password) == 32
    assert prefect_server.login_file.stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_no_port_of_the_s3_server_reads_or_deletes_without_the_key(s3: S3Server) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="kept", Body=b"what it says" * 10_000)
    object_path = f"/buckets/{s3.bucket}/kept"
    asked = [
        ("GET", object_path),
        ("PUT", object_path),
        ("POST", object_path),
        ("DELETE", object_path),
        ("GET", "/buckets/"),
        ("DELETE", f"/buckets/{s3.bucket}?recursive=true"),
        ("DELETE", "/1,01637037d6"),
        ("GET", f"/col/delete?collection={s3.bucket}"),
        ("GET", "/vol/grow?count=1"),
        ("GET", "/dir/assign"),
        ("POST", "/submit"),
        ("GET", "/dir/status"),
    ]
    ports = {
        name: port for name, port in s3.ports.items() if not name.endswith("grpc")
    }  # no page speaks that
    for name, port in ports.items():
        for method, path in asked:
            for headers in ({}, STRANGER):
                answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=headers)
                assert answer.is_error and b"what it says" not in answer.content, (
                    name,
                    method,
                    path,
                    answer.text,
                )
    assert client.get_object(Bucket=s3.bucket, Key="kept")["Body"].read() == b"what it says" * 10_000
    client.delete_object(Bucket=s3.bucket, Key="kept")


def test_no_other_user_may_read_the_home_of_the_platform(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with Platform(home, parts=["mailbox"]):
        assert home.stat().st_mode & 0o066 == 0
