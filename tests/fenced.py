"""Commands that stand in a page of the documents, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.commands import PROJECT


def commands(page: str, heading: str) -> list[str]:
    """The fenced blocks of shell commands under a heading, in order."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no heading '{heading}'"
    blocks = re.findall(r"^```bash\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)
    assert blocks, f"docs/{page} has no commands under '{heading}'"
    return list(blocks)


def run_block(
    block: str,
    environment: Mapping[str, str],
    *,
    typed: str = "",
    path: Sequence[Path] = (),
    fails: bool = False,
) -> str:
    """Run a block in bash, in the project, ended by its first error; its output.

    Args:
        block: the commands.
        environment: on top of this process's.
        typed: what a person types.
        path: directories of further programs, looked in first.
        fails: the block must fail.
    """
    programs = [*map(str, path), str(Path(sys.executable).parent), os.environ["PATH"]]
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], input=typed, capture_output=True, text=True, check=False,
        cwd=PROJECT, timeout=300, env={**os.environ, **environment, "PATH": ":".join(programs)},
    )  # fmt: skip
    said = result.stdout + result.stderr
    assert (result.returncode != 0) == fails, said
    return said
