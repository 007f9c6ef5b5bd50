"""The journal: every statement that reached the emulator, and what became of it. Tests read it."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any, TextIO

_SECRET = re.compile(r"(?i)((?:aws_key_id|aws_secret_key|aws_token|password)\s*=\s*)'[^']*'")
_lock = threading.Lock()
_file: TextIO | None = None


def open_file(path: Path) -> None:
    """Write to this file from now on."""
    global _file
    _file = path.open("a", encoding="utf-8")


def note(**entry: Any) -> None:
    """One line: ``sql`` (secrets masked), ``outcome`` (executed, nothing, error), and who sent it."""
    if entry.get("sql"):
        entry["sql"] = _SECRET.sub(r"\1'***'", entry["sql"])
    if _file is not None:
        with _lock:
            _file.write(json.dumps(entry, default=str) + "\n")
            _file.flush()
