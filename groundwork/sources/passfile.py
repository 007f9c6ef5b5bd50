"""Password files of libpq: ``host:port:database:user:password`` in a line (manual, "The Password File")."""

from __future__ import annotations

import re
from pathlib import Path

from groundwork.errors import SourceRefused


def password(path: str, wanted: tuple[str, str, str, str], where: str) -> str | None:
    """The password of the first line that fits, or None.

    Args:
        path: the file.
        wanted: host, port, database and user.
        where: what an error is about.

    Raises:
        SourceRefused: when the file cannot be read, or others may read it.
    """
    try:
        file = Path(path)
        shared = file.stat().st_mode & 0o077
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SourceRefused(
            where, "passfile of the connection URL cannot be read", why=str(why), fix="name a readable file"
        ) from None
    if shared:
        raise SourceRefused(
            where, "others may read passfile of the connection URL", fix="run: chmod 600 on that file"
        )
    for line in lines:
        fields = _fields(line)
        if len(fields) >= 5 and not line.startswith("#") and _fit(fields[:4], wanted):
            return re.sub(r"\\(.)", r"\1", fields[4])
    return None


def _fields(line: str) -> list[str]:
    """The fields of a line, as written: a backslash takes the next letter as it is."""
    fields = [""]
    for piece in re.findall(r"\\.|.", line):
        if piece == ":":
            fields.append("")
        else:
            fields[-1] += piece
    return fields


def _fit(fields: list[str], wanted: tuple[str, ...]) -> bool:
    pairs = zip(fields, wanted, strict=True)
    return all(field == "*" or re.sub(r"\\(.)", r"\1", field) == value for field, value in pairs)
