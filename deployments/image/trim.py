"""Takes out of the image's environment what no run ever reads: other people's tests, headers, languages.

Run once while the image is built, after the hashes of all packages were checked.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

TESTS = "**/tests"
"""Of the libraries. dbt has a directory of this name too, but with macros in it."""

UNREAD = (
    "**/*.pyi",
    "pyarrow/include",
    "numpy/_core/include",
    "pyarrow/libarrow_flight.so.*",  # a protocol that nobody here speaks; pyarrow loads it on demand
    "pyarrow/libarrow_python_flight.so*",
    "pyarrow/_flight*",
    "prefect/server/ui",  # the pages of a server, which this image is not
    "prefect/server/ui-v2",
    "prefect/server/ui_build",
)
LANGUAGES = "babel/locale-data"
"""agate, which dbt prints with, knows numbers in 800 languages; it asks for English."""


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() or file.is_symlink())


def main(environment: Path) -> None:
    """Remove, and say how much it was."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    unread = [found for pattern in UNREAD for found in packages.glob(pattern)]
    unread += [d for d in packages.glob(TESTS) if not any(d.rglob("*.sql"))]
    unread += [f for f in (packages / LANGUAGES).glob("*.dat") if f.stem not in ("root", "en", "en_US")]
    removed = 0
    for path in unread:
        if path.exists():
            removed += size(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"removed megabytes={removed / 1e6:.0f} from={packages}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
