"""The dead man's switch of deployments/, as a process beside the platform.

In production it runs on another machine (docs/alerts.md). Here it is at least another process, which needs
neither Prefect's server nor a worker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from demo.service import Service

SCRIPT = Path(__file__).parents[1] / "deployments" / "dead_mans_switch" / "switch.py"
EVERY_SECONDS = 30


class DeadMansSwitch(Service):
    """The switch in a loop.

    Args:
        directory: holds its state and its log.
        settings: environment variables of the platform: Prefect's address, and who gets mail from where.
        every: seconds between two looks.
        extra: settings of the switch itself, SWITCH_….
    """

    name: ClassVar[str] = "dead-mans-switch"
    port_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        every: float = EVERY_SECONDS,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.settings, self.every, self.extra = settings, every, extra or {}
        self._began = datetime.now(UTC)

    @property
    def state(self) -> Path:
        """What a look leaves for the next."""
        return self.directory / "switch.json"

    def prepare(self) -> None:
        """Remember when it was started: an older look was another process's."""
        self._began = datetime.now(UTC)

    def command(self) -> list[str]:
        """The script alone: isolated, without any package."""
        return [sys.executable, "-I", "-S", str(SCRIPT), "--every", str(self.every)]

    def program_environment(self) -> dict[str, str]:
        """The switch's own names for the platform's settings."""
        login = "PREFECT_API_AUTH_STRING"
        return {
            "PREFECT_API_URL": self.settings["PREFECT_API_URL"],
            **({login: self.settings[login]} if login in self.settings else {}),
            "SWITCH_SMTP_URL": self.settings["GROUNDWORK_SMTP_URL"],
            "SWITCH_FROM": self.settings["GROUNDWORK_ALERT_FROM"],
            "SWITCH_TO": self.settings["GROUNDWORK_ALERT_TO"],
            "SWITCH_STATE": str(self.state),
            **self.extra,
        }

    def is_ready(self) -> bool:
        """Whether it has looked since it was started."""
        try:
            looked = datetime.fromisoformat(json.loads(self.state.read_text())["looked"])
        except (FileNotFoundError, ValueError, KeyError):
            return False
        return looked >= self._began
