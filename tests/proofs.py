"""Where reports of proofs go: beside the published one, unless they are to be published."""

from __future__ import annotations

from pathlib import Path

from tests.commands import PROJECT

PROOFS = PROJECT / "docs" / "proofs"


def report(name: str, *, publish: bool) -> Path:
    """The file of a report; a short run never overwrites the long one that is published."""
    return PROOFS / (f"{name}.md" if publish else f"{name}.latest.md")
