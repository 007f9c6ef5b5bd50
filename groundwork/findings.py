"""What doctor finds: well, to be thought about, or wrong."""

from __future__ import annotations

from dataclasses import dataclass

from groundwork.errors import GroundworkError


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    problem: str = ""
    """What must be mended; empty when nothing must."""
    warning: str = ""
    """What works, and may hurt one day; empty when nothing may."""

    @property
    def sign(self) -> str:
        """``✗`` wrong, ``!`` to be thought about, ``✓`` well."""
        return "✗" if self.problem else "!" if self.warning else "✓"


def wrong(what: str, where: str, trouble: str, *, why: str = "", fix: str = "") -> Finding:
    """Something that must be mended."""
    return Finding(what, problem=str(GroundworkError(where, trouble, why=why, fix=fix)))


def doubtful(what: str, where: str, trouble: str, *, why: str = "", fix: str = "") -> Finding:
    """Something that works, and may hurt one day."""
    return Finding(what, warning=str(GroundworkError(where, trouble, why=why, fix=fix)))
