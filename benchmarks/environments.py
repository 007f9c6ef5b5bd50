"""Peers get environments of their own, so that they have the versions they want and never touch ours."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROOT, BenchError

REQUIREMENTS = Path(__file__).with_name("peers")


def environment(name: str, home: Path, wanted_in: Path = REQUIREMENTS) -> Path:
    """Python of the environment that ``<name>.txt`` in a directory describes; made with uv when needed.

    Raises:
        BenchError: when uv is missing or cannot install.
    """
    requirements = wanted_in / f"{name}.txt"
    place = home / f"environment-{name}"
    mark, wanted = place / "installed", hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = place / "bin" / "python"
    if mark.is_file() and mark.read_text() == wanted:
        return python
    uv = ROOT / ".tools" / "uv" / "bin" / "uv"
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise BenchError("uv is neither in .tools (run `make setup`) nor on the PATH")
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [program, "venv", "--quiet", "--python", sys.executable, str(place)],
        [
            program,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(python),
            "-r",
            str(requirements),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the environment of {name} cannot be made:\n{done.stderr[-2000:]}")
    mark.write_text(wanted)
    return python


def versions(name: str, packages: list[str]) -> dict[str, str]:
    """Pinned versions of some packages of an environment."""
    pins = [line.split("==") for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines()]
    found = {pin[0]: pin[1].split()[0] for pin in pins if len(pin) == 2}
    return {package: found[package] for package in packages}
