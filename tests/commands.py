"""Commands of the project, as a user would type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def run_command(*arguments: str, environment: dict[str, str], seconds: float = 300) -> str:
    """Run ``python -m …`` in the project, within some seconds; its output."""
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def pause_schedules() -> None:
    """Tests start the runs that they want; a schedule in between would only disturb."""
    from prefect.client.orchestration import get_client
    from prefect.variables import Variable

    Variable.set("groundwork_schedules", "off", overwrite=True)  # nobody is to be called because nothing runs
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.pause_deployment(deployment.id)
