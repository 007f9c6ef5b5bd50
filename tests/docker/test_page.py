"""docs/image.md tells commands; here they are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from tests.commands import PROJECT
from tests.docker.engine import Engine


def test_the_first_commands_of_the_page_work(engine: Engine, image: Any) -> None:
    page = (PROJECT / "docs/image.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (docker .+)$", page, re.MULTILINE)
    assert len(commands) == 2
    environment = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}
    for command in commands:
        # The engine of the tests has no bridge.
        own = re.sub(r"^docker (build|run)", r"docker \1 --network host", command)
        done = subprocess.run(
            own, shell=True, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert "all well" in done.stdout
