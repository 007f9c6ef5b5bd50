"""The image as a function of AWS Lambda: another user, only /tmp can be written, a time limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.platform import Platform
from groundwork import manifest
from groundwork.bucket import open_bucket
from groundwork.bucket.s3 import s3_client
from tests.docker.engine import HARDENED, Engine
from tests.lambda_runtime import LambdaRuntime, lambda_environment

COMMAND = ["python", "-m", "awslambdaric", "deployments.lambda_function.handler"]


class ContainedFunction:
    """A function in a container; `tests.lambda_runtime.Function` for the real image."""

    def __init__(self, engine: Engine, runtime: LambdaRuntime, environment: dict[str, str]) -> None:
        self._container = engine.client.containers.run(
            "groundwork:tested",
            COMMAND,
            detach=True,
            user="993:990",  # as Lambda does: a user that the image does not know
            mem_limit="1g",
            environment={**environment, **lambda_environment(runtime)},
            **HARDENED,
        )

    @property
    def is_running(self) -> bool:
        self._container.reload()
        return bool(self._container.status in ("created", "running"))

    @property
    def output(self) -> str:
        return str(self._container.logs().decode())

    def kill(self) -> None:
        if self.is_running:
            self._container.kill()

    def remove(self) -> None:
        self._container.remove(force=True)


@pytest.fixture
def runtime() -> Iterator[LambdaRuntime]:
    with LambdaRuntime() as running:
        yield running


def test_events_ingest_the_shop_and_the_payments_into_s3(
    engine: Engine, image: Any, services: Platform, runtime: LambdaRuntime, tmp_path: Path
) -> None:
    own = services.environment()
    url = f"s3://{services.s3.bucket}/by-lambda"
    wanted = {name: value for name, value in own.items() if name.startswith(("AWS_", "SHOP_", "PAYMENTS_"))}
    function = ContainedFunction(engine, runtime, {**wanted, "GROUNDWORK_BUCKET": url})
    try:
        shop = runtime.invoke(function, {"source": "shop"}, seconds=300)  # type: ignore[arg-type]
        assert shop.kind == "response", function.output
        payments = runtime.invoke(function, {"source": "payments"}, seconds=300)  # type: ignore[arg-type]
        assert payments.kind == "response", function.output
        again = runtime.invoke(function, {"source": "shop"}, seconds=300)  # type: ignore[arg-type]
        assert again.kind == "response" and again.body["complete"] is True, function.output
    finally:
        function.remove()
    print(f"\nshop {shop.seconds:.1f} s, payments {payments.seconds:.1f} s, shop again {again.seconds:.1f} s")
    (orders,) = services.shop_server.sql("select count(*) from public.orders", database="shop")
    assert shop.body["extracted"]["rows"]["orders"] == orders[0] + 1, "a snapshot begins with a truncate"
    client = s3_client(
        endpoint_url=own["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    newest = manifest.latest(open_bucket(url, client), "payments")
    assert newest is not None and newest.run_id == payments.request_id
