"""What applying something did, or would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["created", "updated", "unchanged", "removed", "missing"]


@dataclass(frozen=True)
class Change:
    """One line of the report, e.g. ``updated automation 'groundwork: run failed'``."""

    outcome: Outcome
    kind: str
    name: str
    why: str = ""

    def __str__(self) -> str:
        """The line."""
        return f"{self.outcome:9} {self.kind} '{self.name}'" + (f": {self.why}" if self.why else "")
