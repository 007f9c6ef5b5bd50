"""The emulator's own environment: pinned, made with uv when it is missing, used by all runs after that."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "emulator" / "requirements.txt"


def python() -> Path:
    """Python of the environment that ``emulator/requirements.txt`` describes.

    Raises:
        RuntimeError: when uv is missing or cannot install.
    """
    place = ROOT / ".tools" / "snowflake-emulator"
    mark, wanted = place / "installed", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    found = place / "bin" / "python"
    with FileLock(ROOT / ".tools" / "snowflake-emulator.lock"):  # tests run side by side
        if not (mark.is_file() and mark.read_text() == wanted):
            shutil.rmtree(place, ignore_errors=True)
            _install(place, found)
            mark.write_text(wanted)
    return found


def _install(place: Path, found: Path) -> None:
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is neither in .tools (run `make setup`) nor on the PATH")
    for words in (
        ["venv", "--quiet", "--python", sys.executable, str(place)],
        ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(found), "-r", str(REQUIREMENTS)],
    ):
        done = subprocess.run([uv, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the emulator's environment cannot be made:\n{done.stderr[-2000:]}")
