"""The real image on a real Docker Engine: `make test-docker`, no part of `make test`.

``engine``      a Docker Engine of the session's own
``image``       the image, built from this working tree by `docker build`
``services``    PostgreSQL, S3, payments API, mailbox and Prefect server of the demo, on the host's loopback
``pool``        everything of prefect.yaml and deployments/ applied with runs as containers, and a worker that
                is itself a container of the image
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

if os.environ.get("GROUNDWORK_TEST_DOCKER"):
    from demo.platform import Platform
    from tests.docker.engine import Engine, build
    from tests.docker.pool import Pool
else:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for an engine, an image and all services, whatever else the machine does."""
    for item in items:
        item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


@pytest.fixture(scope="session")
def image(engine: Engine) -> Any:
    return build(engine, "groundwork:tested", VERSION="tested", REVISION="0000000")


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    parts = ("shop", "payments", "s3", "mailbox", "prefect")
    with Platform(tmp_path_factory.mktemp("services"), parts=parts, durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def pool(
    engine: Engine, image: Any, services: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pool]:
    with Pool(engine, services, tmp_path_factory.mktemp("pool")) as running:
        yield running
